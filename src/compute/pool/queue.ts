import { amount } from '../amount.js';
import type { ToWorker } from '../messages.js';

/** Something for a worker to do. */
export interface Job {
  readonly name: ToWorker['name'];
  /** What the worker gets; of `requests` one element of it. */
  readonly task: unknown;
  /** The request that it belongs to, and whose that is. */
  readonly slot: number;
  readonly caller: string;
  /** Of the request, among light ones or among heavy ones. */
  readonly turn: number;
  /** Of the body of a request. */
  readonly bytes: number;
  /** How long it takes a worker, about, in milliseconds. */
  readonly ms: number;
  /** When it was put here, in milliseconds of performance.now(). */
  readonly since: number;
  /** Has a thread died with it before it was begun? Then it travels alone. */
  readonly wasLost: boolean;
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** Requests with bodies up to this size share messages: the way to a worker and back costs as much as they do. */
const SMALL_BYTES = 16 * 1024;
/** Bodies in one message, in bytes. */
const MESSAGE_BYTES = 64 * 1024;
/** How long small requests gather for a message while another one is underway. */
const GATHER_MS = 5;
/** Reading a body of this size takes about 5 ms. What it then asks for is cut into parts if it takes longer. */
const LIGHT_BYTES = 1024 * 1024;

/**
 * What waits for a worker: light requests, and heavy ones with the parts of those that have begun, each for threads of
 * its own. So a short request never waits for a long one. Among both, callers take turns.
 */
export class Queue {
  readonly #small: Job[] = [];
  readonly #light: Job[] = [];
  readonly #heavy: Job[] = [];
  #smallBytes = 0;
  #smallUnderway = 0; // messages
  readonly #lightTurns = new Turns();
  readonly #heavyTurns = new Turns();

  /** The turn of a request that comes now, or becomes heavy now. */
  turnOf(caller: string, isHeavy: boolean): number {
    return this.#turnsOf(isHeavy).next(caller);
  }

  #turnsOf(isHeavy: boolean): Turns {
    return isHeavy ? this.#heavyTurns : this.#lightTurns;
  }

  add(job: Job): void {
    this.#turnsOf(isHeavy(job)).count(job.caller, job.turn, job.ms);
    const line = this.#lineOf(job);
    // Of one caller alone it is nearly always the last.
    let at = line.length;
    while (at > 0 && line[at - 1].turn > job.turn) at--;
    line.splice(at, 0, job);
    if (line === this.#small) this.#smallBytes += job.bytes;
  }

  #lineOf(job: Job): Job[] {
    if (isHeavy(job)) return this.#heavy;
    return job.bytes <= SMALL_BYTES ? this.#small : this.#light;
  }

  /** Requests that have not begun. */
  get requests(): number {
    const heavy = this.#heavy.reduce((count, { name }) => count + (name === 'requests' ? 1 : 0), 0);
    return this.#small.length + this.#light.length + heavy;
  }

  /** Takes out all that belongs to a request. */
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

  /** @param mayBegin is asked of the caller of each, in their order */
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
   * Milliseconds until the small requests that are here need not gather any longer; Infinity where there are none.
   * They do while a message of others is underway, unless they fill another one.
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

  /** May a small request be in one message with those before it, which have so many bytes? */
  #travelTogether(i: number, bytes: number): boolean {
    const [before, next] = [this.#small[i - 1], this.#small[i]];
    return bytes + next.bytes <= MESSAGE_BYTES && !before.wasLost && !next.wasLost;
  }

  /** Told when a message has come back, and how long it was underway: what took longer than was thought counts. */
  isDone(jobs: readonly Job[], ms: number): void {
    const [first] = jobs;
    if (isSmall(first)) this.#smallUnderway--;
    else this.#turnsOf(isHeavy(first)).count(first.caller, first.turn, Math.max(0, ms - first.ms));
  }
}

/** As many callers are remembered before those are forgotten that have no work ahead of the others. */
const MOST_REMEMBERED = 1000;

/**
 * Callers take turns by the time that their work takes. A turn is when a request would begin if its caller had a worker
 * to itself, on a clock that shows the first turn of those that wait. A caller that asks for much is served as if it had
 * asked later; the requests of one caller keep their order.
 */
class Turns {
  #clock = 0;
  /** When the work of each caller would be done. */
  readonly #ends = new Map<string, number>();

  next(caller: string): number {
    return Math.max(this.#clock, this.#ends.get(caller) ?? 0);
  }

  /** The caller has more work, of so many milliseconds, from a turn on or from the end of its other work. */
  count(caller: string, turn: number, ms: number): void {
    this.#ends.set(caller, Math.max(turn, this.next(caller)) + amount('the time of a request', ms));
    if (this.#ends.size <= MOST_REMEMBERED) return;
    for (const [one, end] of this.#ends) if (end <= this.#clock) this.#ends.delete(one);
  }

  /** @param first turn of those that wait */
  advance(first: number): void {
    this.#clock = Math.max(this.#clock, first);
  }
}

/** Is it for the threads of heavy requests? */
export function isHeavy({ name, bytes }: Pick<Job, 'name' | 'bytes'>): boolean {
  return name !== 'requests' || bytes > LIGHT_BYTES;
}

/** Is it a request that shares messages? */
export function isSmall({ name, bytes }: Job): boolean {
  return name === 'requests' && bytes <= SMALL_BYTES;
}
