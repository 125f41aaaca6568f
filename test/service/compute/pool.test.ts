import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { now, type Outcome } from '../../../src/compute/messages.js';
import { PoolBusy } from '../../../src/compute/pool/busy.js';
import { createPool, type Pool, type PoolOptions } from '../../../src/compute/pool/pool.js';
import { machineryWith } from '../../../src/compute/worker/request.js';
import type { Sizes } from '../../../src/tensor/shapes.js';
import { askWith, formats, textOf } from '../../ask.js';
import { WORKER, workerThat } from '../../faulty-worker.js';
import { builds } from '../../kernels/builds.js';
import { type JsonObject, numbersFrom, operationCalled, tensorsFor } from '../../values.js';

const faults: Error[] = [];

const startPool = (options: Partial<PoolOptions> = {}): Promise<Pool> => {
  const defaults = {
    workers: 2,
    queueLimit: 1000,
    memoryLimit: 2 ** 32,
    flopsLimit: 1e13,
    workLimit: 2 ** 30,
    weightsLimit: 2 ** 24,
    kernels: 'auto',
  } as const;
  return createPool({ ...defaults, workerFile: WORKER, ...options }, (error) => faults.push(error));
};
const bytes = (body: object) => new TextEncoder().encode(JSON.stringify(body));
const run = async (pool: Pool, id: string, body: object): Promise<Outcome> =>
  pool.begin(id, bytes(body), now() + 60_000).outcome;
const requestFor = (id: string, dims: Sizes, seed: number, way = 1): JsonObject => {
  const choices = { prediction: true, way, extras: true };
  return tensorsFor(operationCalled(id).request, dims, numbersFrom(seed, 0.2), choices);
};
const tiny = { n_x: 2, n_a: 3, n_y: 2, m: 2, T_x: 3, T_da: 3 };

/** Requests above the limits for blocks, or for pieces, or both. */
const large: [string, string, Sizes, JsonObject][] = [
  ['rnnForward', 'of 2 blocks', { n_x: 90, n_a: 160, n_y: 5, m: 40, T_x: 32 }, {}],
  ['rnnBackward', 'of 3 blocks of unlike sizes', { n_x: 90, n_a: 160, n_y: 5, m: 50, T_x: 13, T_da: 11 }, {}],
  ['lstmForward', 'of 4 blocks, caches inline', { n_x: 64, n_a: 128, n_y: 5, m: 67, T_x: 13 }, { caches: 'inline' }],
  ['lstmForward', 'of 2 blocks', { n_x: 64, n_a: 128, n_y: 5, m: 32, T_x: 64 }, {}],
  ['lstmBackward', 'of 2 blocks', { n_x: 64, n_a: 128, n_y: 5, m: 37, T_x: 16, T_da: 16 }, {}],
  ['lstmBackward', 'in segments', { n_x: 64, n_a: 128, n_y: 5, m: 40, T_x: 16, T_da: 13 }, { bptt_steps: 5 }],
  ['rnnForward', 'of many pieces', { n_x: 1, n_a: 9, n_y: 2, m: 100, T_x: 401 }, { caches: 'inline' }],
];

describe('the same request gives the same bytes', () => {
  let one: Pool;
  let four: Pool;
  beforeAll(async () => {
    [one, four] = await Promise.all([startPool({ workers: 1 }), startPool({ workers: 4 })]);
  });
  afterAll(() => Promise.all([one.close(), four.close()]));

  describe.each(large)('%s %s', (id, _, dims, options) => {
    it.each(['float64', 'float32'])('with 1 and 4 workers, alone and under load, in %s', async (dtype) => {
      const body = { ...requestFor(id, dims, 1), ...options, dtype };
      const kernels = builds.find(({ tier }) => tier === one.tier) ?? builds[0];
      const expected = textOf(askWith(machineryWith({ kernels, formats }), id, body));
      const expectSame = (outcome: Outcome) => {
        const same = textOf(outcome) === expected;
        expect(same, 'the same bytes').toBe(true);
      };
      expectSame(await run(one, id, body));
      expectSame(await run(four, id, body));

      const others: Promise<Outcome>[] = [];
      const crowd = (from: number) => {
        for (let seed = from; seed < from + 30; seed++)
          others.push(run(four, 'lstmBackward', requestFor('lstmBackward', tiny, seed)));
      };
      crowd(1);
      const again = [run(four, id, body)];
      crowd(100);
      others.push(run(four, id, { ...body, ...requestFor(id, dims, 2) }));
      again.push(run(four, id, body));
      crowd(200);
      for (const outcome of await Promise.all(again)) expectSame(outcome);
      for (const outcome of await Promise.all(others)) expect(outcome.ok).toBe(true);
    });
  });

  it('and the same refusal', async () => {
    const dims = { n_x: 90, n_a: 160, n_y: 5, m: 50, T_x: 13, T_da: 11 };
    const body = requestFor('rnnBackward', dims, 1);
    const da = body.da as number[][][];
    for (const example of [45, 20, 3]) da[7][example].fill(1.7e308);
    for (const row of (body.parameters as { Waa: number[][] }).Waa) row.fill(2);
    const [alone, together] = [await run(one, 'rnnBackward', body), await run(four, 'rnnBackward', body)];
    expect(alone).toMatchObject({ ok: false, code: 'non-finite-result' });
    if (alone.ok || together.ok) throw new Error('not refused');
    expect(together.faults).toEqual(alone.faults);
    expect(together.faults[0].pointer).toMatch(/^\/gradients\/da0\/\d+\/3$/);
  });

  it('and its report names the stages and the sizes, large or not', async () => {
    const [id, , dims] = large[0];
    for (const letters of [dims, { n_x: 2, n_a: 3, n_y: 2, m: 2, T_x: 3 }]) {
      const outcome = await run(four, id, requestFor(id, letters, 1));
      expect(Object.keys(outcome.timings).sort()).toEqual(['compute', 'decode', 'encode', 'queue']);
      expect(outcome.sizes).toEqual(letters);
      expect(outcome.weightsKnown).toBeGreaterThanOrEqual(0);
    }
  });
});

