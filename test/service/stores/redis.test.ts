import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { connectRedis } from '../../../src/settings/redis.js';
import { cacheId } from '../../../src/stores/cache-id.js';
import { redisStore } from '../../../src/stores/redis.js';
import { CacheBusy, type CacheStore, CacheTooLarge, CacheUnavailable } from '../../../src/stores/store.js';
import { freePort, hasRedis, type RedisServer, startRedis } from '../redis.js';

const LONG = 600_000;
const MB = 2 ** 20;
/** Wherever there is memory enough. */
const ignored = () => {};
/** Generous: the machine may be busy. */
const PATIENT = { timeout: 30_000, interval: 50 };

const open: CacheStore[] = [];
afterEach(async () => {
  for (const store of open.splice(0)) await store.close();
});

/** A store on this server, and the log of its connection. */
function storeAt(url: string, limit = 64 * MB, callers = 100): { store: CacheStore; log: Record<string, unknown>[] } {
  const log: Record<string, unknown>[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => log.push(JSON.parse(line)) });
  const store = redisStore(connectRedis(url, logger), { limit, callers });
  open.push(store);
  return { store, log };
}

const idOf = (ttl = LONG) => cacheId(Date.now() + ttl);
const isThere = (store: CacheStore) => vi.waitFor(() => store.get('none', ignored), PATIENT);

let redis: RedisServer;
beforeAll(async () => {
  if (hasRedis) redis = await startRedis();
});
afterAll(() => redis?.stop());

