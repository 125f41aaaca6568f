import fc from 'fast-check';
import { expect, it } from 'vitest';
import { cacheId, expiryOf } from '../../src/stores/cache-id.js';

it('an id tells when its caches expire', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 36 ** 9 - 1 }), (expiresAt) => {
      const id = cacheId(expiresAt);
      expect(expiryOf(id)).toBe(expiresAt);
      expect(id).toHaveLength(46);
    }),
  );
});

it('no two ids are the same, also of caches that expire together', () => {
  expect(new Set(Array.from({ length: 1000 }, () => cacheId(1))).size).toBe(1000);
});

it('what no id looks like is known as such', () => {
  const id = cacheId(1e12);
  fc.assert(fc.property(fc.string(), (text) => expiryOf(text) === undefined));
  for (const text of ['', id.slice(1), `${id}0`, id.toUpperCase(), id.replaceAll('-', '/'), `${id}\n`]) {
    expect(expiryOf(text), text).toBeUndefined();
  }
});
