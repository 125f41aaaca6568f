import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { examplesOf } from '../../../src/http/openapi/examples.js';
import { problemExamples } from '../../../src/http/openapi/problem-examples.js';
import { type ProblemBody, type ProblemCode, problemKinds } from '../../../src/http/problems.js';
import { memoryStore } from '../../../src/stores/memory.js';
import { CacheUnavailable } from '../../../src/stores/store.js';
import { workerThat } from '../../faulty-worker.js';
import { operationCalled } from '../../values.js';
import { type Limits, type Started, start } from '../start.js';

type Provocation = (service: Started) => Promise<ProblemBody>;

const PATH = '/v1/lstm/forward';
const [good, rnn] = ['lstmForward', 'rnnForward'].map((id) => {
  return examplesOf(operationCalled(id))['from inputs'].request as { parameters: object };
});
const { request: byCacheId } = examplesOf(operationCalled('lstmBackward'))['by cache_id'];

/** Of caches that expire in the year 5188. */
const LASTING = 'zzzzzzzzz-6f1d3d0c-6a52-4f0e-9d3c-2b7f1f0a8c55';

/** A worker waits for half a second before it takes a message. */
const PAUSE = 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)';

/** The gradient of a step is the sum of two that are larger than half of what float64 can hold. */
const overflowing = {
  da: [[[1e308, 1e308]]],
  x: [[[0, 0]]],
  a0: [[0]],
  parameters: { Wax: [[1]], Waa: [[1]], ba: [[0]] },
};

/** How a service with these settings is brought to each of these errors. */
const provocations: readonly {
  readonly limits: Limits;
  readonly provoke: Partial<Record<ProblemCode, Provocation>>;
}[] = [
  {
    limits: {},
    provoke: {
      'invalid-http': ({ url }) => raw(url, 'GET / HTTP/1.1\r\n\r\n'),
      'headers-too-large': ({ url }) => raw(url, `GET / HTTP/1.1\r\nhost: a\r\n${'x: y\r\n'.repeat(100)}\r\n`),
      'invalid-json': ({ url }) => post(url, '{"x": [[[1, NaN]]]}'),
      'invalid-request': ({ url }) =>
        post(url, { ...rnn, parameters: { ...rnn.parameters, Waax: [[0.1]] } }, {}, '/v1/rnn/forward'),
      'invalid-tensor': ({ url }) => post(url, { ...good, a0: [[0.1], ['0.2']] }),
      'shape-mismatch': ({ url }) => post(url, { ...good, parameters: { ...good.parameters, Wf: [[0.1, 0.2]] } }),
      'non-finite-result': ({ url }) => post(url, overflowing, {}, '/v1/rnn/backward'),
      'cache-not-found': ({ url }) => post(url, byCacheId, {}, '/v1/lstm/backward'),
      'not-found': ({ url }) => post(url, good, {}, '/v1/elman/forward'),
      'method-not-allowed': ({ url }) => ask(url + PATH),
      'not-acceptable': ({ url }) => post(url, good, { accept: 'text/html' }),
      'unsupported-media-type': ({ url }) => post(url, 'x=1', { 'content-type': 'text/plain' }),
      'deadline-exceeded': ({ url }) => raw(url, unsent('x-deadline-ms: 10\r\n')),
    },
  },
  { limits: { idleTimeout: 100 }, provoke: { 'request-timeout': ({ url }) => raw(url, unsent()) } },
  { limits: { bodyLimit: 256 }, provoke: { 'payload-too-large': ({ url }) => post(url, good) } },
  { limits: { workLimit: 1024 }, provoke: { 'work-too-large': ({ url }) => post(url, good) } },
  {
    limits: { settings: { API_KEYS: `ann:${'0'.repeat(64)}` } },
    provoke: { unauthorized: ({ url }) => post(url, good) },
  },
  {
    limits: { settings: { RATE_LIMIT: 3 } },
    provoke: {
      'rate-limited': async ({ url }) => {
        for (let i = 0; i < 3; i++) await post(url, good);
        return post(url, good);
      },
    },
  },
  {
    limits: { queueLimit: 1, workerFile: workerThat(PAUSE) },
    provoke: {
      'queue-full': async ({ url, pool }) => {
        const others = [post(url, good), post(url, good)];
        await vi.waitFor(() => expect(pool.stats().running + pool.stats().waiting).toBe(2));
        const problem = await post(url, good);
        await Promise.all(others);
        return problem;
      },
    },
  },
  {
    limits: { memoryLimit: 2 ** 23 },
    provoke: {
      overloaded: async ({ url, pool }) => {
        const { port } = new URL(url);
        const holding = Array.from({ length: 6 }, () => connect(Number(port), '127.0.0.1'));
        for (const socket of holding) socket.write(unsent('', 2 ** 20));
        await vi.waitFor(() => expect(pool.stats().bytes).toBe(6 * 2 ** 20)); // as much as one caller may take
        const problem = await post(url, 'x'.repeat(2 ** 20));
        for (const socket of holding) socket.destroy();
        return problem;
      },
    },
  },
  {
    limits: { caches: { ...memoryStore(1), get: () => Promise.reject(new CacheUnavailable('away')) } },
    provoke: {
      'cache-unavailable': ({ url }) => post(url, { ...byCacheId, cache_id: LASTING }, {}, '/v1/lstm/backward'),
    },
  },
  {
    limits: { caches: { ...memoryStore(1), largest: 1e9, put: () => Promise.reject(new Error('a fault')) } },
    provoke: { internal: ({ url }) => post(url, { ...good, caches: 'stored' }) },
  },
  {
    limits: {},
    provoke: {
      draining: async ({ app, url }) => {
        const drained = app.drain({ grace: 300, limit: 1000 });
        const problem = await ask(`${url}/health/ready`);
        await drained;
        return problem;
      },
    },
  },
];

it.each(provocations)(
  'the example of $provoke is what the service answers',
  { timeout: 20_000 },
  async ({ limits, provoke }) => {
    const service = await start({ workers: 1, kernels: 'scalar', ...limits });
    try {
      for (const [code, act] of Object.entries(provoke)) {
        const { request_id, ...problem } = await Promise.race([act(service), sleep(5000, {} as ProblemBody)]);
        const example = problemExamples[code as ProblemCode];
        expect.soft({ ...problem, request_id: example.request_id }).toEqual(example);
      }
    } finally {
      await service.stop();
    }
  },
);

it('every problem has an example', () => {
  const codes = Object.keys(problemKinds).sort();
  expect(Object.keys(problemExamples).sort()).toEqual(codes);
  expect(provocations.flatMap(({ provoke }) => Object.keys(provoke)).sort()).toEqual(codes);
});

function post(url: string, body: unknown, headers: Record<string, string> = {}, path = PATH): Promise<ProblemBody> {
  return ask(url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

async function ask(url: string, init: RequestInit = {}): Promise<ProblemBody> {
  return (await (await fetch(url, init)).json()) as ProblemBody;
}

/** The head of a request whose body does not come. */
function unsent(headers = '', length = 9): string {
  return `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n${headers}\r\n`;
}

/** What is answered to a text that no client of HTTP sends. */
async function raw(url: string, text: string): Promise<ProblemBody> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.on('error', () => undefined); // it may be reset when all has been read
  socket.write(text);
  let answer = '';
  for await (const chunk of socket) {
    answer += chunk;
    if (answer.endsWith('}')) break;
  }
  return JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4));
}
