import { amount } from '../amount.js';
import type { ToWorker } from '../messages.js';

/** One task for a worker, as it waits in the queue. */
export interface Job {
  readonly name: ToWorker['name'];
  /** The task of the message, or one of its tasks if the name is `requests`. */
  readonly task: unknown;
  /** The slot of its request. */
  readonly slot: number;
  /** The caller of its request. */
  readonly caller: string;
  /** The turn of its request, among light requests or among heavy ones. */
  readonly turn: number;
  /** The length of the body of a request; 0 for other tasks. */
  readonly bytes: number;
  /** The estimated time of a worker for it, in milliseconds. */
  readonly ms: number;
  /** When it was queued, in milliseconds of performance.now(). */
  readonly since: number;
  /** Has a thread died before it began this job? Then the job travels alone. */
  readonly wasLost: boolean;
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** Requests with bodies up to this size share messages, since a message costs as much time as they do. */
const SMALL_BYTES = 16 * 1024;
/** Bodies in one message, in bytes. */
const MESSAGE_BYTES = 64 * 1024;
/** How long small requests gather while another message of small requests is underway. */
const GATHER_MS = 5;
/** Requests with larger bodies are heavy. Reading this many bytes takes about 5 ms; if computing takes longer, the request is split. */
const LIGHT_BYTES = 1024 * 1024;

/**
 * Jobs that wait for a worker. Light requests form one line; heavy requests and the tasks of split ones form another. Each
 * line has threads of its own, so a short request never waits for a long one. In both lines, callers take turns.
 */
export class Queue {
  readonly #small: Job[] = [];
  readonly #light: Job[] = [];
  readonly #heavy: Job[] = [];
  #smallBytes = 0;
  #smallUnderway = 0; // messages
  readonly #lightTurns = new Turns();
  readonly #heavyTurns = new Turns();

  /** The turn of a request that arrives now, or becomes heavy now. */
  turnOf(caller: string, isHeavy: boolean): number {
    return this.#turnsOf(isHeavy).next(caller);
  }

  #turnsOf(isHeavy: boolean): Turns {
    return isHeavy ? this.#heavyTurns : this.#lightTurns;
  }

  add(job: Job): void {
    this.#turnsOf(isHeavy(job)).count(job.caller, job.turn, job.ms);
    const line = this.#lineOf(job);
    // With a single caller, the new job is nearly always the last.
    let at = line.length;
    while (at > 0 && line[at - 1].turn > job.turn) at--;
    line.splice(at, 0, job);
    if (line === this.#small) this.#smallBytes += job.bytes;
  }

  #lineOf(job: Job): Job[] {
    if (isHeavy(job)) return this.#heavy;
    return job.bytes <= SMALL_BYTES ? this.#small : this.#light;
  }

  /** How many requests have not begun. */
  get requests(): number {
    const heavy = this.#heavy.reduce((count, { name }) => count + (name === 'requests' ? 1 : 0), 0);
    return this.#small.length + this.#light.length + heavy;
  }

