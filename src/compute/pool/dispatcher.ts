import type { Tier } from '../../kernels/kernels.js';
import { type Ledger, Stopped } from '../ledger.js';
import type { Reply, ToWorker, WorkerData } from '../messages.js';
import { buffersIn } from '../transfer.js';
import { isHeavy, isSmall, type Job, Queue } from './queue.js';
import { type Thread, ThreadDied, Threads } from './threads.js';

/**
 * How long a worker may go on with a request that nobody wants, and for each so many bytes that the request takes, since
 * it can be busy with copying them; then its thread is ended.
 */
const REACTION_MS = 500;
const COPIED_PER_MS = 512 * 1024;
/** How long one message of small requests may take. They are done in milliseconds: longer, and the thread hangs. */
const SMALL_LIMIT_MS = 5000;
/** Bytes of weights that a thread for light requests keeps, or a quarter of what one for heavy requests does: they are smaller. */
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
  /** Told of a worker that died. */
  onDeath(error: Error): void;
}

/**
 * Hands what waits to threads that are free. Heavy requests have threads of their own, from the first one on: whatever they
 * take, a light one finds a thread.
 */
export class Dispatcher {
  readonly queue = new Queue();
  readonly #light: Threads;
  readonly #heavy: Threads;
  readonly #workers: number;
  readonly #ledger: Ledger;
  /** What each busy thread is busy with. */
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

  /** At the end of this turn of the event loop: what has arrived in it travels together, and what an answer led to is there. */
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
   * A caller's heavy work has as many threads as there are workers, and the callers together twice as many: however
   * long one caller's work is, others get past it.
   */
  #flushHeavy(): void {
    if (!this.queue.hasHeavy) return;
    const [heavy, most] = [this.#heavy, 2 * this.#workers];
    heavy.want(heavy.busy + Math.min(this.queue.heavyThatMayBegin(this.#mayBegin()), most - heavy.busy));
    while (heavy.busy < most) {
      const thread = heavy.free; // one that is wanted comes when it has started
      const jobs = thread ? this.queue.takeHeavy(this.#mayBegin()) : [];
      if (thread === undefined || jobs.length === 0) return;
      void this.#send(thread, jobs);
    }
  }

  /** Says of one heavy job after the other whether it may begin beside those that are underway and those before it. */
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
    // Small bodies are copied: if the thread dies, those of requests that it had not begun go to another one.
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

  /** Ends a thread that is still busy with these, when what it may have sent in the meantime has been read. */
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

  /** Takes a request out of the queue, tells the workers, and ends the threads that do not react. */
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

  /** Do the threads end as soon as they begin? */
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
