import { type Transferable, Worker } from 'node:worker_threads';
import type { FromWorker, ToWorker } from '../messages.js';

/** The system had no memory for a message. */
export class OutOfMemory extends Error {
  override readonly name = 'OutOfMemory';
}

/** A thread has died with a message in its hands. */
export class ThreadDied extends Error {
  override readonly name = 'ThreadDied';
}

/** Of JavaScript's own heap. Tensors and texts lie outside of it, and are counted by the ledger. */
const HEAP_MB = 256;

/** One worker thread, which does one thing at a time. */
export class Thread {
  readonly #worker: Worker;
  #underway: { resolve(result: unknown): void; reject(error: Error): void } | undefined;
  isReady = false;
  /** Has it done anything since it is there? */
  hasWorked = false;
  /** Did the pool end it, and not what it was doing? */
  wasEnded = false;
  /** Is it not needed any more? */
  isDismissed = false;

  constructor(file: URL, workerData: unknown, on: { free(): void; exit(error: Error): void }) {
    let fault: Error | undefined;
    this.#worker = new Worker(file, { workerData, resourceLimits: { maxOldGenerationSizeMb: HEAP_MB } });
    this.#worker.on('message', (message: FromWorker) => {
      if (message === 'ready') this.isReady = !this.wasEnded;
      else this.#settle(message);
      on.free();
    });
    // An exception that nothing has caught, or no memory left; 'exit' follows.
    this.#worker.on('error', (error) => {
      fault = error;
    });
    this.#worker.on('exit', (code) => {
      const error = fault ?? new Error(`a worker thread has ended with code ${code}`);
      this.isReady = false;
      this.#underway?.reject(new ThreadDied(error.message, { cause: error }));
      this.#underway = undefined;
      on.exit(error);
    });
  }

  get isBusy(): boolean {
    return this.#underway !== undefined;
  }

  /**
   * @param transfer memory that moves to the thread
   * @throws ThreadDied, OutOfMemory, or an Error with the stack of what the thread has thrown
   */
  run(message: ToWorker, transfer: readonly ArrayBuffer[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#worker.postMessage(message, transfer as Transferable[]);
      this.#underway = { resolve, reject };
    });
  }

  #settle(message: Exclude<FromWorker, 'ready'>): void {
    const underway = this.#underway;
    this.#underway = undefined;
    this.hasWorked = true;
    if ('outOfMemory' in message) underway?.reject(new OutOfMemory(message.outOfMemory));
    else if ('failure' in message) underway?.reject(new Error(message.failure));
    else underway?.resolve(message.result);
  }

  /** Ends it, whatever it does. What it has sent already still counts. */
  end(): Promise<unknown> {
    this.isReady = false;
    this.wasEnded = true;
    return this.#worker.terminate();
  }
}

/** As many threads in a row may die without having done anything before the next one has to wait. */
const FREE_DEATHS = 3;
/** How long it waits: at first, and at most; each time twice as long. */
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 15_000;
const KEPT_MS = 60_000;

export interface ThreadsOptions {
  /** As many threads there always are. */
  readonly count: number;
  readonly file: URL;
  readonly workerData: unknown;
  /** Of those that are wanted later, so many stay; the others end when none was wanted for so many milliseconds. */
  readonly kept?: number;
  readonly keptMs?: number;
  /** Told when a thread has become free, once they have started. */
  onFree(): void;
  /** Told of every thread that died. */
  onDeath(error: Error): void;
}

/**
 * As many threads as there should be: one that dies is replaced at once, unless they do nothing but die. Then the next
 * ones wait longer and longer, so that a fault which kills each of them does not keep the processor busy.
 */
export class Threads {
  readonly #options: ThreadsOptions;
  readonly #threads = new Set<Thread>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #wanted: number;
  #keeping: NodeJS.Timeout | undefined;
  #deathsInARow = 0;
  #hasStarted = false;
  #isOpen = true;
  /** Threads that were replaced. */
  restarts = 0;

