import { type Choice, chooseKernels } from '../../kernels/choose.js';
import type { Tier } from '../../kernels/kernels.js';
import { earliest, type NonFinite } from '../../plan/non-finite.js';
import { pieceTasks } from '../../plan/pieces.js';
import { amount } from '../amount.js';
import { Ledger, Stopped, shortage } from '../ledger.js';
import { MOST_READ, type Named, now, type Outcome, type Report, type Storage, type Task } from '../messages.js';
import { buffersIn, discard } from '../transfer.js';
import type { BlockResult, Large, PieceResult } from '../worker/request.js';
import type { Reply, ToWorker, WorkerData } from '../worker/worker.js';
import { isHeavy, isSmall, type Job, Queue } from './queue.js';
import { OutOfMemory, type Thread, ThreadDied, Threads } from './threads.js';

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
   * @throws Refused when the pool cannot take it, DeadlineExceeded when it is too late already
   */
  begin(operation: string, body: Uint8Array<ArrayBuffer>, deadline: number, from?: Origin): Run;
  /**
   * Is there a place now for a request of the caller? Before its body is read: what is refused then costs least.
   *
   * @throws Refused
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
  /** Where caches that are stored go and come from. */
  readonly caches?: StoredCaches;
}

/** What a request needs of the store of caches. */
export interface StoredCaches {
  /** Where its own caches go. */
  readonly storage?: Storage | undefined;
  /**
   * Finds those that it names, in memory that moves to a worker; what it throws, the outcome does.
   *
   * @param reserve is told how many bytes they have before there are any; what it throws, this does
   */
  find(id: string, reserve: (bytes: number) => void): Promise<Uint8Array<ArrayBuffer>>;
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

/** The pool does not take a request, now. */
export class Refused extends Error {
  readonly code: 'queue-full' | 'overloaded';
  /** Seconds after which another try makes sense. */
  readonly retryAfter: number;

