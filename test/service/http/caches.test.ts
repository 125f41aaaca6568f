import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { connectRedis } from '../../../src/settings/redis.js';
import { cacheId } from '../../../src/stores/cache-id.js';
import { redisStore } from '../../../src/stores/redis.js';
import { start } from '../../http/start.js';
import {
  type Answer,
  back,
  DIMS,
  expected,
  MB,
  nets,
  PATIENT,
  post,
  remove,
  requestFor,
  stored,
} from '../../http/stored-caches.js';
import { type JsonObject, operationCalled } from '../../values.js';
import { type Service, startService } from '../process.js';
import { hasRedis, type RedisServer, startRedis } from '../redis.js';

describe('stored caches that many requests name at once', () => {
  const places = ['in memory', ...(hasRedis ? ['in Redis'] : [])];

  it.runIf(process.platform === 'linux').each(places)('%s are copied only where there is memory', async (place) => {
    const redis = place === 'in Redis' ? await startRedis() : undefined;
    const room = { MEMORY_LIMIT: String(150 * MB), CACHE_LIMIT: String(32 * MB), RATE_LIMIT: '0', WORKERS: '1' };
    const service = await startService({ ...room, ...(redis && { CACHE_URL: redis.url }) });
    await vi.waitFor(() => stored(service.url, 'rnn'), PATIENT);
    const { inputs, upstream } = requestFor('rnn', { n_x: 1, n_a: 8, n_y: 1, m: 1, T_x: 100_000, T_da: 1 }, 1, false);
    const rounded = JSON.stringify(inputs).replace(/(\d\.\d)\d+/g, '$1');
    const kept = await post(service.url, 'rnnForward', rounded.replace(/}$/, ',"caches":"stored"}'));
    expect(kept.status, kept.text.slice(0, 500)).toBe(200); // 7 MB
    const before = peakOf(service.pid);
    const body = { ...upstream, cache_id: kept.json.cache_id };
    const ask = () => post(service.url, 'rnnBackward', body);
    const answers = await Promise.all(Array.from({ length: 150 }, ask));
    const peak = peakOf(service.pid);
    await service.stop();
    await redis?.stop();
    const right = answers.filter(({ status }) => status === 200);
    // Redis has a bound of its own.
    const refused = answers.filter(({ json }) => ['overloaded', 'cache-unavailable'].includes(json.code as string));
    expect(right.length).toBeGreaterThan(0);
    expect(new Set(right.map(({ text }) => text)).size).toBe(1);
    expect(right.length + refused.length).toBe(150);
    for (const { status, headers } of refused) {
      expect(status).toBe(503);
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    }
    expect(peak - before).toBeLessThan(300 * MB);
  });
});

/** The most memory that a process has had so far, in bytes. */
function peakOf(pid: number): number {
  const [, kibibytes] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return 1024 * Number(kibibytes);
}

