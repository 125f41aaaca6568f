import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { cacheId } from '../../src/stores/cache-id.js';
import { memoryStore } from '../../src/stores/memory.js';
import { cases } from '../cases.js';
import { anyDtype } from '../kernels/builds.js';
import { dimsArbitrary, type JsonObject } from '../values.js';
import { entry } from './asking.js';
import { type Started, start } from './start.js';
import { back, type DIMS, nets, PATIENT, post, remove, requestFor, stored } from './stored-caches.js';

describe('stored caches in memory', () => {
  let service: Started;
  beforeAll(async () => {
    service = await start({ workers: 2 });
  });
  afterAll(() => service.stop());

  it.each(nets)('of %s give the same bytes as inline ones and as the inputs, whatever the shapes', async (net) => {
    const any = fc.record({
      dims: dimsArbitrary,
      dtype: anyDtype,
      extras: fc.boolean(),
      seed: fc.integer(),
      bptt: fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }),
    });
    await fc.assert(
      fc.asyncProperty(any, async ({ dims, dtype, extras, seed, bptt }) => {
        const { inputs, upstream } = requestFor(net, dims as typeof DIMS, seed, extras);
        const ask = (id: string, body: object) => post(service.url, `${net}${id}`, { ...body, dtype });
        const [inline, kept] = await Promise.all([
          ask('Forward', { ...inputs, caches: 'inline' }),
          ask('Forward', { ...inputs, caches: 'stored' }),
        ]);
        const { caches, ...states } = inline.json;
        const { cache_id, cache_expires_at, ...same } = kept.json;
        expect(same).toEqual(states);
        const options = { ...upstream, ...(bptt ? { bptt_steps: bptt } : {}) };
        const ways = await Promise.all(
          [inputs, { caches }, { cache_id }, { cache_id }].map((way) => ask('Backward', { ...way, ...options })),
        );
        for (const way of ways) expect([way.status, way.text]).toEqual([200, ways[0].text]);
      }),
      { numRuns: cases(40) },
    );
  });

  it('are named by an id of their own, and the answer says when they go', async () => {
    const before = Date.now();
    const { inputs } = requestFor('rnn');
    const { json, headers } = await post(service.url, 'rnnForward', { ...inputs, caches: 'stored' });
    expect(Object.keys(json)).toEqual(['a', 'y_pred', 'cache_id', 'cache_expires_at']);
    const expires = Date.parse(json.cache_expires_at as string) - 600_000;
    expect(expires).toBeGreaterThanOrEqual(before);
    expect(expires).toBeLessThanOrEqual(Date.now());
    expect(headers.get('server-timing')).toMatch(/store;dur=/);
    expect(await stored(service.url, 'rnn')).not.toBe(json.cache_id);
  });

  it('of another kind or type are refused, both sides named', async () => {
    const wrongKind = await back(service.url, 'lstm', await stored(service.url, 'rnn'));
    expect([wrongKind.status, wrongKind.json.code]).toEqual([400, 'invalid-request']);
    expect(wrongKind.json.detail).toBe('/cache_id names RnnCaches, but lstmBackward takes LstmCaches');
    const wrongType = await back(service.url, 'rnn', await stored(service.url, 'rnn'), { dtype: 'float32' });
    expect([wrongType.status, wrongType.json.code]).toEqual([400, 'invalid-request']);
    expect(wrongType.json.detail).toBe('/cache_id names caches in float64, but /dtype is "float32"');
  });

  it.each([
    ['', 'is none that the service has given out'],
    ['abc', 'is none that the service has given out'],
    ['../../etc', 'is none that the service has given out'],
    [
      cacheId(Date.now() + 1e6),
      'names caches that are not there: they were deleted, had to make room for others, or never were',
    ],
    [cacheId(Date.UTC(2020, 0, 1)), 'names caches that expired at 2020-01-01T00:00:00.000Z'],
  ])('that %j names are not found', async (id, why) => {
    const { status, json } = await back(service.url, 'rnn', id);
    expect(status).toBe(404);
    expect(json).toMatchObject({ code: 'cache-not-found', detail: `/cache_id ${why}` });
    expect(json.errors).toEqual([{ pointer: '/cache_id', detail: `/cache_id ${why}` }]);
  });

  it('are looked for only if the rest of the request is right', async () => {
    const { status, json } = await back(service.url, 'rnn', 'abc', { extra: 1 });
    expect([status, json.code]).toEqual([400, 'invalid-request']);
  });

  it('leave nothing of the memory of requests taken', async () => {
    const id = await stored(service.url, 'lstm');
    await Promise.all(Array.from({ length: 20 }, () => back(service.url, 'lstm', id)));
    await back(service.url, 'rnn', id);
    await back(service.url, 'rnn', 'abc');
    await vi.waitFor(() => expect(service.pool.stats()).toMatchObject({ bytes: 0, running: 0, waiting: 0 }), PATIENT);
  });

  it('leave no word of their ids in the log', async () => {
    const id = await stored(service.url, 'rnn');
    await back(service.url, 'rnn', id);
    expect(JSON.stringify(service.log)).not.toContain(id);
    expect(service.log.length).toBeGreaterThan(2);
  });
});

