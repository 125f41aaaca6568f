import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Histogram, Registry } from 'prom-client';
import supertest from 'supertest';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { isAllocationFailure } from '../../../src/compute/worker/allocation.js';
import { BOUNDS, observations, observe, registerHistogram } from '../../../src/http/monitoring/histogram.js';
import { createMetrics } from '../../../src/http/monitoring/metrics.js';
import { operations } from '../../../src/operations/operations.js';
import { loadConfig } from '../../../src/settings/config.js';
import { memoryStore } from '../../../src/stores/memory.js';
import type { CacheStats } from '../../../src/stores/store.js';
import { numbersFrom, operationCalled, tensorsFor } from '../../values.js';
import { type Started, start } from '../start.js';
import { type Sample, scrape } from './scrape.js';

const lstmForward = (n_a: number, T_x: number) =>
  JSON.stringify(
    tensorsFor(operationCalled('lstmForward').request, { n_x: 4, n_a, n_y: 2, m: 8, T_x, T_da: T_x }, numbersFrom(1), {
      prediction: true,
      way: 0,
      extras: false,
    }),
  );
const post = (url: string, body: string, signal?: AbortSignal) => {
  const headers = { 'content-type': 'application/json' };
  return fetch(`${url}/v1/lstm/forward`, { method: 'POST', headers, body, ...(signal ? { signal } : {}) });
};

/** The sum of the samples with this name and these labels. */
function sum(samples: readonly Sample[], name: string, labels: Record<string, string> = {}): number {
  const found = samples.filter((sample) => {
    return sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value);
  });
  return found.reduce((total, { value }) => total + value, 0);
}

/** Scrapes until what was counted is there: an answer is counted when it has left, which its reader can be ahead of. */
async function scrapeUntil(url: string, isThere: (samples: readonly Sample[]) => boolean): Promise<readonly Sample[]> {
  for (let tries = 0; ; tries++) {
    const samples = await scrape(url);
    if (isThere(samples) || tries === 200) return samples;
    await sleep(20);
  }
}

async function rawAnswer(url: string, text: string): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.write(text);
  const [answer] = await once(socket, 'data');
  socket.destroy();
  return String(answer);
}

let service: Started;
beforeAll(async () => {
  service = await start({ workers: 2, bodyLimit: 100_000 });
});
afterAll(() => service.stop());

describe('memory that the system does not have', () => {
  it('is 503 overloaded, and counted apart', async () => {
    const mine = await start({ workers: 1 });
    const Real = Uint8Array;
    class Short extends Real {
      constructor(...args: [never]) {
        if ((args[0] as unknown) === 2_000_000) throw new RangeError('Array buffer allocation failed');
        super(...args);
      }
    }
    vi.stubGlobal('Uint8Array', Short);
    try {
      const refused = await post(mine.url, ' '.repeat(2_000_000));
      expect(refused.status).toBe(503);
      expect(await refused.json()).toMatchObject({
        code: 'overloaded',
        detail: 'the system has no memory for this request now',
      });
      const failures = (samples: readonly Sample[]) => sum(samples, 'unroll_allocation_failures_total');
      const samples = await scrapeUntil(mine.url, (some) => failures(some) === 1);
      expect(failures(samples)).toBe(1);
      expect(sum(samples, 'unroll_requests_total', { operation: 'lstmForward', code: 'overloaded' })).toBe(1);
    } finally {
      vi.unstubAllGlobals();
      await mine.stop();
    }
  });

  it('is told by JavaScript, WebAssembly, Node and zlib in their own words', () => {
    const withCode = (code: string) => Object.assign(new Error('no'), { code });
    const told = [
      new RangeError('Array buffer allocation failed'),
      new RangeError('WebAssembly.Memory(): could not allocate memory'),
      new RangeError('WebAssembly.Memory.grow(): Unable to grow instance memory'),
      new RangeError('WebAssembly.Instance(): Out of memory: Cannot allocate Wasm memory for new instance'),
      withCode('ERR_MEMORY_ALLOCATION_FAILED'),
      withCode('Z_MEM_ERROR'),
    ];
    expect(told.map(isAllocationFailure)).toEqual(told.map(() => true));
    const others = [
      new RangeError('Invalid array length'),
      new Error('allocation failed'),
      withCode('Z_DATA_ERROR'),
      7,
    ];
    expect(others.map(isAllocationFailure)).toEqual(others.map(() => false));
  });
});

