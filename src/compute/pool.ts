import { Piscina } from 'piscina';
import { type Choice, chooseKernels } from '../kernels/choose.js';
import type { Tier } from '../kernels/kernels.js';
import type { BlockResult, Large, PieceResult } from './answer.js';
import { earliest, type NonFinite } from './non-finite.js';
import { now, type Outcome, type Report, type Task } from './outcome.js';
import { pieceTasks } from './parts.js';
import { buffersIn, discard } from './transfer.js';
import type { Reply, WorkerData } from './worker.js';

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
  /** Bytes of weights that each worker keeps for the requests that bring them again. */
  readonly weightsLimit: number;
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

/** Requests with bodies up to this size share messages: the way to a worker and back costs as much as they do. */
const SMALL_BYTES = 16 * 1024;
/** Bodies in one message, in bytes. */
const MESSAGE_BYTES = 64 * 1024;

/** Something for a worker to do. */
interface Job {
  /** The function of worker.ts. */
  readonly name: 'requests' | 'block' | 'piece';
  /** Its argument; for `requests` one element of it. */
  readonly task: unknown;
  /** Of the body of a request. */
  readonly bytes: number;
  /** When it came, beside the others. */
  readonly order: number;
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/**
 * Chooses the kernels, starts the workers and resolves when all of them can compute.
 *
 * @throws KernelsUnavailable where the kernels that are asked for cannot be used here
 * @param onFault told of a worker that died outside a request; the pool replaces it by itself
 */
export async function createPool(options: PoolOptions, onFault: (error: Error) => void): Promise<Pool> {
  const { workers, queueLimit, workLimit, weightsLimit, kernels } = options;
  const { workerFile = new URL('./worker.js', import.meta.url) } = options;
  const { tier } = chooseKernels(kernels);
  const piscina = new Piscina({
    filename: workerFile.href,
    minThreads: workers,
    maxThreads: workers,
    idleTimeout: Number.POSITIVE_INFINITY,
    workerData: { tier, weightsLimit } satisfies WorkerData,
  });
  piscina.on('error', onFault);
  // One task for each worker: done when all have loaded their code.
  await Promise.all(Array.from({ length: workers }, () => piscina.run(undefined, { name: 'ready' })));
  let open = true;
  let begun = 0; // requests running or waiting

  const queue = new Queue();
  let busy = 0; // workers
  let isFlushing = false;

  const enqueue = (name: Job['name'], task: unknown, bytes = 0): Promise<unknown> =>
    new Promise((resolve, reject) => {
      queue.add({ name, task, bytes, resolve, reject });
      flushSoon();
    });

  /** At the end of this turn of the event loop: what has arrived in it travels together, and what an answer led to is there. */
  const flushSoon = (): void => {
    if (!isFlushing) setImmediate(flush);
    isFlushing = true;
  };

  const flush = (): void => {
    isFlushing = false;
    while (busy < workers) {
      const jobs = queue.take();
      if (jobs.length === 0) return;
      void send(jobs);
    }
  };

  const send = async (jobs: readonly Job[]): Promise<void> => {
    const [{ name, task }] = jobs;
    const message = name === 'requests' ? jobs.map((job) => job.task) : task;
    busy++;
    try {
      const result = await piscina.run(message, { name, transferList: buffersIn(message) });
      if (name === 'requests') for (const [i, job] of jobs.entries()) job.resolve(result[i]);
      else jobs[0].resolve(result);
    } catch (error) {
      for (const job of jobs) job.reject(error as Error);
    } finally {
      busy--;
      queue.isDone(jobs);
      flushSoon();
    }
  };

  return {
    tier,
    async run(operation, body) {
      if (begun >= workers + queueLimit) throw new QueueFull(queueLimit);
      begun++;
      try {
        const task: Task = { operation, body, workLimit, handedOver: now() };
        const reply = (await enqueue('requests', task, body.length)) as Reply;
        if ('failure' in reply) throw new Error(reply.failure);
        return 'ok' in reply ? reply : await finish(reply, enqueue);
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

/** What waits for a worker, in the order it came; parts of requests that have begun go first. */
class Queue {
  readonly #parts: Job[] = [];
  readonly #small: Job[] = [];
  readonly #others: Job[] = [];
  #smallBytes = 0;
  #smallUnderway = 0; // messages
  #count = 0;

  add(job: Omit<Job, 'order'>): void {
    const queued = { ...job, order: this.#count++ };
    if (job.name !== 'requests') this.#parts.push(queued);
    else if (job.bytes > SMALL_BYTES) this.#others.push(queued);
    else {
      this.#small.push(queued);
      this.#smallBytes += job.bytes;
    }
  }

  /**
   * The jobs of the next message, or none. While a message of small requests is underway, the next ones gather until
   * they fill another one.
   */
  take(): readonly Job[] {
    const [part, small, other] = [this.#parts[0], this.#small[0], this.#others[0]];
    if (part) return this.#parts.splice(0, 1);
    const isSmallReady = small && (this.#smallUnderway === 0 || this.#smallBytes >= MESSAGE_BYTES);
    if (isSmallReady && !(other && other.order < small.order)) return this.#takeSmall();
    return other ? this.#others.splice(0, 1) : [];
  }

  #takeSmall(): readonly Job[] {
    let count = 0;
    let bytes = 0;
    do bytes += this.#small[count++].bytes;
    while (count < this.#small.length && bytes + this.#small[count].bytes <= MESSAGE_BYTES);
    this.#smallBytes -= bytes;
    this.#smallUnderway++;
    return this.#small.splice(0, count);
  }

  isDone([first]: readonly Job[]): void {
    if (first.name === 'requests' && first.bytes <= SMALL_BYTES) this.#smallUnderway--;
  }
}

/** A large request from its first part on: its blocks, then the pieces of its answer, by all workers that are free. */
async function finish(
  { blocks, pieces, time, ...report }: Large,
  enqueue: (name: 'block' | 'piece', task: unknown) => Promise<unknown>,
): Promise<Outcome> {
  const { timings } = report;
  const start = now();
  const results = (await Promise.all(blocks.map((block) => enqueue('block', block)))) as BlockResult[];
  const computed = now();
  timings.compute = computed - start;
  const nonFinite = earliest(
    results.map((result) => result.nonFinite),
    time,
  );
  if (nonFinite) {
    discard(results);
    return refused(report, nonFinite);
  }

  const tasks = pieceTasks(
    pieces,
    results.map(({ contributions }) => contributions),
  );
  const written = (await Promise.all(tasks.map((task) => enqueue('piece', task)))) as PieceResult[];
  timings.encode = now() - computed;
  const body: Uint8Array<ArrayBuffer>[] = [];
  for (const piece of written) {
    if ('nonFinite' in piece) return refused(report, piece.nonFinite);
    body.push(piece.text);
  }
  return { ...report, ok: true, body };
}

function refused(report: Report, { fault }: NonFinite): Outcome {
  return { ...report, ok: false, code: 'non-finite-result', faults: [fault] };
}
