import type { FastifyBaseLogger } from 'fastify';
import type { Storage } from '../plan/request.js';
import type { Config } from '../settings/config.js';
import { cacheId, expiryOf } from '../stores/cache-id.js';
import { CacheBusy, type CacheStore, CacheTooLarge, CacheUnavailable, type Reserve } from '../stores/store.js';
import { Problem } from './problems.js';

/** Stored caches as the compute routes need them: every failure is a problem. */
export interface Caches {
  /** What the caches of a request would be stored as, if it asks for that. */
  storage(): Storage;
  /** What a request is told that was not computed, as its caches could not have been stored for this reason. */
  refused(trouble: string): Problem;
  /** @throws Problem cache-unavailable, work-too-large */
  keep(storage: Storage, pieces: readonly Uint8Array[], caller: string): Promise<void>;
  /** @throws Problem cache-not-found, cache-unavailable; and what `reserve` does */
  find(id: string, reserve: Reserve): Promise<Uint8Array<ArrayBuffer>>;
  /** @throws Problem cache-not-found, cache-unavailable */
  remove(id: string): Promise<void>;
}

export function cachesIn(store: CacheStore, { CACHE_TTL }: Pick<Config, 'CACHE_TTL'>, log: FastifyBaseLogger): Caches {
  let isFailing = false;

  /** It is logged when it is the first one after a success. */
  function unavailable(reason: string): Problem {
    if (!isFailing) log.warn({ reason }, 'stored caches are unavailable');
    isFailing = true;
    return new Problem('cache-unavailable', 'the store of caches cannot be reached, or refuses; everything else works');
  }

  async function reach<T>(work: Promise<T>): Promise<T> {
    try {
      const result = await work;
      isFailing = false;
      return result;
    } catch (error) {
      if (error instanceof CacheTooLarge) {
        const detail = `the stored caches take ${error.bytes} bytes, but the limit is ${error.limit} bytes`;
        throw new Problem('work-too-large', detail);
      }
      if (error instanceof CacheBusy) throw new Problem('overloaded', error.message);
      if (!(error instanceof CacheUnavailable)) throw error;
      throw unavailable(error.message);
    }
  }

  return {
    storage() {
      const expiresAt = Date.now() + CACHE_TTL;
      return {
        id: cacheId(expiresAt),
        expiresAt: new Date(expiresAt).toISOString(),
        limit: store.largest,
        trouble: store.trouble(),
      };
    },
    refused(trouble) {
      store.passedOver();
      return unavailable(trouble);
    },
    keep({ id, expiresAt }, pieces, caller) {
      const ttl = Math.min(Date.parse(expiresAt) - Date.now(), CACHE_TTL); // clocks can be set back
      return reach(store.put(id, pieces, ttl, caller));
    },
    async find(id, reserve) {
      const lost = whyLost(id);
      const found = lost === undefined ? await reach(store.get(id, reserve)) : undefined;
      if (found) return found;
      const detail = `/cache_id ${lost ?? NOT_THERE}`;
      throw new Problem('cache-not-found', detail, [{ pointer: '/cache_id', detail }]);
    },
    async remove(id) {
      const lost = whyLost(id);
      const isRemoved = lost === undefined && (await reach(store.remove(id)));
      if (!isRemoved) throw new Problem('cache-not-found', `the cache_id in the path ${lost ?? NOT_THERE}`);
    },
  };
}

const NOT_THERE = 'names caches that are not there: they were deleted, had to make room for others, or never were';

/** Why there are no caches of this id, where the id tells it. */
function whyLost(id: string): string | undefined {
  const expiry = expiryOf(id);
  if (expiry === undefined) return 'is none that the service has given out';
  return expiry <= Date.now() ? `names caches that expired at ${new Date(expiry).toISOString()}` : undefined;
}
