import { printAnswers } from '../answers.js';
import * as unroll from './unroll/unroll.js';

const request: unroll.RnnForwardRequest = {
  x: [[[1, 0, -1]]],
  a0: [[0]],
  parameters: { Wax: [[0.5]], Waa: [[0.8]], ba: [[0.25]], Wya: [[1], [-1]], by: [[0], [0]] },
};

async function forward(url: string, request: unroll.RnnForwardRequest) {
  const api = new unroll.Api({ baseUrl: url });
  try {
    const { data } = await api.v1.rnnForward(request);
    return data;
  } catch (answer) {
    const { error, headers } = answer as unroll.HttpResponse<never, unroll.Problem>;
    throw { code: error.code, pointer: error.errors[0]?.pointer, retryAfter: headers.get('retry-after') };
  }
}

async function backward(url: string, way: Omit<unroll.RnnBackwardRequest, 'da'>) {
  const api = new unroll.Api({ baseUrl: url });
  const { data } = await api.v1.rnnBackward({ da: [[[0, 0, 1]]], ...way });
  return data;
}

await printAnswers(request, forward, backward);