describe('GET /metrics', () => {
  it('is the text format of Prometheus, also for HEAD', async () => {
    const { headers, text } = await supertest(service.url).get('/metrics').expect(200);
    expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(text).toContain('# TYPE unroll_requests_total counter\n');
    expect(text.endsWith('\n')).toBe(true);
    await supertest(service.url).head('/metrics').expect(200);
  });

  it('counts requests by operation, status and code, from 0 on', async () => {
    const before = await scrape(service.url);
    const counted = (operation: string, status: string, code: string) =>
      sum(before, 'unroll_requests_total', { operation, status, code });
    for (const { id } of operations) {
      expect(before).toContainEqual(
        expect.objectContaining({ labels: { operation: id, status: '429', code: 'queue-full' } }),
      );
    }
    expect(counted('lstmForward', '200', 'ok')).toBe(0);

    const good = lstmForward(3, 4);
    expect((await post(service.url, good)).status).toBe(200);
    expect((await post(service.url, good)).status).toBe(200);
    expect((await post(service.url, '{')).status).toBe(400);
    expect((await post(service.url, '{}')).status).toBe(400);
    expect((await post(service.url, ' '.repeat(200_000))).status).toBe(413);
    expect((await fetch(`${service.url}/v1/lstm/forward`)).status).toBe(405);
    expect((await fetch(`${service.url}/secret-path-${Math.random()}`)).status).toBe(404);
    expect((await fetch(`${service.url}/health/live`)).status).toBe(200);

    const is = (samples: readonly Sample[], operation: string, status: string, code: string) =>
      sum(samples, 'unroll_requests_total', { operation, status, code });
    const after = await scrapeUntil(
      service.url,
      (now) => is(now, 'other', '200', 'ok') >= 3 && is(now, 'none', '404', 'not-found') >= 1,
    );
    expect(is(after, 'lstmForward', '200', 'ok')).toBe(2);
    expect(is(after, 'lstmForward', '400', 'invalid-json')).toBe(1);
    expect(is(after, 'lstmForward', '400', 'invalid-request')).toBe(1);
    expect(is(after, 'lstmForward', '413', 'payload-too-large')).toBe(1);
    expect(is(after, 'none', '405', 'method-not-allowed')).toBe(1);
    expect(is(after, 'none', '404', 'not-found')).toBe(1);
    expect(await (await fetch(`${service.url}/metrics`)).text()).not.toContain('secret-path');

    // Sizes, times and arithmetic, as the log and the answers tell them.
    const lines = service.log.filter(({ operation }) => operation === 'lstmForward') as Record<string, number>[];
    const logged = (what: string) => lines.reduce((total, line) => total + (line[what] ?? 0), 0);
    expect(sum(after, 'unroll_request_bytes_total', { operation: 'lstmForward' })).toBe(logged('bytesIn'));
    expect(logged('bytesIn')).toBe(2 * good.length + 1 + 2);
    expect(sum(after, 'unroll_response_bytes_total', { operation: 'lstmForward' })).toBe(logged('bytesOut'));
    expect(sum(after, 'unroll_flops_total', { operation: 'lstmForward' })).toBe(logged('flops'));
    expect(sum(after, 'unroll_request_seconds_count', { operation: 'lstmForward' })).toBe(2);
    expect(sum(after, 'unroll_request_seconds_sum', { operation: 'lstmForward' })).toBeGreaterThan(0);
    const stages = ['queue', 'decode', 'compute', 'encode'];
    const times = stages.map((stage) => sum(after, 'unroll_stage_seconds_count', { operation: 'lstmForward', stage }));
    expect(times).toEqual([4, 4, 2, 2]);
  });

  it('counts once what never becomes a request of any route', async () => {
    const of = (samples: readonly Sample[], code: string) =>
      sum(samples, 'unroll_requests_total', { operation: 'none', code });
    const before = await scrape(service.url);
    expect(await rawAnswer(service.url, 'nonsense\r\n\r\n')).toContain('invalid-http');
    expect(await rawAnswer(service.url, 'GET /%zz HTTP/1.1\r\nhost: a\r\n\r\n')).toContain('invalid-http');
    expect(await rawAnswer(service.url, 'CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n')).toContain('invalid-http');
    const long = `GET / HTTP/1.1\r\nhost: a\r\nx: ${'x'.repeat(100_000)}\r\n\r\n`;
    expect(await rawAnswer(service.url, long)).toContain('headers-too-large');
    const wanted = of(before, 'invalid-http') + 3;
    const after = await scrapeUntil(service.url, (now) => of(now, 'invalid-http') >= wanted);
    expect(of(after, 'invalid-http')).toBe(wanted);
    expect(of(after, 'headers-too-large')).toBe(1);
  });

  it('tells of the process, the event loop and what runs', async () => {
    const samples = await scrape(service.url);
    expect(sum(samples, 'process_resident_memory_bytes')).toBeGreaterThan(10e6);
    expect(sum(samples, 'unroll_process_memory_limit_bytes')).toBeGreaterThan(
      sum(samples, 'process_resident_memory_bytes'),
    );
    expect(samples.map(({ name }) => name)).toContain('nodejs_eventloop_lag_p99_seconds');
    const { version, kernels } = (await supertest(service.url).get('/')).body;
    expect(samples.find(({ name }) => name === 'unroll_info')?.labels).toEqual({
      version,
      kernels,
      node: process.version,
    });
  });

  it('tells all of its own stored caches, and what it knows of shared ones', async () => {
    const told = async (stats: CacheStats) => {
      const other = await start({ workers: 1, caches: { ...memoryStore(1), stats: () => stats } });
      const all = await scrape(other.url);
      await other.stop();
      return all.flatMap(({ name, value }) => (name.startsWith('unroll_cache') ? [`${name} ${value}`] : []));
    };
    const shared = ['puts_total 1', 'hits_total 2', 'misses_total 3', 'removals_total 8', 'failures_total 4'];
    const own = [...shared, 'evictions_total 5', 'bytes 7', 'entries 6'];
    const counts = { puts: 1, hits: 2, misses: 3, removals: 8, failures: 4 };
    expect(await told({ ...counts, evictions: 5, entries: 6, bytes: 7 })).toEqual(
      own.map((line) => `unroll_cache_${line}`),
    );
    expect(await told({ ...counts, evictions: undefined, entries: undefined, bytes: undefined })).toEqual(
      shared.map((line) => `unroll_cache_${line}`),
    );
  });
});