describe.skipIf(!hasRedis)('caches in Redis', () => {
  it('come back as they were put, from any instance: small ones, large ones, and those in many pieces', async () => {
    const [one, other] = [storeAt(redis.url).store, storeAt(redis.url).store];
    await Promise.all([one, other].map(isThere));
    for (const lengths of [[1], [5, 7, 9], [4 * MB], [4 * MB + 1, 3], [9 * MB, 1, 9 * MB]]) {
      const pieces = lengths.map((length) => Uint8Array.from(randomBytes(length)));
      const id = idOf();
      await one.put(id, pieces, LONG, 'me');
      const got = await other.get(id, ignored);
      expect(Buffer.concat(pieces).equals(got ?? Buffer.alloc(0))).toBe(true);
      expect(got?.byteOffset).toBe(0);
    }
    expect(one.stats()).toMatchObject({ puts: 5, hits: 0 });
    expect(other.stats()).toMatchObject({ puts: 0, hits: 5, misses: 1 });
  });

  it('have an end, go there as a whole, and are then absent', async () => {
    const { store } = storeAt(redis.url);
    await isThere(store);
    const [short, long] = [idOf(), idOf()];
    await store.put(long, [new Uint8Array(9 * MB)], 5000, 'me');
    await store.put(short, [new Uint8Array(9)], 50, 'me');
    const client = connectRedis(redis.url, pino({ level: 'silent' }));
    const ttl = await vi.waitFor(() => client.pttl(`unroll:cache:${long}`), PATIENT);
    expect(ttl).toBeGreaterThan(0);
    expect(ttl).toBeLessThanOrEqual(5000);
    await vi.waitFor(async () => expect(await store.get(short, ignored)).toBeUndefined(), PATIENT);
    await client.del(`unroll:cache:${long}`);
    expect(await store.get(long, ignored)).toBeUndefined();
    client.disconnect();
  });

  it('are removed for all instances, whatever they consist of', async () => {
    const [one, other] = [storeAt(redis.url).store, storeAt(redis.url).store];
    await Promise.all([one, other].map(isThere));
    for (const length of [1, 9 * MB]) {
      const id = idOf();
      await one.put(id, [new Uint8Array(length)], LONG, 'me');
      expect(await other.remove(id)).toBe(true);
      expect(await one.get(id, ignored)).toBeUndefined();
      expect(await one.remove(id)).toBe(false);
    }
    expect(one.stats().removals).toBe(0);
    expect(other.stats().removals).toBe(2);
  });

  it('over the limit are refused, both amounts named', async () => {
    const { store } = storeAt(redis.url, 1000);
    await isThere(store);
    const put = store.put(idOf(), [new Uint8Array(999), new Uint8Array(2)], LONG, 'me');
    await expect(put).rejects.toThrow(CacheTooLarge);
    await expect(put).rejects.toThrow('1001 bytes are to be kept, but the limit is 1000 bytes');
    const larger = storeAt(redis.url).store;
    await isThere(larger);
    const id = idOf();
    await larger.put(id, [new Uint8Array(9 * MB)], LONG, 'me');
    await expect(store.get(id, ignored)).rejects.toThrow(CacheTooLarge);
  });

  it('are not fetched where there is no memory for them: the size is told first', async () => {
    const { store } = storeAt(redis.url);
    await isThere(store);
    const client = connectRedis(redis.url, pino({ level: 'silent' }));
    const sent = async () => Number(/total_net_output_bytes:(\d+)/.exec(await client.info('stats'))?.[1]);
    const before = await vi.waitFor(sent, PATIENT);
    const id = idOf();
    await store.put(id, [new Uint8Array(9 * MB), new Uint8Array(MB)], LONG, 'me');
    const { failures } = store.stats(); // until the connection was there
    const asked: number[] = [];
    const refuse = (bytes: number) => {
      asked.push(bytes);
      throw new RangeError('no memory');
    };
    await expect(store.get(id, refuse)).rejects.toThrow(RangeError);
    expect(asked).toEqual([10 * MB]);
    expect((await sent()) - before).toBeLessThan(MB);
    expect(store.stats().failures).toBe(failures);
    expect(await store.get(id, ignored)).toHaveLength(10 * MB);
    client.disconnect();
  });

  it('that are not complete are absent', async () => {
    const { store } = storeAt(redis.url);
    await isThere(store);
    const client = connectRedis(redis.url, pino({ level: 'silent' }));
    const id = idOf();
    await store.put(id, [new Uint8Array(9 * MB)], LONG, 'me');
    await vi.waitFor(() => client.rpop(`unroll:cache:${id}`), PATIENT);
    expect(await store.get(id, ignored)).toBeUndefined();
    for (const length of ['', '-5', '1e3', 'x', '999999999999999999', '4']) {
      await client.lset(`unroll:cache:${id}`, 0, length);
      expect(await store.get(id, ignored), length).toBeUndefined();
    }
    client.disconnect();
  });

  it('that are something else are absent', async () => {
    const { store } = storeAt(redis.url);
    await isThere(store);
    const client = connectRedis(redis.url, pino({ level: 'silent' }));
    const id = idOf();
    await vi.waitFor(() => client.set(`unroll:cache:${id}`, 'a string'), PATIENT);
    expect(await store.get(id, ignored)).toBeUndefined();
    client.disconnect();
  });

  it('that the server has no room for are unavailable, and those it has stay', async () => {
    const small = await startRedis(undefined, ['--maxmemory', '20mb', '--maxmemory-policy', 'noeviction']);
    const { store } = storeAt(small.url);
    await isThere(store);
    const id = idOf();
    await store.put(id, [new Uint8Array(MB)], LONG, 'me');
    const fill = async () => {
      for (let i = 0; i < 40; i++) await store.put(idOf(), [new Uint8Array(MB)], LONG, 'me');
    };
    const refused = fill();
    await expect(refused).rejects.toThrow(CacheUnavailable);
    await expect(refused).rejects.toThrow(/^OOM /);
    expect(store.trouble()).toBeUndefined(); // it has answered
    expect(await store.get(id, ignored)).toHaveLength(MB);
    await small.stop();
  });

  it('that are put by halves leave nothing there', async () => {
    const small = await startRedis(undefined, ['--maxmemory', '20mb', '--maxmemory-policy', 'noeviction']);
    const { store } = storeAt(small.url);
    await isThere(store);
    await expect(store.put(idOf(), [new Uint8Array(40 * MB)], LONG, 'me')).rejects.toThrow(CacheUnavailable);
    const client = connectRedis(small.url, pino({ level: 'silent' }));
    await vi.waitFor(async () => expect(await client.dbsize()).toBe(0), PATIENT);
    client.disconnect();
    await small.stop();
  });

  it('make room by the policy of the server: with volatile-lru, those used least recently go', async () => {
    // All are compared, not some that are drawn; and its clock of use counts seconds.
    const exact = ['--maxmemory-samples', '64'];
    const small = await startRedis(undefined, ['--maxmemory', '20mb', '--maxmemory-policy', 'volatile-lru', ...exact]);
    const { store } = storeAt(small.url);
    await isThere(store);
    const [old, recent] = [15, 10].map((count) => Array.from({ length: count }, () => idOf()));
    for (const id of old) await store.put(id, [new Uint8Array(MB)], LONG, 'me');
    await sleep(2100);
    for (const id of recent) await store.put(id, [new Uint8Array(MB)], LONG, 'me');
    for (const id of recent) expect(await store.get(id, ignored)).toHaveLength(MB);
    const there = await Promise.all(old.map((id) => store.get(id, ignored)));
    expect(there).toContain(undefined);
    await small.stop();
  });
});

