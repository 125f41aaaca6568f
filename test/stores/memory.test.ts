import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { memoryStore } from '../../src/stores/memory.js';
import { CacheTooLarge, joined } from '../../src/stores/store.js';

const bytes = (length: number, value = 1) => new Uint8Array(length).fill(value);
const LONG = 1_000_000;
/** Wherever there is memory enough. */
const ignored = () => {};
/** Room for entries of 1 KiB, each with what it takes beside its bytes. */
const roomFor = (entries: number) => memoryStore(entries * 2048);

describe('caches in memory', () => {
  it('come back as they were put, as often as they are asked for, each time in memory of its own', async () => {
    const store = roomFor(4);
    await store.put('a', [bytes(3, 1), bytes(2, 2)], LONG, 'me');
    for (let i = 0; i < 2; i++) {
      const got = await store.get('a', ignored);
      expect([...(got ?? [])]).toEqual([1, 1, 1, 2, 2]);
      structuredClone(got?.buffer, { transfer: [got?.buffer as ArrayBuffer] }); // as a worker takes it
    }
    expect(await store.get('b', ignored)).toBeUndefined();
    expect(store.stats()).toEqual({
      ...{ puts: 1, hits: 2, misses: 1, removals: 0, failures: 0, evictions: 0 },
      ...{ entries: 1, bytes: 1029 },
    });
  });

  it('are not copied where there is no memory for them: the size is told first', async () => {
    const store = roomFor(4);
    await store.put('a', [bytes(3), bytes(700)], LONG, 'me');
    const asked: number[] = [];
    const refuse = (bytes: number) => {
      asked.push(bytes);
      throw new RangeError('no memory');
    };
    await expect(store.get('a', refuse)).rejects.toThrow(RangeError);
    expect(await store.get('b', refuse)).toBeUndefined();
    expect(asked).toEqual([703]);
    expect(await store.get('a', ignored)).toHaveLength(703);
  });

  it('make room for new ones: what was used least recently goes first', async () => {
    const store = roomFor(3);
    for (const id of ['a', 'b', 'c']) await store.put(id, [bytes(1024)], LONG, 'me');
    await store.get('a', ignored);
    await store.put('d', [bytes(1024)], LONG, 'me');
    const there = await Promise.all(['a', 'b', 'c', 'd'].map((id) => store.get(id, ignored)));
    expect(there.map((one) => one !== undefined)).toEqual([true, false, true, true]);
    expect(store.stats()).toMatchObject({ evictions: 1, entries: 3, bytes: 3 * 2048 });
  });

  it('make room by whoever has most of them, whatever others put and use', async () => {
    const store = roomFor(10);
    for (const id of ['a', 'b', 'c']) await store.put(id, [bytes(1024)], LONG, 'polite');
    await store.put('d', [bytes(1024)], LONG, 'other');
    for (let i = 0; i < 100; i++) await store.put(`flood ${i}`, [bytes(1024)], LONG, 'greedy');
    const isThere = async (id: string) => (await store.get(id, ignored)) !== undefined;
    for (const id of ['a', 'b', 'c', 'd', 'flood 99', 'flood 94']) expect(await isThere(id)).toBe(true);
    expect(await isThere('flood 93')).toBe(false);
    expect(store.stats()).toMatchObject({ evictions: 94, entries: 10, bytes: 10 * 2048 });
    // Many others that have one each do not push out what the polite one has, but make the greedy one's less.
    for (let i = 0; i < 3; i++) await store.put(`one ${i}`, [bytes(1024)], LONG, `caller ${i}`);
    for (const id of ['a', 'b', 'c', 'd', 'flood 99', 'flood 98']) expect(await isThere(id)).toBe(true);
    // Alone, a caller may have all.
    const own = roomFor(10);
    for (let i = 0; i < 10; i++) await own.put(`${i}`, [bytes(1024)], LONG, 'alone');
    expect(own.stats().entries).toBe(10);
  });

  it('that are removed give back their bytes, to all that count them, and stay whole for whoever has asked before', async () => {
    const store = roomFor(3);
    for (const id of ['a', 'b', 'c']) await store.put(id, [bytes(500), bytes(524)], LONG, id === 'c' ? 'you' : 'me');
    const asked = store.get('a', ignored);
    expect(await store.remove('a')).toBe(true);
    expect(await asked).toHaveLength(1024);
    expect(await store.remove('a')).toBe(false);
    expect(await store.remove('never')).toBe(false);
    expect(store.stats()).toMatchObject({ removals: 1, evictions: 0, entries: 2, bytes: 2 * 2048 });
    await store.put('d', [bytes(1024)], LONG, 'you'); // in the room of a
    expect(store.stats()).toMatchObject({ evictions: 0, entries: 3 });
    await store.put('e', [bytes(1024)], LONG, 'new');
    expect(await store.get('c', ignored)).toBeUndefined(); // you had most
    expect(await store.get('b', ignored)).toBeDefined();
  });

  it('never take more than the limit, whatever is put', async () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 20_000 }), { maxLength: 50 });
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer({ min: 1, max: 40_000 }), async (all, limit) => {
        const store = memoryStore(limit);
        expect(store.largest).toBe(Math.max(0, limit - 1024));
        for (const [i, size] of all.entries()) {
          const put = store.put(`${i}`, [bytes(size)], LONG, 'me');
          if (size + 1024 > limit) await expect(put).rejects.toThrow(CacheTooLarge);
          else {
            await put;
            expect(await store.get(`${i}`, ignored)).toHaveLength(size); // what was put last is there
          }
          expect(store.stats().bytes).toBeLessThanOrEqual(limit);
        }
        await store.close();
        expect(store.stats()).toMatchObject({ entries: 0, bytes: 0 });
      }),
    );
  });

  it('too large for the limit are refused, both amounts named, and push nothing out', async () => {
    const store = memoryStore(3000);
    await store.put('a', [bytes(1000)], LONG, 'me');
    await expect(store.put('b', [bytes(1000), bytes(1000)], LONG, 'me')).rejects.toThrow(
      '2000 bytes are to be kept, but the limit is 1976 bytes',
    );
    expect(await store.get('a', ignored)).toBeDefined();
  });

  it('go when their time is over, and give back their bytes without being asked for', async () => {
    const store = roomFor(4);
    await store.put('short', [bytes(10)], 30, 'me');
    await store.put('long', [bytes(10)], LONG, 'me');
    await store.put('over', [bytes(10)], -5, 'me');
    expect(store.stats().entries).toBe(2);
    await vi.waitFor(() => expect(store.stats()).toMatchObject({ entries: 1, bytes: 1034 }), 10_000);
    expect(await store.get('short', ignored)).toBeUndefined();
    expect(await store.get('long', ignored)).toBeDefined();
  });
});

describe('pieces as one', () => {
  it('are the pieces one after the other, also where they are many and large', async () => {
    const pieces = [5, 0, 9_000_001, 4_194_304, 3, 4_194_303].map((length, i) => bytes(length, i + 1));
    expect(Buffer.concat(pieces).equals(await joined(pieces))).toBe(true);
  });

  it('that are large leave the event loop its turns', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    await joined([bytes(2 ** 26), bytes(2 ** 26)]);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(5);
  });
});