  private constructor(options: ThreadsOptions) {
    this.#options = options;
    this.#wanted = options.count;
  }

  /**
   * Resolves when all threads that there always are are ready.
   *
   * @throws what a thread dies of before it is ready
   */
  static start(options: ThreadsOptions): Promise<Threads> {
    return new Promise((resolve, reject) => {
      const threads = new Threads({
        ...options,
        onFree() {
          if (threads.#hasStarted) options.onFree();
          else if (threads.alive === options.count) {
            threads.#hasStarted = true;
            resolve(threads);
          }
        },
        onDeath(error) {
          options.onDeath(error);
          if (threads.#hasStarted) return;
          reject(error);
          void threads.close();
        },
      });
      for (let i = 0; i < options.count; i++) threads.#add();
      if (options.count === 0) {
        threads.#hasStarted = true;
        resolve(threads);
      }
    });
  }

  /** There shall be so many threads for a while, at least. */
  want(count: number): void {
    this.#wanted = Math.max(this.#wanted, count);
    while (this.#isOpen && this.#threads.size + this.#timers.size < this.#wanted) this.#add();
    this.#keeping ??= setTimeout(() => this.#dismiss(), this.#options.keptMs ?? KEPT_MS).unref();
    this.#keeping.refresh();
  }

  #dismiss(): void {
    this.#keeping = undefined;
    const { count, kept = count } = this.#options;
    this.#wanted = Math.min(this.#wanted, kept);
    for (const thread of this.#threads) {
      if (this.#threads.size <= this.#wanted) break;
      if (thread.isReady && !thread.isBusy) this.#end(thread);
    }
    if (this.#threads.size > this.#wanted) this.want(this.#threads.size); // what is busy is looked at again later
  }

  #end(thread: Thread): void {
    thread.isDismissed = true;
    this.#threads.delete(thread);
    void thread.end();
  }

  #add(): void {
    const { file, workerData, onFree } = this.#options;
    try {
      const thread = new Thread(file, workerData, {
        free: () => {
          if (thread.hasWorked) this.#deathsInARow = 0;
          onFree();
        },
        exit: (error) => {
          this.#threads.delete(thread);
          if (!thread.isDismissed) this.#replace(thread, error);
        },
      });
      this.#threads.add(thread);
    } catch (error) {
      // The system has no room for another one, now.
      this.#replace({ hasWorked: false, wasEnded: false }, error as Error);
    }
  }

  #replace({ hasWorked, wasEnded }: Pick<Thread, 'hasWorked' | 'wasEnded'>, error: Error): void {
    if (!this.#isOpen) return;
    this.restarts++;
    if (hasWorked) this.#deathsInARow = 0;
    else if (!wasEnded) this.#deathsInARow++;
    const doublings = this.#deathsInARow - FREE_DEATHS - 1;
    const wait = doublings < 0 ? 0 : Math.min(FIRST_WAIT_MS * 2 ** doublings, LONGEST_WAIT_MS);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#add();
    }, wait);
    this.#timers.add(timer);
    this.#options.onDeath(error);
  }

  /** Threads that can compute. */
  get alive(): number {
    return this.#isOpen ? [...this.#threads].filter(({ isReady }) => isReady).length : 0;
  }

  get busy(): number {
    return [...this.#threads].filter(({ isBusy }) => isBusy).length;
  }

  /** Do they die as soon as they are there? */
  get isFailing(): boolean {
    return this.#deathsInARow > FREE_DEATHS;
  }

  /** One that can be given something to do. */
  get free(): Thread | undefined {
    for (const thread of this.#threads) if (thread.isReady && !thread.isBusy) return thread;
    return undefined;
  }

  /** Ends them all. */
  async close(): Promise<void> {
    this.#isOpen = false;
    for (const timer of this.#timers) clearTimeout(timer);
    clearTimeout(this.#keeping);
    await Promise.all([...this.#threads].map((thread) => thread.end()));
  }
}
