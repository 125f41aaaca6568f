import type { Tier } from '../../kernels/kernels.js';
import { type Ledger, Stopped } from '../ledger.js';
import type { Reply, ToWorker, WorkerData } from '../messages.js';
import { buffersIn } from '../transfer.js';
import { isHeavy, isSmall, type Job, Queue } from './queue.js';
import { type Thread, ThreadDied, Threads } from './threads.js';

/**
 * How long a worker may go on with a request that nobody wants before its thread is ended. A worker cannot stop while it
 * copies memory, so it gets another millisecond for every COPIED_PER_MS bytes that the request takes.
 */
const REACTION_MS = 500;
const COPIED_PER_MS = 512 * 1024;
/** How long one message of small requests may take. They are done in milliseconds, so a thread that takes longer hangs. */
const SMALL_LIMIT_MS = 5000;
/** The fewest bytes of weights that a thread for light requests keeps. It keeps a quarter of what a thread for heavy requests does if that is more. */
const WEIGHTS_OF_LIGHT = 4 * 2 ** 20;

export interface DispatcherOptions {
  /** Threads for light requests. */
  readonly workers: number;
  /** The compiled worker.js. */
  readonly file: URL;
  readonly tier: Tier;
  /** Bytes of weights that each worker for heavy requests keeps. */
  readonly weightsLimit: number;
  readonly ledger: Ledger;
  /** Called when a worker has died. */
  onDeath(error: Error): void;
}

/**
 * Hands waiting jobs to free threads. Heavy requests have threads of their own, so that light requests always find a
 * thread, however long the heavy ones take.
 */
export class Dispatcher {
  readonly queue = new Queue();
  readonly #light: Threads;
  readonly #heavy: Threads;
  readonly #workers: number;
  readonly #ledger: Ledger;
  /** The jobs of each busy thread. */
  readonly #underway = new Map<Thread, readonly Job[]>();
  #isFlushing = false;
  #gathering: NodeJS.Timeout | undefined;

  private constructor({ workers, ledger }: DispatcherOptions, light: Threads, heavy: Threads) {
    this.#workers = workers;
    this.#ledger = ledger;
    this.#light = light;
    this.#heavy = heavy;
  }

  /** Resolves when all threads for light requests can compute. */
  static async start(options: DispatcherOptions): Promise<Dispatcher> {
    const { workers, file, tier, weightsLimit, ledger, onDeath } = options;
    let dispatcher: Dispatcher | undefined;
    const threadsFor = (count: number, weights: number) =>
      Threads.start({
        count,
        kept: workers,
        file,
        workerData: { tier, weightsLimit: weights, ledger: ledger.buffer } satisfies WorkerData,
        onFree: () => {
          if (dispatcher) dispatcher.#flushSoon();
        },
        onDeath,
      });
    const ofLight = Math.min(weightsLimit, Math.max(weightsLimit / 4, WEIGHTS_OF_LIGHT));
    const [light, heavy] = await Promise.all([threadsFor(workers, ofLight), threadsFor(0, weightsLimit)]);
    dispatcher = new Dispatcher(options, light, heavy);
    return dispatcher;
  }

  add(job: Job): void {
    this.queue.add(job);
    this.#flushSoon();
  }

  /** Flushes at the end of this turn of the event loop, so that requests that arrived in the same turn travel together. */
  #flushSoon(): void {
    if (!this.#isFlushing) setImmediate(() => this.#flush());
    this.#isFlushing = true;
  }

  #flush(): void {
    this.#isFlushing = false;
    clearTimeout(this.#gathering);
    this.#flushHeavy();
    for (let thread = this.#light.free; thread; thread = this.#light.free) {
      const jobs = this.queue.takeLight();
      if (jobs.length === 0) {
        const { wait } = this.queue;
        if (wait < Number.POSITIVE_INFINITY) this.#gathering = setTimeout(() => this.#flush(), wait);
        return;
      }
      void this.#send(thread, jobs);
    }
  }

