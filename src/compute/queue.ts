import type { ToWorker } from './worker.js';

/** Something for a worker to do. */
export interface Job {
  readonly name: ToWorker['name'];
  /** What the worker gets; of `requests` one element of it. */
  readonly task: unknown;
  /** The request that it belongs to. */
  readonly slot: number;
  /** When the request came, beside others. */
  readonly order: number;
  /** Of the body of a request. */
  readonly bytes: number;
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
 * What waits for a worker, in two lines that take turns: light requests, and heavy ones with the parts of those that
 * have begun. So a short request waits for one long piece of work in each worker at most, and many short ones cannot
 * hold up a long one for good. In each line older requests go first.
 */
export class Queue {
  readonly #small: Job[] = [];
  readonly #light: Job[] = [];
  readonly #parts: Job[] = [];
  readonly #heavy: Job[] = [];
  #smallBytes = 0;
  #smallUnderway = 0; // messages
  #isHeavysTurn = false;

  add(job: Job): void {
    const line = this.#lineOf(job);
    // Nearly always it is the youngest.
    let at = line.length;
    while (at > 0 && line[at - 1].order > job.order) at--;
    line.splice(at, 0, job);
    if (line === this.#small) this.#smallBytes += job.bytes;
  }

  #lineOf({ name, bytes }: Job): Job[] {
    if (name !== 'requests') return this.#parts;
    if (bytes <= SMALL_BYTES) return this.#small;
    return bytes <= LIGHT_BYTES ? this.#light : this.#heavy;
  }

  /** Requests that have not begun. */
  get requests(): number {
    return this.#small.length + this.#light.length + this.#heavy.length;
  }

  /** Takes out all that belongs to a request. */
  remove(slot: number): readonly Job[] {
    const removed: Job[] = [];
    for (const line of [this.#small, this.#light, this.#parts, this.#heavy]) {
      for (let i = line.length - 1; i >= 0; i--) {
        if (line[i].slot !== slot) continue;
        if (line === this.#small) this.#smallBytes -= line[i].bytes;
        removed.push(...line.splice(i, 1));
      }
    }
    return removed;
  }

  /** The jobs of the next message, or none. */
  take(): readonly Job[] {
    const lines = this.#isHeavysTurn ? [this.#takeHeavy, this.#takeLight] : [this.#takeLight, this.#takeHeavy];
    for (const line of lines) {
      const jobs = line.call(this);
      if (jobs.length === 0) continue;
      this.#isHeavysTurn = line === this.#takeLight;
      return jobs;
    }
    return [];
  }

  #takeHeavy(): readonly Job[] {
    return olderOf(this.#parts, this.#heavy).splice(0, 1);
  }

  #takeLight(): readonly Job[] {
    if (this.wait === 0 && olderOf(this.#small, this.#light) === this.#small) return this.#takeSmall();
    return this.#light.splice(0, 1);
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

  /** Told when a message has come back. */
  isDone([first]: readonly Job[]): void {
    if (isSmall(first)) this.#smallUnderway--;
  }
}

/** Which of two lists begins with what came first; the first one, if they began together. */
function olderOf(one: Job[], other: Job[]): Job[] {
  return one.length > 0 && !(one[0].order > other[0]?.order) ? one : other;
}

/** Is it a request that shares messages? */
export function isSmall({ name, bytes }: Job): boolean {
  return name === 'requests' && bytes <= SMALL_BYTES;
}
