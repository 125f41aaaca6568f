import { type Choice, chooseKernels } from '../../kernels/choose.js';
import type { Tier } from '../../kernels/kernels.js';
import { amount } from '../amount.js';
import { Ledger, Stopped } from '../ledger.js';
import { now, type Outcome, type Task } from '../messages.js';
import { discard } from '../transfer.js';
import { DeadlineExceeded, PoolBusy } from './busy.js';
import { Dispatcher } from './dispatcher.js';
import { type Attachments, PoolRequest } from './request.js';

/** The main thread's side of the workers. */
export interface Pool {
  /** The build of the kernels that the workers compute with. */
  readonly tier: Tier;
  /** The memory that requests take: bodies, what is computed from them, answers. */
  readonly memory: Pick<Ledger, 'used' | 'limit' | 'share' | 'enter' | 'leave' | 'exchange' | 'charge'>;
  /**
   * Runs an operation on a body. The body's memory, which is its own, moves to a worker: it is the pool's from then on.
   *
   * @param deadline when the answer must be there: milliseconds since the epoch
   * @throws PoolBusy when the pool cannot take it, DeadlineExceeded when it is too late already
   */
  begin(operation: string, body: Uint8Array<ArrayBuffer>, deadline: number, from?: Origin): Run;
  /**
   * Is there a place now for a request of the caller? Before its body is read: what is refused then costs least.
   *
   * @throws PoolBusy
   */
  checkPlace(caller: string): void;
  /** Can it take work? */
  isReady(): boolean;
  stats(): PoolStats;
  /** Ends the threads. A request that is still running fails: wait for it first. */
  close(): Promise<void>;
}

/** Where a request comes from. */
export interface Origin {
  /** Whom it counts for: callers take turns. By default all are one. */
  readonly caller?: string;
  /** Where what it wants to be stored goes, and what it names comes from. */
  readonly attachments?: Attachments;
}

/** A request in the pool. */
export interface Run {
  /**
   * @throws DeadlineExceeded at its deadline, Stopped when it is cancelled, and whatever made it fail; the workers may
   *   then be busy with it for a moment longer
   */
  readonly outcome: Promise<Outcome>;
  /** Nobody wants the answer any more: frees its place in the queue, or stops what is computed for it. */
  cancel(): void;
}

export interface PoolStats {
  /** Requests that wait for a worker, and all that are in the pool beside them. */
  readonly waiting: number;
  readonly running: number;
  /** Threads for light requests: as many as there should be, and those that can compute. */
  readonly workers: number;
  readonly alive: number;
  /** Threads that compute, for light requests or heavy ones, and how many were replaced. */
  readonly busy: number;
  readonly restarts: number;
  /** Threads for heavy requests. */
  readonly heavyThreads: number;
  /** Of the memory budget. */
  readonly bytes: number;
  readonly bytesLimit: number;
}

export interface PoolOptions {
  readonly workers: number;
  /** Requests that may wait for a worker. */
  readonly queueLimit: number;
  /** Bytes that all requests together may take. */
  readonly memoryLimit: number;
  /** Bytes that the tensors of one request may take. */
  readonly workLimit: number;
  /** Multiplications and additions that one request may ask for. */
  readonly flopsLimit: number;
  /** Bytes of weights that each worker keeps for the requests that bring them again. */
  readonly weightsLimit: number;
  readonly kernels: Choice;
  /** The compiled worker.js; by default the one beside this file. */
  readonly workerFile?: URL;
}

/**
 * Chooses the kernels, starts the workers and resolves when all of them can compute.
 *
 * @throws KernelsUnavailable where the kernels that are asked for cannot be used here
 * @param onFault told of a worker that died; the pool replaces it by itself
 */
export async function createPool(options: PoolOptions, onFault: (error: Error) => void): Promise<Pool> {
  const { workers, queueLimit, memoryLimit, weightsLimit, kernels } = options;
  const { workerFile: file = new URL('../worker/worker.js', import.meta.url) } = options;
  const { tier } = chooseKernels(kernels);
  const ledger = Ledger.create(workers + queueLimit, memoryLimit);
  const dispatcher = await Dispatcher.start({ workers, file, tier, weightsLimit, ledger, onDeath: onFault });
  return new WorkerPool(options, tier, ledger, dispatcher);
}

