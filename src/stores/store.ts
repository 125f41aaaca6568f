/** Where caches of forward passes stay until their backward passes, by their ids. It never looks into the bytes. */
export interface CacheStore {
  /** Bytes that one entry may have. */
  readonly largest: number;
  /**
   * Keeps some bytes, which it is given in pieces, for so many milliseconds at most. From then on they are the store's.
   *
   * @param caller whom they count for
   * @throws CacheTooLarge, CacheUnavailable, CacheBusy
   */
  put(id: string, pieces: readonly Uint8Array[], ttl: number, caller: string): Promise<void>;
  /**
   * The bytes in one piece, the caller's own; undefined if they are not, or no longer, there.
   *
   * @param reserve is told how many there are before the first one is copied or fetched; what it throws ends the call
   * @throws CacheUnavailable, CacheTooLarge, CacheBusy
   */
  get(id: string, reserve: Reserve): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /**
   * Lets go of what was put, before its time; false if it was not, or no longer, there.
   *
   * @throws CacheUnavailable, CacheBusy
   */
  remove(id: string): Promise<boolean>;
  /** Why nothing can be stored now, as far as is known without trying. */
  trouble(): string | undefined;
  /** Counts a put that was not tried, because of trouble. */
  passedOver(): void;
  stats(): CacheStats;
  close(): Promise<void>;
}

/** Takes so many bytes of the memory that there is for requests, or throws. */
export type Reserve = (bytes: number) => void;

/** Counts since the start, and what is there now as far as this instance knows. */
export interface CacheStats {
  readonly puts: number;
  readonly hits: number;
  readonly misses: number;
  readonly removals: number;
  /** Puts and gets that failed because the store could not be reached in time or refused, or were not tried. */
  readonly failures: number;
  /** Gone to make room; this and the rest are undefined of a shared store, which tells them itself. */
  readonly evictions: number | undefined;
  readonly entries: number | undefined;
  readonly bytes: number | undefined;
}

/** The store cannot be reached, or not in time, or refuses. */
export class CacheUnavailable extends Error {
  override readonly name = 'CacheUnavailable';
}

/** Too much is on its way to the store at once; nothing is wrong with it. */
export class CacheBusy extends Error {
  override readonly name = 'CacheBusy';
}

/** One entry may not be so large. */
export class CacheTooLarge extends Error {
  override readonly name = 'CacheTooLarge';
  readonly bytes: number;
  readonly limit: number;

  constructor(bytes: number, limit: number) {
    super(`${bytes} bytes are to be kept, but the limit is ${limit} bytes`);
    this.bytes = bytes;
    this.limit = limit;
  }
}

export function lengthOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}

/** Bytes that are copied before other things have their turn: about a millisecond. */
const TURN_BYTES = 4 * 1024 * 1024;

/** All pieces as one, in memory of its own. Large ones are copied in several turns of the event loop. */
export async function joined(pieces: readonly Uint8Array[]): Promise<Uint8Array<ArrayBuffer>> {
  const whole = new Uint8Array(lengthOf(pieces));
  let at = 0;
  let left = TURN_BYTES;
  for (const piece of pieces) {
    for (let from = 0; from < piece.length; from += TURN_BYTES) {
      const part = piece.subarray(from, from + TURN_BYTES);
      if (part.length > left) {
        await new Promise(setImmediate);
        left = TURN_BYTES;
      }
      whole.set(part, at);
      at += part.length;
      left -= part.length;
    }
  }
  return whole;
}
