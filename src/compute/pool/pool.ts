import { type Choice, chooseKernels } from '../../kernels/choose.js';
import type { Tier } from '../../kernels/kernels.js';
import { amount } from '../amount.js';
import { Ledger, Stopped } from '../ledger.js';
import { now, type Outcome, type Task } from '../messages.js';
import { discard } from '../transfer.js';
import { DeadlineExceeded, PoolBusy } from './busy.js';
import { Dispatcher } from './dispatcher.js';
import { type Attachments, PoolRequest } from './request.js';

/** The worker threads, as the main thread sees them. */
export interface Pool {
  /** The build of the kernels that the workers compute with. */
  readonly tier: Tier;
  /** The memory that requests take: bodies, tensors, answers. */
  readonly memory: Pick<Ledger, 'used' | 'limit' | 'share' | 'enter' | 'leave' | 'exchange' | 'charge'>;
  /**
   * Runs an operation on a body. The memory of the body moves to a worker, so nothing else may use it.
   *
   * @param deadline of the answer, in milliseconds since the epoch
   * @throws PoolBusy if the pool cannot take the request, DeadlineExceeded if the deadline has passed already
   */
  begin(operation: string, body: Uint8Array<ArrayBuffer>, deadline: number, from?: Origin): Run;
  /**
   * Checks that there is a place for a request of the caller. Asked before the body is read, when a refusal costs least.
   *
   * @throws PoolBusy if there is none
   */
  checkPlace(caller: string): void;
  /** Is any worker alive? */
  isReady(): boolean;
  stats(): PoolStats;
  /** Ends the threads. Requests that are still running fail, so wait for them first. */
  close(): Promise<void>;
}

/** Where a request comes from. */
export interface Origin {
  /** The caller that the request counts for: callers take turns. By default, all requests are of one caller. */
  readonly caller?: string;
  /** The store, for requests that name stored tensors or ask for tensors to be stored. */
  readonly attachments?: Attachments;
}

/** A request in the pool. */
export interface Run {
  /**
   * Rejects with DeadlineExceeded at the deadline, with Stopped after `cancel`, or with the error that made the request
   * fail. Workers may be busy with the request for a moment longer.
   */
  readonly outcome: Promise<Outcome>;
  /** Gives up the request: takes it out of the queue, or stops the workers that compute it. */
  cancel(): void;
}

export interface PoolStats {
  /** Requests that wait for a worker. */
  readonly waiting: number;
  /** All other requests in the pool. */
  readonly running: number;
  /** Threads for light requests that there should be. */
  readonly workers: number;
  /** Threads for light requests that can compute. */
  readonly alive: number;
  /** Threads that compute now, for light or heavy requests. */
  readonly busy: number;
  /** Threads that were replaced since the start. */
  readonly restarts: number;
  /** Threads for heavy requests. */
  readonly heavyThreads: number;
  /** Bytes of the memory budget that are taken. */
  readonly bytes: number;
  /** Bytes of the memory budget. */
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
 * @param onFault called with the error when a worker has died; the pool replaces the worker by itself
 * @throws KernelsUnavailable if this machine cannot use the kernels that `options` names
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
  #requestMs = 10; // a worker's time for a request: a moving average

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
      // The body takes memory twice: here, and where the worker reads it.
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
    throw new PoolBusy('overloaded', 'no worker is alive: they die as soon as they start', 5);
  }

  #queueFull(): PoolBusy {
    const { workers, queueLimit } = this.#options;
    const detail = `${this.#requests} requests are running or waiting, but at most ${workers} may run and ${queueLimit} wait`;
    return new PoolBusy('queue-full', detail, this.#retryAfter());
  }

  #retryAfter(): number {
    const seconds = (this.#requests * this.#requestMs) / this.#options.workers / 1000;
    return Math.min(Math.max(1, Math.ceil(seconds)), 60);
  }
}

const ignore = (): void => {};

/** The caller of requests that name none. */
const NOBODY = 'nobody';

/** Limits the work on a request to this many milliseconds, or until it is cancelled. A later outcome is thrown away. */
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
