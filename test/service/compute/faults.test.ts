import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { now } from '../../../src/compute/messages.js';
import { createPool, type Pool, type PoolOptions, type Run } from '../../../src/compute/pool/pool.js';
import type { Sizes } from '../../../src/tensor/shapes.js';
import { WORKER, workerThat } from '../../faulty-worker.js';
import { numbersFrom, operationCalled, tensorsFor } from '../../values.js';

let pool: Pool;
const faults: Error[] = [];
afterEach(() => pool.close());

async function startPool(options: Partial<PoolOptions> = {}): Promise<void> {
  const defaults = {
    workers: 2,
    queueLimit: 1000,
    memoryLimit: 2 ** 31,
    workLimit: 2 ** 31,
    flopsLimit: 1e13,
    weightsLimit: 2 ** 24,
    kernels: 'auto',
    workerFile: WORKER,
  } as const;
  faults.length = 0;
  pool = await createPool({ ...defaults, ...options }, (error) => faults.push(error));
}

const bodies = new Map<string, string>();

function bodyOf(id: string, dims: Sizes): string {
  const key = `${id} ${JSON.stringify(dims)}`;
  const choices = { prediction: true, way: 1, extras: true };
  const make = () => JSON.stringify(tensorsFor(operationCalled(id).request, dims, numbersFrom(1, 0.2), choices));
  const body = bodies.get(key) ?? make();
  bodies.set(key, body);
  return body;
}

function begin(id: string, dims: Sizes, ms = 60_000, caller?: string): Run {
  const body = new TextEncoder().encode(bodyOf(id, dims));
  return pool.begin(id, body, now() + ms, caller === undefined ? {} : { caller });
}

const tiny = { n_x: 2, n_a: 3, n_y: 2, m: 2, T_x: 3, T_da: 3 };
const small = (ms?: number) => begin('rnnForward', tiny, ms);
/** A second or more in one worker: a single example, which is not cut into blocks, over many time steps. */
const LONG = { n_x: 1, n_a: 300, n_y: 1, m: 1, T_x: 6000 };
const long = (ms?: number) => begin('lstmForward', LONG, ms);
/** About as long, in blocks for several workers. */
const WIDE = { n_x: 20, n_a: 300, n_y: 1, m: 128, T_x: 100 };
const wide = (ms?: number) => begin('lstmForward', WIDE, ms);

/** What is left in the pool when nothing should be. */
const left = () => {
  const { waiting, running, busy, bytes, alive, workers } = pool.stats();
  return { waiting, running, busy, bytes, missing: workers - alive };
};
const nothing = { waiting: 0, running: 0, busy: 0, bytes: 0, missing: 0 };

async function until(condition: () => boolean, ms = 10_000): Promise<number> {
  const start = performance.now();
  while (!condition()) {
    if (performance.now() - start > ms) throw new Error(`not within ${ms} ms: ${condition}; ${JSON.stringify(left())}`);
    await sleep(5);
  }
  return performance.now() - start;
}
const isEmpty = () => JSON.stringify(left()) === JSON.stringify(nothing);

describe('a deadline', () => {
  it.each([
    ['one worker', () => long(200)],
    ['several workers', () => wide(200)],
  ])('stops what is computed by %s, which then is free for others, and alive', async (_, ask) => {
    await startPool();
    for (const dims of [LONG, WIDE]) bodyOf('lstmForward', dims); // which takes longer than the deadline
    const start = performance.now();
    await expect(ask().outcome).rejects.toMatchObject({ name: 'DeadlineExceeded' });
    expect(performance.now() - start).toBeLessThan(1500);
    await until(isEmpty);
    expect((await small().outcome).ok).toBe(true);
    expect(pool.stats().restarts).toBe(0);
  });

  it('counts the time in the queue', async () => {
    await startPool({ workers: 1 });
    const first = begin('lstmForward', { ...LONG, T_x: 20_000 });
    await until(() => pool.stats().busy === 1);
    const queued = [long(100), wide(100)];
    expect((await small().outcome).ok).toBe(true);
    for (const { outcome } of queued) await expect(outcome).rejects.toMatchObject({ name: 'DeadlineExceeded' });
    expect(pool.stats()).toMatchObject({ waiting: 0, running: 1 });
    expect((await first.outcome).ok).toBe(true);
    expect(left()).toEqual(nothing);
  });

  it('that has passed before the request is there is not waited for', async () => {
    await startPool({ workers: 1 });
    expect(() => small(-1)).toThrow(expect.objectContaining({ name: 'DeadlineExceeded' }));
    expect(left()).toEqual(nothing);
  });

  it('stops the reading of a body', async () => {
    await startPool({ workers: 1 });
    const ragged = `{"x":[[[${'1,'.repeat(2 ** 24)}1]],[[1]]]}`; // read by the plain reader, too, which takes seconds
    const run = pool.begin('rnnForward', new TextEncoder().encode(ragged), now() + 300);
    await expect(run.outcome).rejects.toMatchObject({ name: 'DeadlineExceeded' });
    await until(isEmpty);
    expect(pool.stats().restarts).toBe(0);
  });
});

