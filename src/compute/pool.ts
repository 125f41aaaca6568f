import { Piscina } from 'piscina';
import { type Choice, KernelsUnavailable } from '../kernels/choose.js';
import type { Tier } from '../kernels/kernels.js';
import { now, type Outcome, type Task } from './outcome.js';
import type { ready, WorkerData } from './worker.js';

type Ready = ReturnType<typeof ready>;

/** The main thread's side of the workers. */
export interface Pool {
  /** The build of the kernels that the workers compute with. */
  readonly tier: Tier;
  /**
   * Runs an operation on a body. The body's memory moves to a worker: the caller has it no longer.
   *
   * @throws QueueFull when as many requests wait already as may
   */
  run(operation: string, body: Uint8Array<ArrayBuffer>): Promise<Outcome>;
  /** Can it take work? */
  isReady(): boolean;
  /** Ends the threads. A request that is still running fails: wait for it first. */
  close(): Promise<void>;
}

export interface PoolOptions {
  readonly workers: number;
  /** Requests that may wait for a worker. */
  readonly queueLimit: number;
  /** Bytes that the tensors of one request may take. */
  readonly workLimit: number;
  readonly kernels: Choice;
  /** The compiled worker.js; by default the one beside this file. */
  readonly workerFile?: URL;
}

/** As many requests wait already as may. */
export class QueueFull extends Error {
  readonly limit: number;

  constructor(limit: number) {
    super(`${limit} requests are waiting already`);
    this.limit = limit;
  }
}

/**
 * Starts the workers and resolves when all of them can compute.
 *
 * @param onFault told of a worker that died outside a request; the pool replaces it by itself
 */
export async function createPool(options: PoolOptions, onFault: (error: Error) => void): Promise<Pool> {
  const { workers, queueLimit, workLimit, kernels, workerFile = new URL('./worker.js', import.meta.url) } = options;
  const piscina: Piscina<Task, Outcome> = new Piscina({
    filename: workerFile.href,
    minThreads: workers,
    maxThreads: workers,
    idleTimeout: Number.POSITIVE_INFINITY,
    workerData: { kernels } satisfies WorkerData,
  });
  piscina.on('error', onFault);
  // One task for each worker: done when all have loaded their code. Some Node versions know instructions that
  // others do not, but all threads of a process know the same.
  const askReady = () => piscina.run(undefined as never, { name: 'ready' }) as Promise<unknown> as Promise<Ready>;
  const [first] = await Promise.all(Array.from({ length: workers }, askReady));
  if ('unavailable' in first) throw new KernelsUnavailable(first.unavailable);
  const { tier } = first;
  let open = true;
  let begun = 0; // running or waiting

  return {
    tier,
    async run(operation, body) {
      if (begun >= workers + queueLimit) throw new QueueFull(queueLimit);
      begun++;
      try {
        const task = { operation, body, workLimit, handedOver: now() };
        return await piscina.run(task, { transferList: [body.buffer] });
      } finally {
        begun--;
      }
    },
    isReady: () => open && piscina.threads.length > 0,
    async close() {
      open = false;
      await piscina.destroy();
    },
  };
}
