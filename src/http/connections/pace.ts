import type { Pool } from '../../compute/pool/pool.js';

/** What is on its way from a client, or to it. */
interface Transfer {
  /** How fast it must go on average, in bytes a millisecond. */
  readonly rate: number;
  /** Bytes that the client has time for: those that have come, or all that it takes. */
  bytes(): number;
  tooSlow(): void;
  /** Milliseconds that it has had; they count for more while memory is short. */
  ms: number;
}

/** How often it is looked at. */
const LOOK_MS = 1000;
/** A millisecond counts for so many at most, when nearly all memory is taken. */
const MOST_HASTE = 8;

/**
 * The least rate at which bodies must come and answers must be taken, after a time of grace. Whoever is slow holds
 * memory: the more of it is taken, the faster the time of all of them runs, by 1 / (the share of it that is free).
 */
export class Pace {
  readonly #memory: Pick<Pool['memory'], 'used' | 'limit'>;
  readonly #grace: number;
  readonly #transfers = new Set<Transfer>();
  #timer: NodeJS.Timeout | undefined;
  #last = 0;

  /** @param grace milliseconds that a transfer has beside those for its bytes */
  constructor(memory: Pick<Pool['memory'], 'used' | 'limit'>, grace: number) {
    this.#memory = memory;
    this.#grace = grace;
  }

  /** @return ends the watch */
  watch(rate: number, bytes: () => number, tooSlow: () => void): () => void {
    const transfer = { rate, bytes, tooSlow, ms: 0 };
    this.#transfers.add(transfer);
    if (this.#timer === undefined) {
      this.#last = performance.now();
      this.#timer = setInterval(() => this.#look(), Math.min(LOOK_MS, this.#grace)).unref();
    }
    return () => this.#transfers.delete(transfer);
  }

  #look(): void {
    const now = performance.now();
    const free = Math.max(0, 1 - this.#memory.used / this.#memory.limit);
    const ms = (now - this.#last) * Math.min(1 / free, MOST_HASTE);
    this.#last = now;
    for (const transfer of this.#transfers) {
      transfer.ms += ms;
      if (transfer.ms <= this.#grace + transfer.bytes() / transfer.rate) continue;
      this.#transfers.delete(transfer);
      transfer.tooSlow();
    }
    if (this.#transfers.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