  /** Takes out all jobs of a request. */
  remove(slot: number): readonly Job[] {
    const removed: Job[] = [];
    for (const line of [this.#small, this.#light, this.#heavy]) {
      for (let i = line.length - 1; i >= 0; i--) {
        if (line[i].slot !== slot) continue;
        if (line === this.#small) this.#smallBytes -= line[i].bytes;
        removed.push(...line.splice(i, 1));
      }
    }
    return removed;
  }

  /** The jobs of the next message to a thread for light requests, or none. */
  takeLight(): readonly Job[] {
    const [small, light] = [this.#small[0], this.#light[0]];
    const first = small === undefined || light?.turn < small.turn ? light : small;
    if (first !== undefined) this.#lightTurns.advance(first.turn);
    const isSmallsTurn = first === small && this.wait === 0;
    return isSmallsTurn ? this.#takeSmall() : this.#light.splice(0, 1);
  }

  get hasHeavy(): boolean {
    return this.#heavy.length > 0;
  }

  /** How many heavy jobs may begin. @param mayBegin asked with the caller of each job, in order */
  heavyThatMayBegin(mayBegin: (caller: string) => boolean): number {
    return this.#heavy.filter(({ caller }) => mayBegin(caller)).length;
  }

  /** The next job for a thread for heavy requests, or none: the first one that may begin. */
  takeHeavy(mayBegin: (caller: string) => boolean): readonly Job[] {
    const at = this.#heavy.findIndex(({ caller }) => mayBegin(caller));
    if (at < 0) return [];
    this.#heavyTurns.advance(this.#heavy[0].turn);
    return this.#heavy.splice(at, 1);
  }

  /**
   * Milliseconds until the waiting small requests stop gathering; Infinity if there are none. They gather only while
   * another message of small requests is underway, and only until they fill a message.
   */
  get wait(): number {
    const [first] = this.#small;
    if (!first) return Number.POSITIVE_INFINITY;
    if (this.#smallUnderway === 0 || this.#smallBytes >= MESSAGE_BYTES) return 0;
    return Math.max(0, first.since + GATHER_MS - performance.now());
  }

  #takeSmall(): readonly Job[] {
    let count = 0;
    let bytes = 0;
    do bytes += this.#small[count++].bytes;
    while (count < this.#small.length && this.#travelTogether(count, bytes));
    this.#smallBytes -= bytes;
    this.#smallUnderway++;
    return this.#small.splice(0, count);
  }

  /** May a small request join the message of those before it, which have this many bytes? */
  #travelTogether(i: number, bytes: number): boolean {
    const [before, next] = [this.#small[i - 1], this.#small[i]];
    return bytes + next.bytes <= MESSAGE_BYTES && !before.wasLost && !next.wasLost;
  }

  /** Called when the reply to a message has come. Time beyond the estimate counts for the caller. */
  isDone(jobs: readonly Job[], ms: number): void {
    const [first] = jobs;
    if (isSmall(first)) this.#smallUnderway--;
    else this.#turnsOf(isHeavy(first)).count(first.caller, first.turn, Math.max(0, ms - first.ms));
  }
}

/** The most callers that are remembered. Beyond that, callers that have no work ahead of the others are forgotten. */
const MOST_REMEMBERED = 1000;

/**
 * Callers take turns by the time that their work takes. The turn of a request is the time at which it would begin if its
 * caller had a worker to itself, on a clock that shows the first turn of the waiting jobs. A caller that asks for much is
 * served as if it had asked later. The requests of one caller keep their order.
 */
class Turns {
  #clock = 0;
  /** When the work of each caller would be done, on that clock. */
  readonly #ends = new Map<string, number>();

  next(caller: string): number {
    return Math.max(this.#clock, this.#ends.get(caller) ?? 0);
  }

  /** Adds work to a caller, in milliseconds. It begins at `turn`, or when the caller's other work ends. */
  count(caller: string, turn: number, ms: number): void {
    this.#ends.set(caller, Math.max(turn, this.next(caller)) + amount('the time of a request', ms));
    if (this.#ends.size <= MOST_REMEMBERED) return;
    for (const [one, end] of this.#ends) if (end <= this.#clock) this.#ends.delete(one);
  }

  /** Sets the clock forward. @param first turn of the waiting jobs */
  advance(first: number): void {
    this.#clock = Math.max(this.#clock, first);
  }
}

/** Is the job for the threads of heavy requests? */
export function isHeavy({ name, bytes }: Pick<Job, 'name' | 'bytes'>): boolean {
  return name !== 'requests' || bytes > LIGHT_BYTES;
}

/** Is the job a small request, which shares messages? */
export function isSmall({ name, bytes }: Job): boolean {
  return name === 'requests' && bytes <= SMALL_BYTES;
}
