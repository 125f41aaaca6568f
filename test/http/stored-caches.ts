import { expect } from 'vitest';
import { operations } from '../../src/operations/operations.js';
import { type JsonObject, numbersFrom, operationCalled, tensorsFor } from '../values.js';

/** Requests that store caches, name them and delete them. */

export const nets = ['rnn', 'lstm'] as const;
export type Net = (typeof nets)[number];
export const MB = 2 ** 20;
/** Generous: the machine may be busy. */
export const PATIENT = { timeout: 30_000, interval: 100 };

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly json: JsonObject;
}

export async function post(url: string, operation: string, body: object | string): Promise<Answer> {
  const { path } = operations.find(({ id }) => id === operation) ?? { path: '' };
  const headers = { 'content-type': 'application/json' };
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const answer = await fetch(url + path, { method: 'POST', headers, body: text });
  const answered = await answer.text();
  return { status: answer.status, headers: answer.headers, text: answered, json: JSON.parse(answered) };
}

export const DIMS = { n_x: 3, n_a: 4, n_y: 2, m: 2, T_x: 5, T_da: 3 };

/** What goes forward, and what goes backward beside it. */
export function requestFor(net: Net, dims = DIMS, seed = 1, extras = true) {
  const choices = { prediction: true, way: 1, extras };
  const { da, dc, ...inputs } = tensorsFor(operationCalled(`${net}Backward`).request, dims, numbersFrom(seed), choices);
  return { inputs, upstream: { da, ...(dc ? { dc } : {}) } };
}

export async function stored(url: string, net: Net, more: object = {}): Promise<string> {
  const { inputs } = requestFor(net);
  const { status, json, text } = await post(url, `${net}Forward`, { ...inputs, ...more, caches: 'stored' });
  expect(status, text).toBe(200);
  return json.cache_id as string;
}

export const back = (url: string, net: Net, cache_id: unknown, more: object = {}) =>
  post(url, `${net}Backward`, { ...requestFor(net).upstream, cache_id, ...more });

/** The answer that stored caches must give. */
export const expected = async (url: string, net: Net) => {
  const { inputs, upstream } = requestFor(net);
  return (await post(url, `${net}Backward`, { ...inputs, ...upstream })).text;
};

/** Status and problem, if there is one. */
export async function remove(
  url: string,
  id: string,
  more: RequestInit = {},
): Promise<{ status: number; json: JsonObject }> {
  const answer = await fetch(`${url}/v1/caches/${id}`, { method: 'DELETE', ...more });
  const text = await answer.text();
  return { status: answer.status, json: text === '' ? {} : JSON.parse(text) };
}
