import { printAnswers } from '../answers.js';
import * as unroll from './unroll/index.js';

const request: unroll.RnnForwardRequest = {
  x: [[[1, 0, -1]]],
  a0: [[0]],
  parameters: { Wax: [[0.5]], Waa: [[0.8]], ba: [[0.25]], Wya: [[1], [-1]], by: [[0], [0]] },
};

async function forward(url: string, request: unroll.RnnForwardRequest) {
  const { data, error, response } = await unroll.rnnForward({ baseUrl: url, body: request });
  if (data) return data;
  throw { code: error.code, pointer: error.errors[0]?.pointer, retryAfter: response.headers.get('retry-after') };
}

async function backward(url: string, way: Omit<unroll.RnnBackwardRequest, 'da'>) {
  const { data } = await unroll.rnnBackward({ baseUrl: url, body: { da: [[[0, 0, 1]]], ...way } });
  return data;
}

await printAnswers(request, forward, backward);
