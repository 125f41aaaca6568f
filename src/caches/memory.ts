import { LRUCache } from 'lru-cache';
import { type CacheStore, CacheTooLarge, joined, lengthOf } from './store.js';

/** What an entry takes beside its bytes: its id, its place in the table, its timer and the objects of its pieces. */
const ENTRY_BYTES = 1024;

/**
 * Caches in the memory of this instance. What is used least recently goes first when they take more than `limit` bytes;
 * each goes when its time is over.
 */
export function memoryStore(limit: number): CacheStore {
  const count = { puts: 0, hits: 0, misses: 0, evictions: 0 };
  const entries = new LRUCache<string, readonly Uint8Array[]>({
    maxSize: limit,
    sizeCalculation: (pieces) => ENTRY_BYTES + lengthOf(pieces),
    ttlAutopurge: true,
    ttl: 1, // of each entry its own, but the option must be there
    dispose: (_pieces, _id, reason) => {
      if (reason === 'evict') count.evictions++;
    },
  });
  const largest = Math.max(0, limit - ENTRY_BYTES);
  return {
    largest,
    async put(id, pieces, ttl) {
      const bytes = lengthOf(pieces);
      if (ENTRY_BYTES + bytes > limit) throw new CacheTooLarge(bytes, largest);
      count.puts++;
      if (ttl > 0) entries.set(id, pieces, { ttl });
    },
    async get(id, reserve) {
      const pieces = entries.get(id);
      if (pieces) count.hits++;
      else count.misses++;
      if (pieces === undefined) return undefined;
      reserve(lengthOf(pieces));
      return joined(pieces);
    },
    trouble: () => undefined,
    passedOver() {},
    stats: () => ({ ...count, failures: 0, entries: entries.size, bytes: entries.calculatedSize }),
    async close() {
      entries.clear();
    },
  };
}