  /**
   * The heavy work of one caller has at most as many threads as there are workers, and all callers together have twice as
   * many. So other callers get past the long work of one.
   */
  #flushHeavy(): void {
    if (!this.queue.hasHeavy) return;
    const [heavy, most] = [this.#heavy, 2 * this.#workers];
    heavy.want(heavy.busy + Math.min(this.queue.heavyThatMayBegin(this.#mayBegin()), most - heavy.busy));
    while (heavy.busy < most) {
      const thread = heavy.free; // a new thread calls onFree when it has started
      const jobs = thread ? this.queue.takeHeavy(this.#mayBegin()) : [];
      if (thread === undefined || jobs.length === 0) return;
      void this.#send(thread, jobs);
    }
  }

  /** Returns a function that is asked for one heavy job after the other: may it begin beside the jobs underway and those before it? */
  #mayBegin(): (caller: string) => boolean {
    const counts = new Map<string, number>();
    const count = (caller: string) => {
      const before = counts.get(caller) ?? 0;
      if (before < this.#workers) counts.set(caller, before + 1);
      return before < this.#workers;
    };
    for (const [first] of this.#underway.values()) if (isHeavy(first)) count(first.caller);
    return count;
  }

  async #send(thread: Thread, jobs: readonly Job[]): Promise<void> {
    const [first] = jobs;
    // Small bodies are copied: if the thread dies, the requests that it had not begun go to another thread.
    const transfer = isSmall(first) ? [] : buffersIn(first.task);
    const task = first.name === 'requests' ? jobs.map((job) => job.task) : first.task;
    const watch = isSmall(first) ? setTimeout(() => this.#endIfStill(thread, jobs), SMALL_LIMIT_MS) : undefined;
    const start = performance.now();
    this.#underway.set(thread, jobs);
    try {
      const result = await thread.run({ name: first.name, task } as ToWorker, transfer);
      if (first.name === 'requests') for (const [i, job] of jobs.entries()) job.resolve((result as Reply[])[i]);
      else first.resolve(result);
    } catch (error) {
      for (const job of jobs) this.#failOrRepeat(job, error as Error);
    } finally {
      clearTimeout(watch);
      this.#underway.delete(thread);
      this.queue.isDone(jobs, performance.now() - start);
      this.#flushSoon();
    }
  }

  /** Ends a thread that is still busy with these jobs, after messages that it may have sent in the meantime were read. */
  #endIfStill(thread: Thread, jobs: readonly Job[]): void {
    setImmediate(() => {
      if (this.#underway.get(thread) === jobs) void thread.end();
    });
  }

  #failOrRepeat(job: Job, error: Error): void {
    const wasBegun = !isSmall(job) || this.#ledger.isRunning(job.slot);
    if (!(error instanceof ThreadDied) || wasBegun || job.wasLost) job.reject(error);
    else this.queue.add({ ...job, wasLost: true });
  }

  /** Stops a request: takes its jobs out of the queue, tells the workers, and ends threads that do not react. */
  stop(slot: number): void {
    this.#ledger.stop(slot);
    for (const job of this.queue.remove(slot)) job.reject(new Stopped());
    const concerned = [...this.#underway].filter(([, jobs]) => jobs.some((job) => job.slot === slot));
    if (concerned.length === 0) return;
    setTimeout(
      () => {
        for (const [thread, jobs] of concerned) if (this.#ledger.isRunning(slot)) this.#endIfStill(thread, jobs);
      },
      REACTION_MS + this.#ledger.takenBy(slot) / COPIED_PER_MS,
    );
  }

  /** Do all threads of a kind die as soon as they start? */
  get isFailing(): boolean {
    return [this.#light, this.#heavy].some((threads) => threads.isFailing && threads.alive === 0);
  }

  stats() {
    const [light, heavy] = [this.#light, this.#heavy];
    return {
      alive: light.alive,
      busy: light.busy + heavy.busy,
      restarts: light.restarts + heavy.restarts,
      heavyThreads: heavy.alive,
    };
  }

  async close(): Promise<void> {
    await Promise.all([this.#light.close(), this.#heavy.close()]);
  }
}
