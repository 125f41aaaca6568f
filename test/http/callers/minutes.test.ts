import { afterEach, describe, expect, it, vi } from 'vitest';
import { Minutes } from '../../../src/http/callers/minutes.js';

const MINUTE = 60_000;

/** What a store counts for one more request. */
function count(store: Minutes, caller: string): { current: number; ttl: number } {
  let counted = { current: Number.NaN, ttl: Number.NaN };
  store.incr(
    caller,
    (_error, one) => {
      counted = one;
    },
    MINUTE,
  );
  return counted;
}

describe('the minutes of callers', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('begin with the first request, and each is counted for itself', () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    const store = new Minutes();
    expect(count(store, 'a')).toEqual({ current: 1, ttl: MINUTE });
    vi.advanceTimersByTime(20_000);
    expect(count(store, 'a')).toEqual({ current: 2, ttl: 40_000 });
    expect(count(store, 'b')).toEqual({ current: 1, ttl: MINUTE });
    vi.advanceTimersByTime(39_999);
    expect(count(store, 'a').current).toBe(3);
    vi.advanceTimersByTime(1);
    expect(count(store, 'a')).toEqual({ current: 1, ttl: MINUTE });
    expect(count(store, 'b').current).toBe(2);
  });

  it('are a minute long, whatever happens to the time of day', () => {
    vi.useFakeTimers({ toFake: ['performance', 'Date'] });
    for (const hours of [-1, 1]) {
      const store = new Minutes();
      count(store, 'a');
      vi.setSystemTime(Date.now() + hours * 60 * MINUTE);
      expect(count(store, 'a').current).toBe(2);
      vi.advanceTimersByTime(MINUTE);
      expect(count(store, 'a').current).toBe(1);
    }
  });

  it('of 10,000 callers are known; beyond them the one that was away the longest is forgotten', () => {
    const store = new Minutes();
    for (let i = 0; i < 10_000; i++) count(store, `${i}`);
    expect(count(store, '0').current).toBe(2);
    count(store, 'one more');
    expect(count(store, '0').current).toBe(3);
    expect(count(store, '2').current).toBe(2);
    expect(count(store, '1').current).toBe(1);
  });
});
