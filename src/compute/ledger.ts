import { amount } from './amount.js';

/**
 * What the main thread and the workers know of all requests at any moment, in memory that they share: which ones are
 * still wanted, which ones are being worked on, and how much memory they take together.
 *
 * The main thread opens a slot for each request, hands its number to the workers with everything they do for it, and
 * closes it when no worker has it any more. So nothing is lost when a worker dies in between.
 */
export class Ledger {
  readonly buffer: SharedArrayBuffer;
  readonly #entries: Int32Array;
  readonly #free: number[] = [];

  /** @param buffer of another thread's ledger */
  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#entries = new Int32Array(buffer);
  }

  /**
   * @param slots requests at the same time, at most
   * @param limit bytes that they may take together
   */
  static create(slots: number, limit: number): Ledger {
    const ledger = new Ledger(new SharedArrayBuffer(4 * (HEAD + slots * WIDTH)));
    ledger.#entries[LIMIT] = kibibytes(limit);
    for (let slot = slots - 1; slot >= 0; slot--) ledger.#free.push(slot);
    return ledger;
  }

  /** Bytes that all requests take at the moment, and may take. */
  get used(): number {
    return 1024 * Atomics.load(this.#entries, USED);
  }
  get limit(): number {
    return 1024 * this.#entries[LIMIT];
  }

  /**
   * Changes what is taken from the budget, in place of what was taken before.
   *
   * @return false, and nothing has changed, where it would be more than the limit; less is always possible
   */
  exchange(before: number, after: number): boolean {
    const change = kibibytes(after) - kibibytes(before);
    for (;;) {
      const used = Atomics.load(this.#entries, USED);
      if (change > 0 && used + change > this.#entries[LIMIT]) return false;
      if (Atomics.compareExchange(this.#entries, USED, used, used + change) === used) return true;
    }
  }

  /** The same without a limit: for what is there already. */
  charge(before: number, after: number): void {
    Atomics.add(this.#entries, USED, kibibytes(after) - kibibytes(before));
  }

  /** A slot for a new request; undefined where all are in use. For the main thread alone, like close and stop. */
  open(): number | undefined {
    return this.#free.pop();
  }

  /** Gives back the slot, and what workers have taken for it. */
  close(slot: number): void {
    this.take(slot, 0);
    Atomics.store(this.#entries, at(slot) + STATE, WANTED);
    Atomics.store(this.#entries, at(slot) + RUNS, 0); // a worker that died has not ended what it had begun
    this.#free.push(slot);
  }

  /** From now on nobody wants the answer. */
  stop(slot: number): void {
    Atomics.store(this.#entries, at(slot) + STATE, STOPPED);
  }

  /** Is it the request that a worker is busy with, of those that were sent to it together? */
  isRunning(slot: number): boolean {
    return Atomics.load(this.#entries, at(slot) + RUNS) > 0;
  }

  isStopped(slot: number): boolean {
    return Atomics.load(this.#entries, at(slot) + STATE) === STOPPED;
  }

  /** A worker begins, or ends, something for the request. */
  begin(slot: number): void {
    Atomics.add(this.#entries, at(slot) + RUNS, 1);
  }
  end(slot: number): void {
    Atomics.sub(this.#entries, at(slot) + RUNS, 1);
  }

  /**
   * Changes what workers have taken for the request, in place of what they had before.
   *
   * @return false, and nothing has changed, where it would be more than the limit
   */
  take(slot: number, bytes: number): boolean {
    if (!this.exchange(this.takenBy(slot), bytes)) return false;
    this.#entries[at(slot) + TAKEN] = kibibytes(bytes);
    return true;
  }

  takenBy(slot: number): number {
    return 1024 * this.#entries[at(slot) + TAKEN];
  }
}

/** The first entries, and of each slot; all in units that let 32 bits count terabytes. */
const [USED, LIMIT, HEAD] = [0, 1, 2];
const [STATE, RUNS, TAKEN, WIDTH] = [0, 1, 2, 3];
const [WANTED, STOPPED] = [0, 1];

function at(slot: number): number {
  return HEAD + slot * WIDTH;
}

function kibibytes(bytes: number): number {
  return Math.ceil(amount('a share of the memory', bytes) / 1024);
}

/** Why something cannot be had now, after the words that say how much it is. */
export function shortage(asked: string, { used, limit }: Pick<Ledger, 'used' | 'limit'>): string {
  return `${asked}, but of the ${limit} that all requests may take together ${used} are taken`;
}

/** Thrown in a worker where a request is no longer wanted: its client has left, or its deadline has passed. */
export class Stopped extends Error {
  override readonly name = 'Stopped';
}