describe.skipIf(!hasRedis)('a Redis that is not there', () => {
  it('fails at once, keeps nothing waiting, and is used when it comes', async () => {
    const port = await freePort();
    const { store, log } = storeAt(`redis://:not-shown@127.0.0.1:${port}`);
    const start = performance.now();
    await expect(store.put(idOf(), [new Uint8Array(3)], LONG, 'me')).rejects.toThrow(CacheUnavailable);
    await expect(store.get(idOf(), ignored)).rejects.toThrow(CacheUnavailable);
    expect(performance.now() - start).toBeLessThan(1000);
    expect(store.trouble()).toBe('there is no connection');
    await vi.waitFor(() => expect(log).toHaveLength(1), PATIENT);
    expect(store.stats().failures).toBe(2);
    store.passedOver();
    expect(store.stats().failures).toBe(3);
    const late = await startRedis(port);
    await isThere(store);
    expect(store.trouble()).toBeUndefined();
    await store.put(idOf(), [new Uint8Array(3)], LONG, 'me');
    expect(JSON.stringify(log)).not.toContain('not-shown');
    await late.stop();
  });

  it('was killed: everything fails until it is back, and then works by itself; the log has two lines of it', async () => {
    const first = await startRedis();
    const { store, log } = storeAt(first.url);
    await isThere(store);
    const id = idOf();
    await store.put(id, [new Uint8Array(3)], LONG, 'me');
    await first.stop();
    for (let i = 0; i < 20; i++) await expect(store.get(id, ignored)).rejects.toThrow(CacheUnavailable);
    // Several attempts to connect are made meanwhile.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const again = await startRedis(first.port);
    await isThere(store);
    expect(await store.get(id, ignored)).toBeUndefined();
    await store.put(id, [new Uint8Array(3)], LONG, 'me');
    expect(await store.get(id, ignored)).toHaveLength(3);
    expect(log.map(({ msg }) => msg)).toEqual([
      'redis is connected',
      'redis is lost; connecting again until it is back',
      'redis is back',
    ]);
    await again.stop();
  });
});