describe('stored caches of large requests', () => {
  const dims = { n_x: 64, n_a: 128, n_y: 5, m: 41, T_x: 13, T_da: 11 };

  it('are the same by one worker and by four, and give the same gradients', async () => {
    const [inputs, upstream] = (() => {
      const { inputs, upstream } = requestFor('lstm', dims);
      return [inputs, upstream];
    })();
    const texts: string[] = [];
    for (const workers of [1, 4]) {
      const service = await start({ workers });
      const ask = (id: string, body: object) => post(service.url, id, body);
      const { json } = await ask('lstmForward', { ...inputs, caches: 'stored' });
      const { cache_id } = json;
      const answers = [
        await ask('lstmBackward', { ...inputs, ...upstream }),
        ...(await Promise.all([0, 1].map(() => ask('lstmBackward', { cache_id, ...upstream })))),
      ];
      texts.push(...answers.map(({ text }) => text));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
      await service.stop();
    }
    expect(new Set(texts).size).toBe(1);
  });
});

describe('stored caches that are too many', () => {
  it('push out those used least recently, and the detail says that they are not there', async () => {
    const service = await start({ caches: memoryStore(8 * 1024), workers: 1 });
    const ids: string[] = [];
    for (let i = 0; i < 8; i++) ids.push(await stored(service.url, 'rnn'));
    expect((await back(service.url, 'rnn', ids[7])).status).toBe(200);
    const { status, json } = await back(service.url, 'rnn', ids[0]);
    expect([status, json.code]).toEqual([404, 'cache-not-found']);
    expect(json.detail).toMatch(/had to make room/);
    await service.stop();
  });

  it('and those that are too large are refused, both amounts named', async () => {
    const service = await start({ cacheLimit: 1500, workers: 1 });
    const { inputs } = requestFor('rnn');
    const refused = await post(service.url, 'rnnForward', { ...inputs, caches: 'stored' });
    expect([refused.status, refused.json.code]).toEqual([413, 'work-too-large']);
    expect(refused.json.detail).toMatch(/^the caches of this request take \d+ bytes, but at most 476 can be stored$/);
    expect((await post(service.url, 'rnnForward', inputs)).status).toBe(200);
    await service.stop();
  });

  it('are those over the limit, what an entry takes beside its bytes included, and nothing is computed', async () => {
    const bytesIn = async (cacheLimit: number) => {
      const service = await start({ cacheLimit, workers: 1 });
      const { inputs } = requestFor('rnn');
      const answer = await post(service.url, 'rnnForward', { ...inputs, caches: 'stored' });
      const { bytes = 0 } = service.caches.stats();
      await service.stop();
      return { ...answer, bytes };
    };
    const { bytes } = await bytesIn(2 ** 20);
    for (const lacking of [0, 1, 1000]) {
      const { status, json, headers } = await bytesIn(bytes - lacking);
      expect(status).toBe(lacking === 0 ? 200 : 413);
      if (lacking > 0) expect(json.detail).toMatch(/^the caches of this request take/);
      expect(/compute;dur/.test(headers.get('server-timing') ?? '')).toBe(lacking === 0);
    }
  });
});