describe('a request that names stored caches', () => {
  it('moves on with what was read of it, however small they are: nothing large is copied', async () => {
    const pool = await startPool({ workers: 1 });
    const posted = vi.spyOn(Worker.prototype, 'postMessage');
    const body = bytes({ cache_id: 'any', da: [[Array(20_000).fill(0)]] });
    const find = async () => new Uint8Array(10);
    const outcome = await pool.begin('rnnBackward', body, now() + 60_000, { attachments: { find } }).outcome;
    expect(outcome).toMatchObject({ ok: false, code: 'cache-not-found' }); // ten bytes are no caches
    const moved = posted.mock.calls.map(([, transfer]) => (transfer as ArrayBuffer[]).length);
    posted.mockRestore();
    await pool.close();
    expect(moved, 'the body; then an empty one, da and the caches').toEqual([1, 3]);
  });
});

describe('many requests at once', () => {
  it.each([1, 4])('each get their own answer, with %i workers', async (workers) => {
    const pool = await startPool({ workers });
    const kernels = builds.find(({ tier }) => tier === pool.tier) ?? builds[0];
    const ids = ['rnnCellForward', 'rnnForward', 'rnnBackward', 'lstmCellBackward', 'lstmForward', 'lstmBackward'];
    const all = Array.from({ length: 400 }, (_, i) => {
      const id = ids[i % ids.length];
      const dims = { ...tiny, m: 1 + (i % 5), n_a: 1 + (i % 7) };
      const dtype = i % 3 === 0 ? 'float32' : 'float64';
      return { id, body: { ...requestFor(id, dims, i), dtype }, wrong: i % 11 === 5 };
    });
    const outcomes = await Promise.all(
      all.map(({ id, body, wrong }, i) => run(pool, id, wrong ? { ...body, [`wrong${i}`]: i } : body)),
    );
    for (const [i, outcome] of outcomes.entries()) {
      const { id, body, wrong } = all[i];
      if (wrong) expect(outcome).toMatchObject({ ok: false, faults: [{ pointer: `/wrong${i}` }] });
      else expect(textOf(outcome)).toBe(textOf(askWith(machineryWith({ kernels, formats }), id, body)));
    }
    await pool.close();
  });

  it('are no more than may run and wait', async () => {
    const pool = await startPool({ workers: 1, queueLimit: 2 });
    const ask = () => run(pool, 'rnnForward', requestFor('rnnForward', tiny, 1));
    const results = await Promise.allSettled([ask(), ask(), ask(), ask(), ask()]);
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'fulfilled',
      'rejected',
      'rejected',
    ]);
    expect(results[4]).toMatchObject({ reason: expect.any(PoolBusy) });
    expect((await ask()).ok).toBe(true);
    await pool.close();
  });

  it('of which two are large: the second one is begun when the first has all its parts', async () => {
    const pool = await startPool({ workers: 1 });
    const body = requestFor('lstmForward', { n_x: 64, n_a: 128, n_y: 5, m: 32, T_x: 64 }, 1);
    const [first, second] = await Promise.all([run(pool, 'lstmForward', body), run(pool, 'lstmForward', body)]);
    const { decode = 0, compute = 0 } = first.timings;
    expect(second.timings.queue).toBeGreaterThan(decode + compute);
    await pool.close();
  });
});

describe('a worker that fails', () => {
  let pool: Pool;
  afterEach(() => pool.close());
  const small = () => run(pool, 'rnnForward', requestFor('rnnForward', tiny, 1));
  const [id, , dims] = large[0];
  const largeOne = () => run(pool, id, requestFor(id, dims, 1));

  it('for one of several requests that came together fails for that one alone', async () => {
    pool = await startPool({ workers: 1 });
    const results = await Promise.allSettled([small(), run(pool, 'noSuchOperation', {}), small()]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(String((results[1] as PromiseRejectedResult).reason)).toContain('noSuchOperation');
  });

  it('in a block fails for the request of the block alone', async () => {
    const workerFile = workerThat(`if (name === 'block' && task.firstExample > 0) throw new Error('no more')`);
    pool = await startPool({ workers: 2, workerFile });
    const results = await Promise.allSettled([small(), largeOne(), small()]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(String((results[1] as PromiseRejectedResult).reason)).toContain('no more');
    expect((await small()).ok).toBe(true);
  });

  it('in a piece fails for the request of the piece alone', async () => {
    pool = await startPool({ workers: 2, workerFile: workerThat(`if (name === 'piece') throw new Error('no paper')`) });
    await expect(largeOne()).rejects.toThrow('no paper');
    expect((await small()).ok).toBe(true);
  });

  it('and dies is replaced; requests after it are answered, and so are those of other workers', async () => {
    const workerFile = workerThat(`if (name === 'block') process.exit(3)`);
    pool = await startPool({ workers: 2, workerFile });
    await expect(largeOne()).rejects.toThrow();
    expect((await Promise.all(Array.from({ length: 20 }, small))).every(({ ok }) => ok)).toBe(true);
    await expect(largeOne()).rejects.toThrow();
    expect((await small()).ok).toBe(true);
    expect(pool.isReady()).toBe(true);
  });
});