describe.skipIf(!hasRedis)('a Redis that stalls', () => {
  /** Passes everything on to the server until it is told to stop, and back after a delay. */
  async function stallingProxy(port: number) {
    let stalls = false;
    let delay = 0;
    let sent: Promise<unknown> = Promise.resolve();
    const sockets = new Set<Socket>();
    const server = createServer((from) => {
      const to = connect(port, '127.0.0.1');
      for (const [one, other] of [
        [from, to],
        [to, from],
      ]) {
        sockets.add(one);
        one.on('error', () => {}).on('close', () => other.destroy());
        one.on('data', (data: Buffer) => {
          if (stalls) return;
          if (other === to) to.write(data);
          else {
            const goesAt = performance.now() + delay;
            sent = sent // answers keep their order
              .then(() => sleep(goesAt - performance.now()))
              .then(() => from.write(data));
          }
        });
      }
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {
      url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
      stall: (now: boolean) => {
        stalls = now;
      },
      slow: (ms: number) => {
        delay = ms;
      },
      close: () => {
        for (const socket of sockets) socket.destroy();
        server.close();
      },
    };
  }

  it('fails within its limit, holds no more than the limit, and works again when it answers', async () => {
    const proxy = await stallingProxy(redis.port);
    const { store } = storeAt(proxy.url, 10 * MB);
    await isThere(store);
    const id = idOf();
    await store.put(id, [new Uint8Array(100)], LONG, 'me');
    proxy.stall(true);
    const start = performance.now();
    const puts = Array.from({ length: 20 }, () => store.put(idOf(), [new Uint8Array(MB)], LONG, 'me'));
    const results = await Promise.allSettled([...puts, store.get(id, ignored)]);
    expect(performance.now() - start).toBeLessThan(8000);
    for (const result of results) {
      expect(result).toMatchObject({ reason: { name: expect.stringMatching(/^Cache(Unavailable|Busy)$/) } });
    }
    const refused = results.filter((one) => one.status === 'rejected' && one.reason instanceof CacheBusy);
    expect(refused).toHaveLength(10);
    proxy.stall(false);
    await isThere(store);
    expect(await store.get(id, ignored)).toHaveLength(100);
    proxy.close();
  });

  it('or takes too long is then tried once a second; all others hear at once that it is unavailable', async () => {
    const proxy = await stallingProxy(redis.port);
    const { store } = storeAt(proxy.url, 64 * MB, 1000);
    await isThere(store);
    const times: number[] = [];
    const callFor = async (calls: number) => {
      for (let i = 0; i < calls; i++) {
        const start = performance.now();
        const call = i % 2 === 0 ? store.get(idOf(), ignored) : store.put(idOf(), [new Uint8Array(9)], LONG, 'me');
        void call.catch(() => {}).then(() => times.push(performance.now() - start));
        await sleep(10);
      }
    };
    // Longer and longer: the connection is never silent for so long that it counts as lost.
    proxy.slow(1500);
    await callFor(200);
    proxy.slow(3000);
    await callFor(200);
    const troubles = new Set<string | undefined>();
    const asking = setInterval(() => troubles.add(store.trouble()), 10);
    const before = times.length;
    times.splice(0);
    await callFor(200);
    clearInterval(asking);
    expect([...troubles]).toContain('the server has failed a moment ago');
    expect(before).toBeGreaterThan(0);
    expect(times.length).toBeGreaterThan(150);
    expect(times.filter((ms) => ms < 500).length).toBeGreaterThan(times.length / 2);
    proxy.slow(0);
    await isThere(store);
    for (let i = 0; i < 20; i++) expect(await store.get(idOf(), ignored)).toBeUndefined();
    proxy.close();
  });

  it('is not to blame where more calls come at once than may be underway: they are refused as that', async () => {
    const { store } = storeAt(redis.url, 64 * MB, 129);
    await isThere(store);
    const { failures } = store.stats();
    const ids = Array.from({ length: 200 }, () => idOf());
    const put = await Promise.allSettled(ids.map((id) => store.put(id, [new Uint8Array(9)], LONG, 'me')));
    const refused = put.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
    expect(refused).toHaveLength(71);
    for (const error of refused) expect(error).toBeInstanceOf(CacheBusy);
    expect(store.stats().failures).toBe(failures);
    expect(store.trouble()).toBeUndefined();
    expect(await store.get(ids[0], ignored)).toHaveLength(9);
  });

  it('has as many callers waiting as it may have; the others hear at once that they are too many', async () => {
    const proxy = await stallingProxy(redis.port);
    const { store } = storeAt(proxy.url, 64 * MB, 5);
    await isThere(store);
    const { failures } = store.stats();
    proxy.stall(true);
    let waiting = 20;
    const start = performance.now();
    const calls = Array.from({ length: 20 }, (_, i) => {
      const call = i % 2 === 0 ? store.get(idOf(), ignored) : store.put(idOf(), [new Uint8Array(9)], LONG, 'me');
      return call.catch((error) => {
        waiting--;
        return error;
      });
    });
    await vi.waitFor(() => expect(waiting).toBe(5), PATIENT);
    expect(performance.now() - start).toBeLessThan(1500);
    const errors = await Promise.all(calls);
    expect(errors.filter((error) => error instanceof CacheBusy)).toHaveLength(15);
    expect(errors.filter((error) => error instanceof CacheUnavailable)).toHaveLength(5);
    expect(store.stats().failures - failures).toBe(5);
    proxy.close();
  });
});