  constructor(code: Refused['code'], message: string, retryAfter: number) {
    super(message);
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

export class DeadlineExceeded extends Error {
  override readonly name = 'DeadlineExceeded';
}

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

/** What things take a worker, about, in milliseconds. Callers take turns by it; which one is a little off does no harm. */
const MS_FOR_A_REQUEST = 0.1;
const MS_FOR_A_BYTE = 5e-6;
const MS_FOR_A_FLOP = 1e-7;
const MS_FOR_A_PIECE = 10;

/**
 * Chooses the kernels, starts the workers and resolves when all of them can compute.
 *
 * @throws KernelsUnavailable where the kernels that are asked for cannot be used here
 * @param onFault told of a worker that died; the pool replaces it by itself
 */
export async function createPool(options: PoolOptions, onFault: (error: Error) => void): Promise<Pool> {
  const { workers, queueLimit, memoryLimit, workLimit, flopsLimit, weightsLimit, kernels } = options;
  const { workerFile = new URL('../worker/worker.js', import.meta.url) } = options;
  const { tier } = chooseKernels(kernels);
  const ledger = Ledger.create(workers + queueLimit, memoryLimit);
  const queue = new Queue();
  /** What each busy thread is busy with. */
  const underway = new Map<Thread, readonly Job[]>();
  let requests = 0; // in the pool
  let isFlushing = false;
  let gathering: NodeJS.Timeout | undefined;
  let requestMs = 10; // what a worker takes for a request, on average of the last ones

  const threadsFor = (count: number, weights: number) =>
    Threads.start({
      count,
      kept: workers,
      file: workerFile,
      workerData: { tier, weightsLimit: weights, ledger: ledger.buffer } satisfies WorkerData,
      onFree: () => flushSoon(),
      onDeath: onFault,
    });
  // Heavy requests have threads of their own, from the first one on: whatever they take, a light one finds a thread.
  const ofLight = Math.min(weightsLimit, Math.max(weightsLimit / 4, WEIGHTS_OF_LIGHT));
  const [light, heavy] = await Promise.all([threadsFor(workers, ofLight), threadsFor(0, weightsLimit)]);

  /** At the end of this turn of the event loop: what has arrived in it travels together, and what an answer led to is there. */
  function flushSoon(): void {
    if (!isFlushing) setImmediate(flush);
    isFlushing = true;
  }

  function flush(): void {
    isFlushing = false;
    clearTimeout(gathering);
    flushHeavy();
    for (let thread = light.free; thread; thread = light.free) {
      const jobs = queue.takeLight();
      if (jobs.length === 0) {
        if (queue.wait < Number.POSITIVE_INFINITY) gathering = setTimeout(flush, queue.wait);
        return;
      }
      void send(thread, jobs);
    }
  }

  /**
   * A caller's heavy work has as many threads as there are workers, and the callers together twice as many: however
   * long one caller's work is, others get past it.
   */
  function flushHeavy(): void {
    if (!queue.hasHeavy) return;
    heavy.want(heavy.busy + Math.min(queue.heavyThatMayBegin(mayBegin()), 2 * workers - heavy.busy));
    while (heavy.busy < 2 * workers) {
      const thread = heavy.free; // one that is wanted comes when it has started
      const jobs = thread ? queue.takeHeavy(mayBegin()) : [];
      if (thread === undefined || jobs.length === 0) return;
      void send(thread, jobs);
    }
  }

  /** Says of one heavy job after the other whether it may begin beside those that are underway and those before it. */
  function mayBegin(): (caller: string) => boolean {
    const counts = new Map<string, number>();
    const count = (caller: string) => {
      const before = counts.get(caller) ?? 0;
      if (before < workers) counts.set(caller, before + 1);
      return before < workers;
    };
    for (const [first] of underway.values()) if (isHeavy(first)) count(first.caller);
    return count;
  }

  async function send(thread: Thread, jobs: readonly Job[]): Promise<void> {
    const [first] = jobs;
    // Small bodies are copied: if the thread dies, those of requests that it had not begun go to another one.
    const transfer = isSmall(first) ? [] : buffersIn(first.task);
    const task = first.name === 'requests' ? jobs.map((job) => job.task) : first.task;
    const watch = isSmall(first) ? setTimeout(() => endIfStill(thread, jobs), SMALL_LIMIT_MS) : undefined;
    const start = performance.now();
    underway.set(thread, jobs);
    try {
      const result = await thread.run({ name: first.name, task } as ToWorker, transfer);
      if (first.name === 'requests') for (const [i, job] of jobs.entries()) job.resolve((result as Reply[])[i]);
      else first.resolve(result);
    } catch (error) {
      for (const job of jobs) failOrRepeat(job, error as Error);
    } finally {
      clearTimeout(watch);
      underway.delete(thread);
      queue.isDone(jobs, performance.now() - start);
      flushSoon();
    }
  }

  /** Ends a thread that is still busy with these, when what it may have sent in the meantime has been read. */
  function endIfStill(thread: Thread, jobs: readonly Job[]): void {
    setImmediate(() => {
      if (underway.get(thread) === jobs) void thread.end();
    });
  }

  function failOrRepeat(job: Job, error: Error): void {
    const wasBegun = !isSmall(job) || ledger.isRunning(job.slot);
    if (error instanceof OutOfMemory) job.reject(new Refused('overloaded', error.message, retryAfter()));
    else if (!(error instanceof ThreadDied) || wasBegun || job.wasLost) job.reject(error);
    else queue.add({ ...job, wasLost: true });
  }

  /** Takes the request out of the queue, tells the workers, and ends the threads that do not react. */
  function stop(slot: number): void {
    ledger.stop(slot);
    for (const job of queue.remove(slot)) job.reject(new Stopped());
    const concerned = [...underway].filter(([, jobs]) => jobs.some((job) => job.slot === slot));
    if (concerned.length === 0) return;
    setTimeout(
      () => {
        for (const [thread, jobs] of concerned) if (ledger.isRunning(slot)) endIfStill(thread, jobs);
      },
      REACTION_MS + ledger.takenBy(slot) / COPIED_PER_MS,
    );
  }

  function retryAfter(): number {
    return Math.min(Math.max(1, Math.ceil((requests * requestMs) / workers / 1000)), 60);
  }

  /** The way of one request through the workers. */
  async function work(slot: number, task: Task, { caller = NOBODY, caches }: Origin): Promise<Outcome> {
    let heavyTurn: number | undefined;
    const enqueue: Enqueue = (name, task, ms, bytes = 0) =>
      new Promise((resolve, reject) => {
        const since = performance.now();
        if (isHeavy({ name, bytes })) heavyTurn ??= queue.turnOf(caller, true);
        const turn = heavyTurn ?? queue.turnOf(caller, false);
        queue.add({ name, task, slot, caller, turn, bytes, ms, since, wasLost: false, resolve, reject });
        flushSoon();
      });
    const read = (task: Task, bytes: number) =>
      enqueue('requests', task, MS_FOR_A_REQUEST + bytes * MS_FOR_A_BYTE, bytes) as Promise<Reply>;
    /** Resolves, or throws what went wrong first, when no worker has any of them. */
    const all: All = async (jobs) => {
      let cause: unknown;
      for (const job of jobs) {
        job.catch((error) => {
          cause ??= error;
          stop(slot); // the others are not wanted either
        });
      }
      const results = await Promise.allSettled(jobs);
      if (cause !== undefined) throw cause;
      return results.map((result) => (result as PromiseFulfilledResult<unknown>).value);
    };
    const size = task.body.length;
    let reply = await read(task, size);
    if ('cacheId' in reply) {
      const reserve = (bytes: number): void => {
        if (ledger.isStopped(slot)) throw new Stopped();
        if (ledger.take(slot, MOST_READ * size + bytes)) return;
        const detail = shortage(`the request needs ${bytes} bytes for its stored caches`, ledger);
        throw new Refused('overloaded', detail, retryAfter());
      };
      const again = await resume(task, reply, caches, reserve);
      // What was read of it goes along, beside the caches.
      reply = await read(again, size + again.resumed.caches.length);
    }
    if ('failure' in reply) throw new Error(reply.failure);
    if ('cacheId' in reply) throw new Error('stored caches name others');
    return 'ok' in reply ? reply : finish(reply, slot, enqueue, all);
  }

  function queueFull(): Refused {
    const detail = `${requests} requests are running or waiting, and at most ${workers} may run and ${queueLimit} wait`;
    return new Refused('queue-full', detail, retryAfter());
  }

  function checkAlive(): void {
    if (isFailing(light) || isFailing(heavy)) {
      throw new Refused('overloaded', 'no worker is alive: they end as soon as they begin', 5);
    }
  }

  return {
    tier,
    memory: ledger,
    checkPlace(caller) {
      checkAlive();
      if (!ledger.hasPlace(caller)) throw queueFull();
    },
    begin(operation, body, deadline, from = {}) {
      const { caller = NOBODY, caches } = from;
      const handedOver = now();
      if (handedOver >= deadline) throw new DeadlineExceeded();
      checkAlive();
      const slot = ledger.open(caller);
      if (slot === undefined) throw queueFull();
      requests++;
      const task: Task = {
        operation,
        body,
        slot,
        // The body itself is there twice: here, and where the worker reads it.
        workLimit: Math.min(workLimit, ledger.share - 2 * body.length),
        flopsLimit,
        handedOver,
        storage: caches?.storage,
      };
      const worked = work(slot, task, from).finally(() => {
        ledger.close(slot);
        requests--;
      });
      worked.then(({ timings: { decode = 0, compute = 0, encode = 0 } }) => {
        requestMs += (amount('the time of a request', decode + compute + encode) - requestMs) / 16;
      }, ignore);

      let giveUp: (error: Error) => void = ignore;
      const outcome = new Promise<Outcome>((resolve, reject) => {
        giveUp = (error) => {
          stop(slot);
          reject(error);
          worked.then((late) => late.ok && discard([late.body, late.stored]), ignore);
        };
        worked.then(resolve, reject);
      });
      const timer = setTimeout(() => giveUp(new DeadlineExceeded()), Math.ceil(deadline - handedOver));
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
    },
    isReady: () => light.alive > 0,
    stats: () => ({
      waiting: queue.requests,
      running: requests - queue.requests,
      workers,
      alive: light.alive,
      busy: light.busy + heavy.busy,
      restarts: light.restarts + heavy.restarts,
      heavyThreads: heavy.alive,
      bytes: ledger.used,
      bytesLimit: ledger.limit,
    }),
    async close() {
      await Promise.all([light.close(), heavy.close()]);
    },
  };
}

const ignore = (): void => {};

/** Where nobody says whom a request counts for. */
const NOBODY = 'nobody';

/** Do the threads end as soon as they begin? */
function isFailing(threads: Threads): boolean {
  return threads.isFailing && threads.alive === 0;
}

type Enqueue = (name: Job['name'], task: unknown, ms: number, bytes?: number) => Promise<unknown>;
type All = (jobs: readonly Promise<unknown>[]) => Promise<unknown[]>;

/** The task of a request that names stored caches, with them in place of its body. */
async function resume(
  task: Task,
  named: Named,
  caches: StoredCaches | undefined,
  reserve: Parameters<StoredCaches['find']>[1],
) {
  if (caches === undefined) throw new Error('a request names stored caches, but there is no store');
  const start = now();
  const found = await caches.find(named.cacheId, reserve);
  const handedOver = now();
  named.timings.store = handedOver - start;
  return { ...task, body: new Uint8Array(0), resumed: { named, caches: found }, handedOver };
}

/** A large request from its first part on: its blocks, then the pieces of its answer, by all workers that are free. */
async function finish(
  { blocks, pieces, stored, time, ...report }: Large,
  slot: number,
  enqueue: Enqueue,
  all: All,
): Promise<Outcome> {
  const { timings } = report;
  const start = now();
  const ms = ((report.flops ?? 0) / blocks.length) * MS_FOR_A_FLOP;
  const computing = blocks.map((task) => enqueue('block', { ...task, slot }, ms));
  const results = (await all(computing)) as BlockResult[];
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

  const contributions = results.map((result) => result.contributions);
  const writing = pieceTasks({ pieces, stored }, contributions).map((task) =>
    enqueue('piece', { ...task, slot }, MS_FOR_A_PIECE),
  );
  const written = (await all(writing)) as PieceResult[];
  timings.encode = now() - computed;
  const body: Uint8Array<ArrayBuffer>[] = [];
  const toStore: Uint8Array<ArrayBuffer>[] = [];
  for (const piece of written) {
    if ('nonFinite' in piece) return refused(report, piece.nonFinite);
    if ('stored' in piece) toStore.push(piece.stored);
    else body.push(piece.text);
  }
  return { ...report, ok: true, body, ...(toStore.length > 0 && { stored: toStore }) };
}

function refused(report: Report, { fault }: NonFinite): Outcome {
  return { ...report, ok: false, code: 'non-finite-result', faults: [fault] };
}