describe('while the pool is', () => {
  it('busy, /metrics answers, and shows the queue', async () => {
    const busy = await start({ workers: 1, queueLimit: 3 });
    const long = lstmForward(128, 400);
    const answers = Promise.all(Array.from({ length: 6 }, async () => (await post(busy.url, long)).status));
    const isFull = (now: readonly Sample[]) =>
      sum(now, 'unroll_queue_requests') === 3 && sum(now, 'unroll_running_requests') === 1;
    const during = await scrapeUntil(busy.url, isFull);
    expect(sum(during, 'unroll_queue_requests')).toBe(3);
    expect(sum(during, 'unroll_queue_limit')).toBe(3);
    expect(sum(during, 'unroll_running_requests')).toBe(1);
    expect(sum(during, 'unroll_workers_busy')).toBe(1);
    expect((await answers).sort()).toEqual([200, 200, 200, 200, 429, 429]);
    const refused = { operation: 'lstmForward', status: '429', code: 'queue-full' };
    const after = await scrapeUntil(busy.url, (now) => sum(now, 'unroll_requests_total', refused) === 2);
    expect(sum(after, 'unroll_requests_total', refused)).toBe(2);
    expect(sum(after, 'unroll_workers_busy') + sum(after, 'unroll_queue_requests')).toBe(0);
    await busy.stop();
  });

  it('busy, a client that leaves without its answer is counted, once', async () => {
    const busy = await start({ workers: 1 });
    const left = { operation: 'lstmForward', status: '499', code: 'client-gone' };
    const client = new AbortController();
    const answer = post(busy.url, lstmForward(128, 400), client.signal).catch(({ name }) => name);
    await scrapeUntil(busy.url, (now) => sum(now, 'unroll_running_requests') > 0);
    client.abort();
    expect(await answer).toBe('AbortError');
    await scrapeUntil(busy.url, (now) => sum(now, 'unroll_requests_total', left) > 0);
    const after = await scrapeUntil(busy.url, (now) => sum(now, 'unroll_running_requests') === 0);
    expect(sum(after, 'unroll_requests_total', left)).toBe(1);
    expect(sum(after, 'unroll_requests_total', { operation: 'lstmForward' })).toBe(1);
    await busy.stop();
  });

  it('dead, /metrics answers, and says so', async () => {
    const dead = await start({ workers: 2 });
    expect(sum(await scrape(dead.url), 'unroll_workers_alive')).toBe(2);
    expect(sum(await scrape(dead.url), 'unroll_ready')).toBe(1);
    await dead.pool.close();
    const samples = await scrape(dead.url);
    expect(sum(samples, 'unroll_ready')).toBe(0);
    expect(sum(samples, 'unroll_workers')).toBe(2);
    expect(sum(samples, 'unroll_workers_alive')).toBe(0);
    await dead.stop();
  });
});