class WorkerPool implements Pool {
  readonly tier: Tier;
  readonly memory: Ledger;
  readonly #options: PoolOptions;
  readonly #dispatcher: Dispatcher;
  #requests = 0; // in the pool
  #requestMs = 10; // what a worker takes for a request, on average of the last ones

  constructor(options: PoolOptions, tier: Tier, ledger: Ledger, dispatcher: Dispatcher) {
    this.tier = tier;
    this.memory = ledger;
    this.#options = options;
    this.#dispatcher = dispatcher;
  }

  checkPlace(caller: string): void {
    this.#checkAlive();
    if (!this.memory.hasPlace(caller)) throw this.#queueFull();
  }

  begin(operation: string, body: Uint8Array<ArrayBuffer>, deadline: number, from: Origin = {}): Run {
    const { caller = NOBODY, attachments } = from;
    const handedOver = now();
    if (handedOver >= deadline) throw new DeadlineExceeded();
    this.#checkAlive();
    const slot = this.memory.open(caller);
    if (slot === undefined) throw this.#queueFull();
    this.#requests++;
    const { workLimit, flopsLimit } = this.#options;
    const task: Task = {
      operation,
      body,
      format: 'json',
      slot,
      // The body itself is there twice: here, and where the worker reads it.
      workLimit: Math.min(workLimit, this.memory.share - 2 * body.length),
      flopsLimit,
      handedOver,
      storage: attachments?.storage,
    };
    const [dispatcher, ledger] = [this.#dispatcher, this.memory];
    const retryAfter = () => this.#retryAfter();
    const request = new PoolRequest({ dispatcher, ledger, task, caller, attachments, retryAfter });
    const worked = request.run().finally(() => {
      ledger.close(slot);
      this.#requests--;
    });
    worked.then(({ timings: { decode = 0, compute = 0, encode = 0 } }) => {
      this.#requestMs += (amount('the time of a request', decode + compute + encode) - this.#requestMs) / 16;
    }, ignore);
    return untilDeadline(worked, deadline - handedOver, () => dispatcher.stop(slot));
  }

  isReady(): boolean {
    return this.#dispatcher.stats().alive > 0;
  }

  stats(): PoolStats {
    const waiting = this.#dispatcher.queue.requests;
    return {
      waiting,
      running: this.#requests - waiting,
      workers: this.#options.workers,
      ...this.#dispatcher.stats(),
      bytes: this.memory.used,
      bytesLimit: this.memory.limit,
    };
  }

  close(): Promise<void> {
    return this.#dispatcher.close();
  }

  #checkAlive(): void {
    if (!this.#dispatcher.isFailing) return;
    throw new PoolBusy('overloaded', 'no worker is alive: they end as soon as they begin', 5);
  }

  #queueFull(): PoolBusy {
    const { workers, queueLimit } = this.#options;
    const detail = `${this.#requests} requests are running or waiting, and at most ${workers} may run and ${queueLimit} wait`;
    return new PoolBusy('queue-full', detail, this.#retryAfter());
  }

  #retryAfter(): number {
    const seconds = (this.#requests * this.#requestMs) / this.#options.workers / 1000;
    return Math.min(Math.max(1, Math.ceil(seconds)), 60);
  }
}

const ignore = (): void => {};

/** Where nobody says whom a request counts for. */
const NOBODY = 'nobody';

/** What is worked on for so many milliseconds at most, or until it is cancelled. What comes later is thrown away. */
function untilDeadline(worked: Promise<Outcome>, ms: number, stop: () => void): Run {
  let giveUp: (error: Error) => void = ignore;
  const outcome = new Promise<Outcome>((resolve, reject) => {
    giveUp = (error) => {
      stop();
      reject(error);
      worked.then((late) => late.ok && discard([late.body, late.deposit]), ignore);
    };
    worked.then(resolve, reject);
  });
  const timer = setTimeout(() => giveUp(new DeadlineExceeded()), Math.ceil(ms));
  const settle = () => {
    clearTimeout(timer);
    giveUp = ignore;
  };
  outcome.then(settle, settle);
  worked.then(settle, settle);
  return {
    outcome,
    cancel() {
      if (giveUp !== ignore) giveUp(new Stopped());
    },
  };
}