describe('a request that nobody wants any more', () => {
  it.each([
    ['a string', `{"dtype":"${'a'.repeat(2 ** 27)}"}`],
    ['a number', `{"x":[[[${'1'.repeat(2 ** 27)}x]]]}`],
    ['white space', `{${' '.repeat(2 ** 27)}"x":1}`],
    ['the name of a member', `{"${'a'.repeat(2 ** 27)}":1}`],
  ])('is not read on, however long %s is', async (_, text) => {
    await startPool({ workers: 1, memoryLimit: 2 ** 33 });
    const run = pool.begin('rnnForward', new TextEncoder().encode(text), now() + 60_000);
    await until(() => pool.stats().busy === 1);
    await sleep(100);
    run.cancel();
    await run.outcome.catch(() => {});
    await until(isEmpty);
    expect(pool.stats().restarts).toBe(0);
  });

  it('leaves the queue, or stops, at once', async () => {
    await startPool({ workers: 1 });
    const runs = [long(), wide(), long()];
    await until(() => pool.stats().busy === 1);
    runs.push(small()); // last, and not waited for: else it is answered as soon as the first long one has been read
    for (const run of runs) run.cancel();
    const results = await Promise.allSettled(runs.map(({ outcome }) => outcome));
    expect(results.map((result) => result.status === 'rejected' && result.reason.name)).toEqual(
      new Array(4).fill('Stopped'),
    );
    expect(await until(isEmpty)).toBeLessThan(2000);
    expect(pool.stats().restarts).toBe(0);
  });

  it('at whatever moment: nothing is left of hundreds of them', async () => {
    await startPool({ workers: 2 });
    const random = numbersFrom(7);
    const runs = Array.from({ length: 300 }, (_, i) => {
      const run = i % 20 === 0 ? wide() : small();
      setTimeout(run.cancel, Math.abs(random()) * 1000);
      return run.outcome.then(
        ({ ok }) => ok,
        (error: Error) => error.name === 'Stopped',
      );
    });
    expect((await Promise.all(runs)).every(Boolean)).toBe(true);
    await until(isEmpty);
    expect((await small().outcome).ok).toBe(true);
  });

  it('changes nothing once it is answered', async () => {
    await startPool({ workers: 1 });
    const run = small();
    const outcome = await run.outcome;
    run.cancel();
    expect(outcome.ok).toBe(true);
    expect((await small().outcome).ok).toBe(true);
  });
});

describe('short requests among long ones', () => {
  it('wait for none of them, however many there are, and however long each is', async () => {
    await startPool({ workers: 1 });
    const endless = { ...LONG, T_x: 20_000 };
    const ended: string[] = [];
    const runs = [1, 2, 3, 4].map(() => begin('lstmForward', endless));
    for (const { outcome } of runs)
      outcome.then(
        () => ended.push('long'),
        () => ended.push('cancelled'),
      );
    await until(() => pool.stats().busy === 1);
    for (let i = 0; i < 20; i++) expect((await small().outcome).ok).toBe(true);
    expect(ended).toEqual([]);
    for (const run of runs) run.cancel();
    await Promise.allSettled(runs.map(({ outcome }) => outcome));
    await until(isEmpty);
  });

  it('do not keep one another waiting, whoever asks for how many', async () => {
    await startPool({ workers: 1 });
    let others = 0;
    const flood = Array.from({ length: 800 }, () => begin('rnnForward', tiny, 60_000, 'flood'));
    for (const { outcome } of flood)
      outcome.then(
        () => others++,
        () => {},
      );
    for (let i = 0; i < 5; i++) expect((await begin('rnnForward', tiny, 60_000, 'polite').outcome).ok).toBe(true);
    expect(others).toBeLessThan(700);
    await Promise.all(flood.map(({ outcome }) => outcome));
  });
  it('do not keep a long one waiting for good', async () => {
    await startPool({ workers: 1 });
    let isDone = false;
    const outcome = wide().outcome.then(() => {
      isDone = true;
    });
    let count = 0;
    const ask = async (): Promise<void> => {
      while (!isDone) {
        await small().outcome;
        count++;
      }
    };
    await Promise.all([outcome, ...Array.from({ length: 50 }, ask)]);
    expect(count).toBeGreaterThan(0);
  });
});

