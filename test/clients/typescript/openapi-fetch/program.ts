import createClient from 'openapi-fetch';
import { printAnswers } from '../answers.js';
import type { components, paths } from './unroll/unroll.js';

type Schemas = components['schemas'];

const request: Schemas['RnnForwardRequest'] = {
  x: [[[1, 0, -1]]],
  a0: [[0]],
  parameters: { Wax: [[0.5]], Waa: [[0.8]], ba: [[0.25]], Wya: [[1], [-1]], by: [[0], [0]] },
};

async function forward(url: string, request: Schemas['RnnForwardRequest']) {
  const unroll = createClient<paths>({ baseUrl: url });
  const { data, error, response } = await unroll.POST('/v1/rnn/forward', { body: request });
  if (data) return data;
  throw { code: error.code, pointer: error.errors[0]?.pointer, retryAfter: response.headers.get('retry-after') };
}

async function backward(url: string, way: Omit<Schemas['RnnBackwardRequest'], 'da'>) {
  const unroll = createClient<paths>({ baseUrl: url });
  const { data } = await unroll.POST('/v1/rnn/backward', { body: { da: [[[0, 0, 1]]], ...way } });
  return data;
}

await printAnswers(request, forward, backward);