describe.skipIf(!hasRedis)('stored caches in Redis', () => {
  let redis: RedisServer;
  let services: Service[];
  beforeAll(async () => {
    redis = await startRedis();
    services = await Promise.all([0, 1].map(() => startService({ CACHE_URL: redis.url, WORKERS: '1' })));
    for (const { url } of services) await works(url);
  });
  afterAll(async () => {
    for (const service of services) await service.stop();
    await redis.stop();
  });

  /** Caches can be stored: the connection is there. */
  const works = (url: string) => vi.waitFor(() => stored(url, 'rnn'), PATIENT);

  it.each(nets)('of %s that one instance has stored, another one goes backward from', async (net) => {
    const [one, other] = services.map(({ url }) => url);
    const id = await stored(one, net);
    const text = await expected(one, net);
    for (const url of [other, one]) {
      const answer = await back(url, net, id);
      expect([answer.status, answer.text]).toEqual([200, text]);
    }
  });

  it('that one instance has stored, another one deletes for all', async () => {
    const [one, other] = services.map(({ url }) => url);
    const id = await stored(one, 'rnn');
    expect((await back(other, 'rnn', id)).status).toBe(200);
    expect((await remove(other, id)).status).toBe(204);
    for (const url of [one, other]) {
      expect((await back(url, 'rnn', id)).json.code).toBe('cache-not-found');
      expect((await remove(url, id)).json.code).toBe('cache-not-found');
    }
  });

  it('that are large come back from the other instance, too', async () => {
    const { inputs, upstream } = requestFor('lstm', { n_x: 64, n_a: 128, n_y: 5, m: 200, T_x: 13, T_da: 4 });
    const [one, other] = services.map(({ url }) => url);
    const { json, text } = await post(one, 'lstmForward', { ...inputs, caches: 'stored' });
    expect(json.cache_id, text.slice(0, 500)).toBeDefined();
    const answer = await post(other, 'lstmBackward', { cache_id: json.cache_id, ...upstream });
    expect(answer.status).toBe(200);
    expect(answer.text).toBe((await post(one, 'lstmBackward', { ...inputs, ...upstream })).text);
  });

  it('that are damaged are not found, and nothing breaks', async () => {
    const [{ url }] = services;
    const client = connectRedis(redis.url, pino({ level: 'silent' }));
    const id = await stored(url, 'rnn');
    const key = `unroll:cache:${id}`;
    const whole = (await vi.waitFor(() => client.lindexBuffer(key, 1), PATIENT)) ?? Buffer.alloc(0);
    for (const damaged of [whole.subarray(0, 50), Buffer.alloc(500), Buffer.from('hello'), whole.subarray(8)]) {
      await client.lset(key, 1, damaged);
      for (const [length, why] of [
        [damaged.length, /cannot be read/],
        [whole.length, /are not there/],
      ] as const) {
        await client.lset(key, 0, length);
        const { status, json } = await back(url, 'rnn', id);
        expect([status, json.code]).toEqual([404, 'cache-not-found']);
        expect(json.detail).toMatch(why);
      }
    }
    client.disconnect();
  });

  it('are unavailable while it is gone, with Retry-After; all else goes on; and come back by themselves', async () => {
    const [{ url }] = services;
    const { inputs, upstream } = requestFor('rnn');
    const id = await stored(url, 'rnn');
    await redis.stop();
    const forward = await post(url, 'rnnForward', { ...inputs, caches: 'stored' });
    const backward = await back(url, 'rnn', id);
    for (const { status, json, headers } of [forward, backward]) {
      expect([status, json.code, headers.get('retry-after')]).toEqual([503, 'cache-unavailable', '1']);
      expect(JSON.stringify(json)).not.toMatch(/127\.0\.0\.1|ECONN|redis:/);
      expect(json.detail).toBe('the store of caches cannot be reached, or refuses; everything else works');
    }
    const removed = await remove(url, id);
    expect([removed.status, removed.json.code]).toEqual([503, 'cache-unavailable']);
    expect((await remove(url, 'abc')).status).toBe(404); // for that nobody needs to be asked
    expect((await post(url, 'rnnForward', inputs)).status).toBe(200);
    expect((await post(url, 'rnnBackward', { ...inputs, ...upstream })).status).toBe(200);
    expect((await fetch(`${url}/health/ready`)).status).toBe(200);

    redis = await startRedis(redis.port);
    for (const service of services) await works(service.url);
    expect((await back(url, 'rnn', id)).status).toBe(404); // it was killed, and wrote nothing down
    expect((await back(services[1].url, 'rnn', await stored(url, 'rnn'))).status).toBe(200);
  });

  it('are refused before anything is computed while it is gone, and counted; other requests do not notice', async () => {
    const gone = await startRedis();
    const service = await startService({ CACHE_URL: gone.url, WORKERS: '2' });
    const failures = async () => {
      const text = await (await fetch(`${service.url}/metrics`)).text();
      return Number(/^unroll_cache_failures_total (\d+)/m.exec(text)?.[1]);
    };
    await works(service.url);
    await gone.stop();
    const before = await failures();
    // The second is large: cut over the batch.
    const dims = [DIMS, { n_x: 64, n_a: 128, n_y: 5, m: 41, T_x: 13, T_da: 11 }];
    const bodies = dims.map((each) => requestFor('lstm', each).inputs);
    for (const inputs of bodies) {
      const refused = await post(service.url, 'lstmForward', { ...inputs, caches: 'stored' });
      expect([refused.status, refused.json.code]).toEqual([503, 'cache-unavailable']);
      expect(refused.json.errors).toEqual([]);
      expect(refused.headers.get('server-timing')).toMatch(/decode;dur/);
      expect(refused.headers.get('server-timing')).not.toMatch(/(compute|encode|store);dur/);
      for (const caches of ['none', 'inline']) {
        const answer = await post(service.url, 'lstmForward', { ...inputs, caches });
        expect([answer.status, answer.headers.get('retry-after')]).toEqual([200, null]);
        expect(answer.headers.get('server-timing')).toMatch(/compute;dur/);
      }
    }
    expect((await failures()) - before).toBe(2);
    // What is wrong with a request for good is told first.
    const wrong = await post(service.url, 'lstmForward', { ...bodies[0], a0: [[1]], caches: 'stored' });
    expect([wrong.status, wrong.json.code]).toEqual([422, 'shape-mismatch']);
    expect((await failures()) - before).toBe(2);
    await service.stop();
  });

  it('that stalls: requests that need it get 503 within the limit, and others are as quick as ever', async () => {
    const [{ url }] = services;
    const { inputs, upstream } = requestFor('rnn');
    const id = await stored(url, 'rnn');
    process.kill(redis.pid, 'SIGSTOP');
    try {
      const begin = performance.now();
      const waiting = Promise.all(
        Array.from({ length: 8 }, (_, i) =>
          i % 2 === 0 ? back(url, 'rnn', id) : post(url, 'rnnForward', { ...inputs, caches: 'stored' }),
        ),
      );
      const { path } = operationCalled('rnnBackward');
      const hurried = await fetch(url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-deadline-ms': '300' },
        body: JSON.stringify({ ...upstream, cache_id: id }),
      });
      expect([hurried.status, ((await hurried.json()) as JsonObject).code]).toEqual([504, 'deadline-exceeded']);
      let slowest = 0;
      for (let i = 0; i < 50; i++) {
        const sent = performance.now();
        expect((await post(url, 'rnnBackward', { ...inputs, ...upstream })).status).toBe(200);
        slowest = Math.max(slowest, performance.now() - sent);
      }
      expect(slowest).toBeLessThan(1000);
      for (const { status, json } of await waiting) expect([status, json.code]).toEqual([503, 'cache-unavailable']);
      expect(performance.now() - begin).toBeLessThan(10_000);
    } finally {
      process.kill(redis.pid, 'SIGCONT');
    }
    await works(url);
    expect((await back(url, 'rnn', id)).status).toBe(200);
  });

  it('that stalls while caches are stored: a deadline is met, and a client that leaves leaves nothing', async () => {
    const frozen = await startRedis();
    const connection = connectRedis(frozen.url, pino({ level: 'silent' }));
    const caches = redisStore(connection, { limit: 2 ** 26, callers: 100 });
    const service = await start({ caches, workers: 1 });
    const { inputs } = requestFor('lstm', { n_x: 4, n_a: 64, n_y: 2, m: 4, T_x: 64, T_da: 1 });
    const body = JSON.stringify({ ...inputs, caches: 'stored' });
    const ask = (more: RequestInit = {}, headers = {}) => {
      const type = { 'content-type': 'application/json', ...headers };
      return fetch(`${service.url}/v1/lstm/forward`, { method: 'POST', headers: type, body, ...more });
    };
    await vi.waitFor(async () => expect((await ask()).status).toBe(200), PATIENT);
    process.kill(frozen.pid, 'SIGSTOP');
    const begin = performance.now();
    const hurried = await ask({}, { 'x-deadline-ms': '500' });
    const took = performance.now() - begin;
    expect([hurried.status, ((await hurried.json()) as JsonObject).code]).toEqual([504, 'deadline-exceeded']);
    expect(took).toBeLessThan(1500);
    process.kill(frozen.pid, 'SIGCONT');
    await vi.waitFor(async () => expect((await ask()).status).toBe(200), PATIENT);

    process.kill(frozen.pid, 'SIGSTOP');
    const leaving = new AbortController();
    const gone = ask({ signal: leaving.signal }).catch(() => 'gone');
    // The answer is there, and its caches are being stored.
    const isStoring = () => service.pool.stats().running === 0 && service.pool.memory.used > body.length;
    await vi.waitFor(() => expect(isStoring()).toBe(true), PATIENT);
    leaving.abort();
    expect(await gone).toBe('gone');
    await vi.waitFor(() => expect(service.pool.stats().bytes).toBe(0), PATIENT);
    process.kill(frozen.pid, 'SIGCONT');
    await vi.waitFor(async () => expect((await ask()).status).toBe(200), PATIENT);
    expect(service.log.filter(({ msg }) => msg === 'request failed')).toEqual([]);
    expect(service.log.filter(({ msg }) => msg === 'the client has left')).toHaveLength(1);
    await service.stop();
    await frozen.stop();
  });

  it('that stalls under many requests leaves places for those that do not need it', async () => {
    const frozen = await startRedis();
    const service = await startService({ CACHE_URL: frozen.url, WORKERS: '1', QUEUE_LIMIT: '40', RATE_LIMIT: '0' });
    await works(service.url);
    const { inputs } = requestFor('rnn');
    const id = await stored(service.url, 'rnn');
    process.kill(frozen.pid, 'SIGSTOP');
    const needy: Promise<Answer>[] = [];
    const others: Promise<Answer>[] = [];
    for (let i = 0; i < 30; i++) {
      for (let j = 0; j < 10; j++) needy.push(back(service.url, 'rnn', id));
      others.push(post(service.url, 'rnnForward', inputs));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    for (const { status, text } of await Promise.all(others)) expect(status, text).toBe(200);
    // Too many at once, before it is known that the server does not answer.
    const codes = (await Promise.all(needy)).map(({ json }) => json.code as string);
    expect(codes).toContain('cache-unavailable');
    for (const code of codes) expect(['cache-unavailable', 'overloaded']).toContain(code);
    process.kill(frozen.pid, 'SIGCONT');
    await works(service.url);
    await service.stop();
    await frozen.stop();
  });

  it.each([
    ['0', 1],
    ['1000', 2],
  ])('with a limit of %s requests a minute takes %i connections', async (RATE_LIMIT, connections) => {
    const server = await startRedis();
    const service = await startService({ CACHE_URL: server.url, WORKERS: '1', RATE_LIMIT });
    await works(service.url);
    const client = connectRedis(server.url, pino({ level: 'silent' }));
    const others = async () => Number(/connected_clients:(\d+)/.exec(await client.info('clients'))?.[1]) - 1;
    await vi.waitFor(async () => expect(await others()).toBe(connections), PATIENT);
    client.disconnect();
    await service.stop();
    await server.stop();
  });

  it('needs the commands that docker/README.md names, and no others', async () => {
    const readme = readFileSync(new URL('../../../docker/README.md', import.meta.url), 'utf8');
    const [, rights] = /^ACL SETUSER unroll (.*)$/m.exec(readme) ?? ['', ''];
    const server = await startRedis(undefined, ['--maxmemory', '30mb', '--maxmemory-policy', 'noeviction']);
    const owner = connectRedis(server.url, pino({ level: 'silent' }));
    await vi.waitFor(() => owner.call('ACL', 'SETUSER', 'unroll', ...rights.split(' ')), PATIENT);
    await owner.config('RESETSTAT');

    const CACHE_URL = `${server.url.replace('//', '//unroll:password@')}/2`;
    const service = await startService({ CACHE_URL, WORKERS: '1', RATE_LIMIT: '1000' });
    await works(service.url);
    expect((await back(service.url, 'rnn', await stored(service.url, 'rnn'))).status).toBe(200);
    const store = redisStore(connectRedis(CACHE_URL, pino({ level: 'silent' })), { limit: 2 ** 26, callers: 9 });
    const id = cacheId(Date.now() + 60_000);
    await vi.waitFor(() => store.put(id, [new Uint8Array(9 * MB)], 60_000, 'me'), PATIENT);
    expect(await store.get(id, () => {})).toHaveLength(9 * MB);
    await expect(store.put(cacheId(Date.now() + 60_000), [new Uint8Array(50 * MB)], 60_000, 'me')).rejects.toThrow(
      /^OOM /,
    );
    const used = async () =>
      [...(await owner.info('commandstats')).matchAll(/^cmdstat_([\w|]+)/gm)].map(([, name]) => name);
    await vi.waitFor(async () => expect(await used()).toContain('unlink'), PATIENT);
    const allowed = [...rights.matchAll(/\+(\w+)/g)].map(([, name]) => name);
    expect((await used()).filter((name) => !['hello', 'config|resetstat'].includes(name)).sort()).toEqual(
      allowed.sort(),
    );
    expect(await owner.call('ACL', 'LOG')).toEqual([]);
    owner.disconnect();
    await store.close();
    await service.stop();
    await server.stop();
  });

  it('does not have to be there when the service starts, and one that is not drains all the same', async () => {
    const gone = await startRedis();
    await gone.stop();
    const service = await startService({ CACHE_URL: gone.url, WORKERS: '1' });
    expect((await fetch(`${service.url}/health/ready`)).status).toBe(200);
    const { inputs } = requestFor('rnn');
    expect((await post(service.url, 'rnnForward', inputs)).status).toBe(200);
    expect((await post(service.url, 'rnnForward', { ...inputs, caches: 'stored' })).status).toBe(503);
    expect(await service.stop()).toBe(0);
  });

  it('with an entry that has no more room there is a clear 503', async () => {
    const small = await startRedis(undefined, ['--maxmemory', '3mb', '--maxmemory-policy', 'noeviction']);
    const caches = redisStore(connectRedis(small.url, pino({ level: 'silent' })), { limit: 2 ** 26, callers: 100 });
    const service = await start({ caches, workers: 1 });
    const { inputs } = requestFor('lstm', { n_x: 4, n_a: 64, n_y: 2, m: 64, T_x: 32, T_da: 1 });
    const ask = () => post(service.url, 'lstmForward', { ...inputs, caches: 'stored' });
    await vi.waitFor(() => expect(caches.trouble()).toBeUndefined(), PATIENT);
    await vi.waitFor(async () => expect((await ask()).json.code).toBe('cache-unavailable'), PATIENT);
    expect((await ask()).json.detail).toBe('the store of caches cannot be reached, or refuses; everything else works');
    const reasons = service.log.filter(({ msg }) => msg === 'stored caches are unavailable');
    expect(reasons).toMatchObject([{ reason: expect.stringMatching(/^OOM /) }]);
    expect((await post(service.url, 'lstmForward', inputs)).status).toBe(200);
    await service.stop();
    await small.stop();
  });
});