describe('stored caches that are deleted', () => {
  let service: Started;
  beforeAll(async () => {
    service = await start({ workers: 1 });
  });
  afterAll(() => service.stop());

  it('are gone, and give back their room', async () => {
    const [id, other] = [await stored(service.url, 'rnn'), await stored(service.url, 'lstm')];
    const { bytes = 0, removals } = service.caches.stats();
    expect(await remove(service.url, id)).toEqual({ status: 204, json: {} });
    expect(service.caches.stats()).toMatchObject({ entries: 1, removals: removals + 1 });
    expect(service.caches.stats().bytes).toBeLessThan(bytes);
    const { status, json } = await back(service.url, 'rnn', id);
    expect([status, json.code]).toEqual([404, 'cache-not-found']);
    expect(json.detail).toMatch(/were deleted/);
    expect((await back(service.url, 'lstm', other)).status).toBe(200);
    expect((await remove(service.url, id)).status).toBe(404);
    expect((await remove(service.url, other)).status).toBe(204);
    expect(service.caches.stats()).toMatchObject({ entries: 0, bytes: 0 });
  });

  it('push out no others, as those of a training that deletes none do', async () => {
    const evictions = async (deletes: boolean) => {
      const caches = memoryStore(8 * 1024);
      const training = await start({ caches, workers: 1 });
      for (let step = 0; step < 20; step++) {
        const id = await stored(training.url, 'rnn');
        expect((await back(training.url, 'rnn', id)).status).toBe(200);
        if (deletes) expect((await remove(training.url, id)).status).toBe(204);
      }
      await training.stop();
      return caches.stats().evictions;
    };
    expect(await evictions(true)).toBe(0);
    expect(await evictions(false)).toBeGreaterThan(10);
  });

  it.each([
    ['abc', 'is none that the service has given out'],
    ['%2e%2e%2fetc', 'is none that the service has given out'],
    [
      cacheId(Date.now() + 1e6),
      'names caches that are not there: they were deleted, had to make room for others, or never were',
    ],
    [cacheId(Date.UTC(2020, 0, 1)), 'names caches that expired at 2020-01-01T00:00:00.000Z'],
  ])('but that %j does not name are not found', async (id, why) => {
    const { status, json } = await remove(service.url, id);
    expect(status).toBe(404);
    expect(json).toMatchObject({ code: 'cache-not-found', detail: `the cache_id in the path ${why}`, errors: [] });
  });

  it('whatever comes with the request', async () => {
    for (const type of ['application/json', 'application/json; charset=latin1']) {
      const id = await stored(service.url, 'rnn');
      const more = { headers: { 'content-type': type, 'x-deadline-ms': '' }, body: '{"a":[1' };
      expect((await remove(service.url, `${id}?force=1`, more)).status).toBe(204);
    }
  });

  it('by DELETE alone', async () => {
    const id = await stored(service.url, 'rnn');
    for (const method of ['GET', 'POST', 'PUT']) {
      const answer = await fetch(`${service.url}/v1/caches/${id}`, { method });
      expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'DELETE, OPTIONS']);
    }
    for (const path of ['/v1/caches', '/v1/caches/', `/v1/caches/${id}/`]) {
      expect((await fetch(service.url + path, { method: 'DELETE' })).status).toBe(404);
    }
    expect((await remove(service.url, id)).status).toBe(204);
  });

  it('leave no word of their ids in the log', async () => {
    const id = await stored(service.url, 'rnn');
    await remove(service.url, id);
    await remove(service.url, id);
    const lines = JSON.stringify(service.log);
    expect(lines).not.toContain(id);
    expect(lines).toContain('"url":"/v1/caches/:cache_id"');
  });

  it("need a key where keys are configured, and are anybody's who has one and knows the id, as they are to use", async () => {
    const keys = { ann: 'key of ann', bob: 'key of bob' };
    const API_KEYS = Object.entries(keys)
      .map(([name, key]) => entry(name, key))
      .join();
    const guarded = await start({ workers: 1, settings: { API_KEYS } });
    const headers = (key: string) => ({ 'x-api-key': key, 'content-type': 'application/json' });
    const ask = async (path: string, key: string, body: object) => {
      const answer = await fetch(guarded.url + path, {
        method: 'POST',
        headers: headers(key),
        body: JSON.stringify(body),
      });
      return { status: answer.status, json: (await answer.json()) as JsonObject };
    };
    const { inputs, upstream } = requestFor('rnn');
    const { json } = await ask('/v1/rnn/forward', keys.ann, { ...inputs, caches: 'stored' });
    const cache_id = json.cache_id as string;
    expect((await remove(guarded.url, cache_id)).json.code).toBe('unauthorized');
    expect((await remove(guarded.url, cache_id, { headers: { 'x-api-key': 'none' } })).json.code).toBe('unauthorized');
    expect((await ask('/v1/rnn/backward', keys.bob, { ...upstream, cache_id })).status).toBe(200);
    expect((await remove(guarded.url, cache_id, { headers: { 'x-api-key': keys.bob } })).status).toBe(204);
    expect((await ask('/v1/rnn/backward', keys.ann, { ...upstream, cache_id })).json.code).toBe('cache-not-found');
    await guarded.stop();
  });
});

describe('stored caches whose time is over', () => {
  it('are gone, and the detail says when they expired', async () => {
    const service = await start({ cacheTtl: 1, workers: 1 });
    const { inputs } = requestFor('rnn');
    const { json } = await post(service.url, 'rnnForward', { ...inputs, caches: 'stored' });
    await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(Date.parse(json.cache_expires_at as string)), PATIENT);
    const { status, json: problem } = await back(service.url, 'rnn', json.cache_id);
    expect(status).toBe(404);
    expect(problem.detail).toBe(`/cache_id names caches that expired at ${json.cache_expires_at}`);
    await service.stop();
  });
});
