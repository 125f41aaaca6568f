import { afterEach, describe, expect, it } from 'vitest';
import type { ToWorker } from '../../../src/compute/messages.js';
import { type Thread, ThreadDied, Threads, type ThreadsOptions } from '../../../src/compute/pool/threads.js';

/** A thread that does as it is told: `exit` ends it, anything else comes back after so many milliseconds. */
const FILE = new URL(
  `data:text/javascript,${encodeURIComponent(`
    import { parentPort } from 'node:worker_threads';
    parentPort.on('message', ({ task }) => {
      if (task === 'exit') process.exit(1);
      setTimeout(() => parentPort.postMessage({ result: task }), task);
    });
    parentPort.postMessage('ready');`)}`,
);

let threads: Threads;
const deaths: Error[] = [];
afterEach(() => threads.close());

async function start(options: Partial<ThreadsOptions> = {}): Promise<void> {
  deaths.length = 0;
  threads = await Threads.start({
    count: 0,
    file: FILE,
    workerData: undefined,
    onFree: () => {},
    onDeath: (error) => deaths.push(error),
    ...options,
  });
}

const alive = () => threads.alive;
const PATIENCE = { timeout: 30_000, interval: 5 };
const run = (thread: Thread, task: unknown) => thread.run({ name: 'block', task } as unknown as ToWorker, []);

describe('threads', () => {
  it('that there always are start at once; others start when they are wanted, and no more than that', async () => {
    await start({ count: 1 });
    expect(threads.alive).toBe(1);
    threads.want(3);
    threads.want(2);
    await expect.poll(alive, PATIENCE).toBe(3);
  });

  it('that were wanted for a while end when none is wanted any more, but for those that stay; that is no death', async () => {
    await start({ count: 0, kept: 1, keptMs: 2000 });
    threads.want(3);
    await expect.poll(alive, PATIENCE).toBe(3);
    await expect.poll(alive, PATIENCE).toBe(1);
    expect([deaths, threads.restarts]).toEqual([[], 0]);
    threads.want(2);
    await expect.poll(alive, PATIENCE).toBe(2);
  });

  it('that are busy are not ended then', async () => {
    await start({ keptMs: 500 });
    threads.want(2);
    await expect.poll(alive, PATIENCE).toBe(2);
    expect(await run(threads.free as Thread, 1500)).toBe(1500);
    await expect.poll(alive, PATIENCE).toBe(0);
  });

  it('that die are replaced', async () => {
    await start({ count: 1 });
    threads.want(2);
    await expect.poll(alive, PATIENCE).toBe(2);
    await expect(run(threads.free as Thread, 'exit')).rejects.toThrow(ThreadDied);
    await expect.poll(alive, PATIENCE).toBe(2);
    expect([deaths.length, threads.restarts]).toEqual([1, 1]);
  });
});