describe('long requests', () => {
  it('of one caller have as many threads as there are workers; those of others get past them', async () => {
    await startPool({ workers: 1 });
    const endless = { ...LONG, T_x: 20_000 };
    const runs = [1, 2, 3].map(() => begin('lstmForward', endless, 60_000, 'greedy'));
    await until(() => pool.stats().busy === 1);
    expect((await begin('lstmForward', { ...WIDE, T_x: 20 }, 60_000, 'polite').outcome).ok).toBe(true);
    expect(pool.stats()).toMatchObject({ busy: 1, running: 1, waiting: 2 });
    for (const run of runs) run.cancel();
    await Promise.allSettled(runs.map(({ outcome }) => outcome));
    await until(isEmpty);
  });

  it('of a caller alone are begun one after the other', async () => {
    await startPool({ workers: 1 });
    const runs = [wide(), wide(), wide()];
    await until(() => pool.stats().busy === 1);
    while (pool.stats().running > 0) {
      expect(pool.stats().busy).toBeLessThanOrEqual(1);
      await sleep(5);
    }
    for (const { outcome } of runs) expect((await outcome).ok).toBe(true);
  });
});

describe('places', () => {
  it('beyond those there are some for callers that have none', async () => {
    await startPool({ workers: 1, queueLimit: 3 });
    const runs = [1, 2, 3, 4].map(() => begin('rnnForward', tiny, 60_000, 'greedy'));
    expect(() => begin('rnnForward', tiny, 60_000, 'greedy')).toThrow(/4 requests are running or waiting/);
    runs.push(begin('rnnForward', tiny, 60_000, 'polite'));
    expect(() => begin('rnnForward', tiny, 60_000, 'polite')).toThrow(expect.objectContaining({ code: 'queue-full' }));
    for (const { outcome } of runs) expect((await outcome).ok).toBe(true);
    expect(left()).toEqual(nothing);
  });
});

describe('memory', () => {
  it('is refused to a request while others have it, and given back', async () => {
    await startPool({ memoryLimit: 2 ** 24 });
    const others = 2 ** 24 - 2 ** 20;
    const account = pool.memory.enter('others');
    pool.memory.charge(account, 0, others);
    const dims = { n_x: 20, n_a: 40, n_y: 1, m: 32, T_x: 40 };
    const refused = await begin('lstmForward', dims).outcome;
    expect(refused).toMatchObject({ ok: false, code: 'overloaded' });
    expect(refused.ok || refused.faults[0].detail).toMatch(
      /needs \d+ bytes, but \d+ of the 16777216 bytes for all .* are taken, and one caller may take 12582912$/,
    );
    expect(pool.memory.used).toBe(others);
    expect((await small().outcome).ok).toBe(true);
    pool.memory.charge(account, others, 0);
    pool.memory.leave(account);
    expect((await begin('lstmForward', dims).outcome).ok).toBe(true);
    expect(left()).toEqual(nothing);
  });

  it('that no request can have is refused for good', async () => {
    await startPool({ memoryLimit: 2 ** 24 });
    const outcome = await begin('lstmForward', { n_x: 2, n_a: 100, n_y: 1, m: 8, T_x: 2000 }).outcome;
    expect(outcome).toMatchObject({ ok: false, code: 'work-too-large' });
    expect(left()).toEqual(nothing);
  });

  it('and so is arithmetic', async () => {
    await startPool({ flopsLimit: 1000 });
    const outcome = await begin('rnnForward', { ...tiny, m: 40 }).outcome;
    expect(outcome).toMatchObject({ ok: false, code: 'work-too-large' });
    expect(outcome.ok || outcome.faults[0].detail).toMatch(/takes \d+ multiplications and additions, but .* 1000$/);
  });
});

