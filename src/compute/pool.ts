import { Piscina } from 'piscina';
import { now, type Outcome, type Task } from './outcome.js';

/** The main thread's side of the workers. */
export interface Pool {
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
  const { workers, queueLimit, workLimit, workerFile = new URL('./worker.js', import.meta.url) } = options;
  const piscina: Piscina<Task, Outcome> = new Piscina({
    filename: workerFile.href,
    minThreads: workers,
    maxThreads: workers,
    idleTimeout: Number.POSITIVE_INFINITY,
  });
  piscina.on('error', onFault);
  // One task for each worker: done when all have loaded their code.
  await Promise.all(Array.from({ length: workers }, () => piscina.run(undefined as never, { name: 'ready' })));
  let open = true;

  return {
    async run(operation, body) {
      if (piscina.queueSize >= queueLimit) throw new QueueFull(queueLimit);
      const task = { operation, body, workLimit, handedOver: now() };
      return piscina.run(task, { transferList: [body.buffer] });
    },
    isReady: () => open && piscina.threads.length > 0,
    async close() {
      open = false;
      await piscina.destroy();
    },
  };
}
