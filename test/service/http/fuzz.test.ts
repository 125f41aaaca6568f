import { afterAll, beforeAll, expect, it } from 'vitest';
import { fuzzHttp } from '../../fuzz/http.js';
import { exchange } from '../../fuzz/wire.js';
import { type Service, startService } from '../process.js';

/** A few of the requests that `npm run fuzz` sends. */

const runs = Number(process.env.FUZZ_RUNS ?? 4000);
const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stop());

it(`${runs} odd requests get neither 5xx nor silence, good ones their answers (FUZZ_SEED=${seed})`, async () => {
  const { broken, ...fuzzed } = await fuzzHttp(service.url, runs, seed);
  console.info(JSON.stringify(fuzzed));
  expect(broken).toEqual([]);
}, 600_000);

it('100 Continue for a request that waits behind another one does not get into an answer', async () => {
  const request = (more: string) =>
    `POST /v1/rnn/forward HTTP/1.1\r\nhost: unroll\r\ncontent-type: application/json\r\n${more}content-length: 2\r\n\r\n{}`;
  const both = Buffer.from(request('') + request('expect: 100-continue\r\n'));
  const { answers, end } = await exchange(Number(new URL(service.url).port), [both], ['POST', 'POST'], 10_000);
  expect(end).toBe('answered');
  expect(answers.map(({ status, body }) => [status, JSON.parse(body.toString()).code])).toEqual([
    [400, 'invalid-request'],
    [400, 'invalid-request'],
  ]);
});