it('the histogram reaches from a tenth of a millisecond to the longest deadline', () => {
  expect(BOUNDS[0]).toBe(0.0001);
  expect(BOUNDS.at(-1)).toBe(loadConfig({}).DEADLINE_LIMIT / 1000);
});

it('the histogram says what that of prom-client says', async () => {
  const [ours, theirs] = [new Registry(), new Registry()];
  const config = { name: 'h_seconds', help: 'h', labelNames: ['operation'], buckets: [...BOUNDS] };
  const plain = new Histogram({ ...config, registers: [theirs] });
  const fast = observations({ operation: 'a' });
  registerHistogram(ours, 'h_seconds', 'h', [fast, observations({ operation: 'never' })]);
  for (const seconds of [0, 0.0001, 0.00010001, 0.003, 0.5, 60, 61, 601, ...BOUNDS]) {
    observe(fast, seconds);
    plain.observe({ operation: 'a' }, seconds);
  }
  expect(await ours.metrics()).toBe(await theirs.metrics());
});

it('counting a request takes microseconds', () => {
  const metrics = createMetrics({ pool: service.pool, queueLimit: 1, isReady: () => true, caches: memoryStore(1) });
  const request = { routeOptions: { config: { operation: operationCalled('lstmForward') } } };
  const reply = {
    raw: { writableFinished: true },
    statusCode: 200,
    elapsedTime: 0.15,
    logged: { bytesIn: 100, bytesOut: 100, flops: 100 },
    stages: { queue: 0.02, decode: 0.02, compute: 0.01, encode: 0.01 },
    weightsKnown: 0.5,
  };
  const measure = (n: number) => {
    const { user } = process.cpuUsage();
    for (let i = 0; i < n; i++) {
      metrics.answered(request as unknown as FastifyRequest, reply as unknown as FastifyReply);
    }
    return (process.cpuUsage().user - user) / n;
  };
  measure(100_000);
  const us = measure(500_000);
  console.info(`counting a request: ${us.toFixed(2)} µs`);
  expect(us).toBeLessThan(5);
});