describe('a worker that', () => {
  const isPoison = `operations.includes('poison')`;
  const poison = (ms?: number) => pool.begin('poison', new TextEncoder().encode('{}'), now() + (ms ?? 60_000));
  /** The real worker, in which an operation called poison does something bad once it has begun. */
  const whoseHeart = (code: string) =>
    workerThat(
      `if (name === 'requests') for (const one of task) if (one.operation === 'poison') {
         Object.defineProperty(one, 'handedOver', { get() { ${code} } });
       }`,
    );

  it.each([
    ['throws in vain', `throw new Error('no')`],
    ['ends', 'process.exit(7)'],
    ['runs out of memory', `const hoard = []; for (;;) hoard.push(new Array(1e6).fill(hoard.length + 0.5));`],
  ])('%s fails for that request alone, and is back within a second', async (_, code) => {
    await startPool({ workers: 2, workerFile: whoseHeart(code) });
    const others = Array.from({ length: 20 }, () => small());
    const bad = poison();
    const more = Array.from({ length: 20 }, () => small());
    await expect(bad.outcome).rejects.toThrow();
    expect(await until(() => pool.stats().alive === 2)).toBeLessThan(1000);
    for (const { outcome } of [...others, ...more]) expect((await outcome).ok).toBe(true);
    await until(isEmpty);
  });

  it('hangs is ended when the deadline has passed, and replaced within a second', async () => {
    await startPool({ workers: 2, workerFile: whoseHeart('for (;;);') });
    const bad = poison(300);
    const others = Array.from({ length: 20 }, () => small());
    await expect(bad.outcome).rejects.toMatchObject({ name: 'DeadlineExceeded' });
    expect(await until(() => pool.stats().restarts === 1)).toBeLessThan(1000);
    expect(await until(() => pool.stats().alive === 2)).toBeLessThan(1000);
    for (const { outcome } of others) expect((await outcome).ok).toBe(true);
    await until(isEmpty);
  });

  it('hangs with others in its message does not keep them until its deadline', async () => {
    await startPool({ workers: 1, workerFile: whoseHeart('for (;;);') });
    const runs = [small(), poison(), small(), small()];
    const results = await Promise.allSettled(runs.map(({ outcome }) => outcome));
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
    await until(isEmpty);
  });

  it('is ended by the pool again and again is replaced at once: it is not its fault', async () => {
    await startPool({ workers: 1, workerFile: whoseHeart('for (;;);') });
    for (let i = 1; i <= 6; i++) {
      await poison(100).outcome.catch(() => {});
      await until(() => pool.stats().restarts === i && pool.isReady());
    }
    expect(await until(() => pool.isReady())).toBeLessThan(1000);
    expect((await small().outcome).ok).toBe(true);
  });

  it('is killed takes what it was busy with along, and nothing else', async () => {
    await startPool({ workers: 2, workerFile: workerThat(`if (${isPoison}) process.exit(1)`) });
    // The thread dies before it has begun anything of its message: all but the poison itself are done elsewhere.
    const runs = [small(), small(), poison(), small()];
    const results = await Promise.allSettled(runs.map(({ outcome }) => outcome));
    const isWell = results.map((result) => result.status === 'fulfilled');
    expect(isWell).toEqual([true, true, false, true]);
    await until(isEmpty);
  });

  it('dies whenever it begins makes the pool not ready, without spinning; it recovers by itself', async () => {
    await startPool({ workers: 2, workerFile: workerThat(`if (${isPoison}) process.exit(1)`) });
    const isRefused = async () => {
      try {
        await poison().outcome;
      } catch (error) {
        return (error as { code?: string }).code === 'overloaded';
      }
      return false;
    };
    for (let i = 0; i < 20 && !(await isRefused()); i++);
    expect(pool.isReady()).toBe(false);
    const { restarts } = pool.stats();
    await sleep(1500);
    expect(pool.stats().restarts - restarts).toBeLessThan(10);
    await until(() => pool.isReady(), 30_000);
    expect((await small().outcome).ok).toBe(true);
  });
});
