import { type CacheStore, CacheTooLarge, joined, lengthOf } from './store.js';

/** What an entry takes beside its bytes: its id, its places in the tables, its timer and the objects of its pieces. */
const ENTRY_BYTES = 1024;

interface Entry {
  readonly owner: Owner;
  readonly pieces: readonly Uint8Array[];
  readonly bytes: number;
  readonly timer: NodeJS.Timeout;
}

/** Whoever has put entries that are there. */
interface Owner {
  readonly name: string;
  /** The one that was used least recently comes first. */
  readonly ids: Set<string>;
  bytes: number;
}

/**
 * Caches in the memory of this instance; each goes when its time is over. When they take more than `limit` bytes,
 * whoever has most of them loses what was used least recently: so nobody can push out what others have put, but
 * those who have more.
 */
export function memoryStore(limit: number): CacheStore {
  const count = { puts: 0, hits: 0, misses: 0, removals: 0, evictions: 0 };
  const entries = new Map<string, Entry>();
  const owners = new Map<string, Owner>();
  let bytes = 0;
  const largest = Math.max(0, limit - ENTRY_BYTES);

  function remove(id: string): void {
    const entry = entries.get(id);
    if (!entry) return;
    const { owner } = entry;
    clearTimeout(entry.timer);
    entries.delete(id);
    owner.ids.delete(id);
    bytes -= entry.bytes;
    owner.bytes -= entry.bytes;
    if (owner.ids.size === 0) owners.delete(owner.name);
  }

  function evict(): void {
    let most: Owner | undefined;
    for (const owner of owners.values()) if (owner.bytes > (most?.bytes ?? 0)) most = owner;
    const [oldest] = most?.ids ?? [];
    remove(oldest);
    count.evictions++;
  }

  return {
    largest,
    async put(id, pieces, ttl, caller) {
      const size = lengthOf(pieces) + ENTRY_BYTES;
      if (size > limit) throw new CacheTooLarge(size - ENTRY_BYTES, largest);
      count.puts++;
      remove(id);
      if (ttl <= 0) return;
      const owner = owners.get(caller) ?? { name: caller, ids: new Set(), bytes: 0 };
      owners.set(caller, owner);
      owner.ids.add(id);
      owner.bytes += size;
      bytes += size;
      entries.set(id, { owner, pieces, bytes: size, timer: setTimeout(remove, ttl, id).unref() });
      while (bytes > limit) evict();
    },
    async get(id, reserve) {
      const entry = entries.get(id);
      if (entry) count.hits++;
      else count.misses++;
      if (entry === undefined) return undefined;
      const { ids } = entry.owner;
      ids.delete(id);
      ids.add(id);
      reserve(entry.bytes - ENTRY_BYTES);
      return joined(entry.pieces);
    },
    async remove(id) {
      if (!entries.has(id)) return false;
      remove(id);
      count.removals++;
      return true;
    },
    trouble: () => undefined,
    passedOver() {},
    stats: () => ({ ...count, failures: 0, entries: entries.size, bytes }),
    async close() {
      for (const id of entries.keys()) remove(id);
    },
  };
}
