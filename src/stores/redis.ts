import type { Redis } from 'ioredis';
import { CacheBusy, type CacheStore, CacheTooLarge, CacheUnavailable, lengthOf } from './store.js';

/** Before the id. */
const KEY = 'unroll:cache:';
/** Bytes of one element of a list, at most: so much occupies Redis and the connection at a time. */
const PART_BYTES = 4 * 1024 * 1024;
/** How long an entry may take: so many milliseconds, and one for each so many bytes. */
const LIMIT_MS = 2000;
const BYTES_PER_MS = 32 * 1024;

/** How long a server that has failed is left alone before the next caller tries it. */
const REST_MS = 1000;

export interface RedisStoreOptions {
  /** Bytes that one entry may have, and that may be on their way to the server. */
  readonly limit: number;
  /** Calls that may wait for the server at the same time. */
  readonly callers: number;
}

/**
 * Caches in a Redis or Valkey that all instances share, each a list, which goes as a whole: when its time is over, or by
 * the server's own `maxmemory-policy` (volatile-lru) when its memory is full. Its first element says how many bytes the
 * parts behind it have together: so it is known before they are fetched, and a list that is not complete is none.
 *
 * Who waits for the server keeps a place that others need. So not more than some wait, and while it fails one a second;
 * the others hear at once that it is unavailable.
 *
 * @param redis a connection of its own, on which commands fail rather than wait while there is no server
 */
export function redisStore(redis: Redis, { limit, callers }: RedisStoreOptions): CacheStore {
  const count = { puts: 0, hits: 0, misses: 0, removals: 0, failures: 0 };
  let underway = 0; // bytes
  let calls = 0;
  let isFailing = false;
  let tryAt = 0;

  function unavailable(reason: string): CacheUnavailable {
    count.failures++;
    return new CacheUnavailable(reason);
  }

  function trouble(): string | undefined {
    if (redis.status !== 'ready') return 'there is no connection';
    if (isFailing && performance.now() < tryAt) return 'the server has failed a moment ago';
    return undefined;
  }

  async function call<T>(work: () => Promise<T>): Promise<T> {
    const reason = trouble();
    if (reason !== undefined) throw unavailable(reason);
    if (calls >= callers)
      throw new CacheBusy(`${calls} calls to the store of caches are underway, and more may not be`);
    tryAt = performance.now() + REST_MS;
    calls++;
    try {
      return await work();
    } finally {
      calls--;
    }
  }

  /** What goes wrong between here and the server is the same to the caller: he can try again. */
  async function reach<T>(work: () => Promise<T>): Promise<T> {
    try {
      const result = await work();
      isFailing = false;
      return result;
    } catch (error) {
      const { name, message } = error as Error;
      // A server that refuses something answers, and in time.
      if (name !== 'ReplyError' && name !== 'Gone') {
        isFailing = true;
        tryAt = performance.now() + REST_MS;
      }
      throw unavailable(message);
    }
  }

  return {
    largest: limit,
    async put(id, pieces, ttl) {
      const bytes = lengthOf(pieces);
      if (bytes > limit) throw new CacheTooLarge(bytes, limit);
      if (ttl <= 0) return;
      if (underway + bytes > limit)
        throw new CacheBusy(`${underway} bytes are on their way to the store of caches already`);
      underway += bytes;
      try {
        await call(() => reach(() => append(redis, KEY + id, pieces, ttl)));
      } finally {
        underway -= bytes;
      }
      count.puts++;
    },
    async get(id, reserve) {
      const found = await call(async () => {
        const length = await reach(() => lengthAt(redis, KEY + id));
        if (length === undefined) return undefined;
        if (length > limit) throw new CacheTooLarge(length, limit);
        reserve(length);
        return reach(() => read(redis, KEY + id, length));
      });
      if (found) count.hits++;
      else count.misses++;
      return found;
    },
    async remove(id) {
      const removed = await call(() => reach(() => redis.unlink(KEY + id)));
      count.removals += removed;
      return removed > 0;
    },
    trouble,
    passedOver() {
      count.failures++;
    },
    stats: () => ({ ...count, evictions: undefined, entries: undefined, bytes: undefined }),
    async close() {
      redis.disconnect();
    },
  };
}

async function append(redis: Redis, key: string, pieces: readonly Uint8Array[], ttl: number): Promise<void> {
  const length = lengthOf(pieces);
  const checkTime = timeLimit(length);
  const [first, ...others] = partsOf(pieces);
  try {
    // Together: a list without an end of its time would stay for ever.
    await all(redis.multi().rpush(key, String(length), first).pexpire(key, ttl).exec());
    for (const part of others) {
      checkTime();
      if ((await redis.rpushx(key, part)) === 0) throw new Gone('what was put is gone before it was complete');
    }
  } catch (error) {
    // Nobody will ask for it. The server may be gone as well: nobody waits for this.
    redis.unlink(key).catch(() => {});
    throw error;
  }
}

/** The server has made room for something else. */
class Gone extends Error {
  override readonly name = 'Gone';
}

/** How many bytes an entry has; undefined if it is not there, or something else is. */
async function lengthAt(redis: Redis, key: string): Promise<number | undefined> {
  try {
    const text = await redis.lindex(key, 0);
    return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
  } catch (error) {
    if ((error as Error).message.startsWith('WRONGTYPE')) return undefined;
    throw error;
  }
}

/** An entry of so many bytes; undefined if it does not have them, or no longer. */
async function read(redis: Redis, key: string, length: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const whole = new Uint8Array(length);
  const checkTime = timeLimit(length);
  let at = 0;
  for (let i = 1; at < length; i++) {
    checkTime();
    const part = await redis.lindexBuffer(key, i);
    if (part === null || at + part.length > length) return undefined;
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** The results of several commands that were sent together. */
async function all(sent: Promise<[error: Error | null, result: unknown][] | null>): Promise<unknown[]> {
  const results = (await sent.catch(throwFirst)) ?? [];
  for (const [error] of results) if (error) throw error;
  return results.map(([, result]) => result);
}

/** Where a command is refused before all of them run, the last one says only that this was so. */
function throwFirst(error: Error & { previousErrors?: readonly Error[] }): never {
  throw error.previousErrors?.[0] ?? error;
}

function partsOf(pieces: readonly Uint8Array[]): Buffer[] {
  return pieces.flatMap(({ buffer, byteOffset, byteLength }) => {
    const count = Math.ceil(byteLength / PART_BYTES);
    return Array.from({ length: count }, (_, i) => {
      const from = i * PART_BYTES;
      return Buffer.from(buffer, byteOffset + from, Math.min(PART_BYTES, byteLength - from));
    });
  });
}

function timeLimit(bytes: number): () => void {
  const end = performance.now() + LIMIT_MS + bytes / BYTES_PER_MS;
  return () => {
    if (performance.now() > end) throw new Error('the server takes too long');
  };
}
