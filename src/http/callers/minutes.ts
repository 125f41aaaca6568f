import type { FastifyRateLimitStore } from '@fastify/rate-limit';

/** How many callers an instance counts for itself; the one that was away the longest is forgotten first. */
const CALLERS = 10_000;

/**
 * Counts the requests of each caller in the minute that began with the first of them. The package's own store goes by the
 * time of day: set back by an hour, it would shut a caller out for that hour.
 */
export class Minutes implements FastifyRateLimitStore {
  /** When the minute of each began, and how many requests it has made since; who came last stands last. */
  readonly #callers = new Map<string, { readonly start: number; readonly count: number }>();

  incr(caller: string, done: (error: null, counted: { current: number; ttl: number }) => void, windowMs: number): void {
    const now = performance.now();
    const known = this.#callers.get(caller);
    const isOver = known === undefined || now - known.start >= windowMs;
    const { start, count } = isOver ? { start: now, count: 0 } : known;
    this.#callers.delete(caller);
    this.#callers.set(caller, { start, count: count + 1 });
    for (const [longest] of this.#callers) {
      if (this.#callers.size <= CALLERS) break;
      this.#callers.delete(longest);
    }
    done(null, { current: count + 1, ttl: start + windowMs - now });
  }

  child(): Minutes {
    return new Minutes();
  }
}
