import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { describe, expect, it, vi } from 'vitest';
import { PATH } from '../../http/asking.js';
import { post, started, statuses, toStop } from '../../http/callers/limited.js';
import { hasRedis, type RedisServer, startRedis } from '../redis.js';

describe.skipIf(!hasRedis)('a limit of several instances', { timeout: 120_000 }, () => {
  async function server(port?: number): Promise<RedisServer> {
    const redis = await startRedis(port);
    toStop.push(() => redis.stop());
    return redis;
  }
  /** With ioredis' own defaults, under which commands wait for a lost server: none of ours may. */
  async function client(url: string): Promise<Redis> {
    const redis = new Redis(url);
    redis.on('error', () => {});
    toStop.push(() => redis.disconnect());
    await vi.waitFor(() => expect(redis.status).toBe('ready'), { timeout: 10_000, interval: 10 });
    return redis;
  }
  async function timed(count: number, url: string): Promise<{ found: number[]; longest: number }> {
    let longest = 0;
    const found: number[] = [];
    for (let i = 0; i < count; i++) {
      const begun = performance.now();
      found.push((await post(url)).status);
      longest = Math.max(longest, performance.now() - begun);
    }
    return { found, longest };
  }

  it('is counted together in Redis', async () => {
    const { url: address } = await server();
    const [one, two] = [
      await started({ RATE_LIMIT: 5 }, await client(address)),
      await started({ RATE_LIMIT: 5 }, await client(address)),
    ];
    const found: number[] = [];
    for (let i = 0; i < 4; i++) {
      for (const { url } of [one, two]) found.push((await post(url)).status);
    }
    expect(found).toEqual([200, 200, 200, 200, 200, 429, 429, 429]);
    const { headers } = await post(two.url);
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    expect(Number(headers.get('retry-after'))).toBeLessThanOrEqual(60);
    const keys = await (await client(address)).keys('*');
    expect(keys).toEqual(['unroll:rate:address:127.0.0.1']);
  });

  it('is each instance’s own while Redis is lost, nothing waits for it, and it is common again', async () => {
    const { port, url: address, stop } = await server();
    const redis = await client(address);
    const one = await started({ RATE_LIMIT: 20 }, redis);
    expect(await statuses(3, one.url)).toEqual([200, 200, 200]);
    await stop();
    const { found, longest } = await timed(20, one.url);
    expect(found).toEqual(Array(20).fill(200));
    expect(longest).toBeLessThan(1000);
    expect(await statuses(2, one.url)).toEqual([429, 429]); // it counts by itself meanwhile

    await server(port);
    await vi.waitFor(() => expect(redis.status).toBe('ready'), { timeout: 30_000, interval: 20 });
    await vi.waitFor(async () => expect((await post(one.url)).status).toBe(200), { timeout: 30_000, interval: 200 });
    expect((await redis.keys('unroll:rate:*')).length).toBe(1);
  });

  it('does not wait for a Redis that hangs', async () => {
    const { url: address, pid } = await server();
    const redis = await client(address);
    const { url, log } = await started({ RATE_LIMIT: 1000 }, redis);
    expect(await statuses(2, url)).toEqual([200, 200]);
    process.kill(pid, 'SIGSTOP');
    try {
      const { found, longest } = await timed(200, url);
      expect(found).toEqual(Array(200).fill(200));
      expect(longest).toBeLessThan(1500);
      // Only the first few were tried: the others did not even ask.
      await Promise.all(Array.from({ length: 50 }, () => post(url)));
      expect((redis as unknown as { commandQueue: { length: number } }).commandQueue.length).toBeLessThan(30);
      expect(log.filter(({ msg }) => msg === 'Redis cannot count requests, each instance does')).toHaveLength(1);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await vi.waitFor(
      async () => {
        await post(url);
        expect(log.some(({ msg }) => msg === 'Redis counts requests again')).toBe(true);
      },
      { timeout: 30_000, interval: 200 },
    );
    expect(JSON.stringify(log)).not.toContain('unroll:rate');
  });

  it('is kept by an instance that starts while Redis is away', async () => {
    const redis = new Redis('redis://127.0.0.1:1', { retryStrategy: () => 500 });
    redis.on('error', () => {});
    toStop.push(() => redis.disconnect());
    const { url } = await started({ RATE_LIMIT: 2 }, redis);
    const begun = performance.now();
    expect(await statuses(3, url)).toEqual([200, 200, 429]);
    expect(performance.now() - begun).toBeLessThan(3000);
  });
});

it.skipIf(!hasRedis)('a client that leaves while Redis counts its request leaves nothing behind', async () => {
  const server = await startRedis();
  toStop.push(() => server.stop());
  const redis = new Redis(server.url);
  toStop.push(() => redis.disconnect());
  const { url, pool } = await started({ RATE_LIMIT: 1_000_000 }, redis);
  process.kill(server.pid, 'SIGSTOP'); // it counts for as long as a request waits for it
  const head = `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 900000\r\n\r\n`;
  for (let i = 0; i < 20; i++) {
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => {
      socket.write(head, () => setTimeout(() => socket.resetAndDestroy(), 10));
    });
    socket.on('error', () => {});
  }
  await sleep(1000);
  process.kill(server.pid, 'SIGCONT');
  await vi.waitFor(() => expect(pool.stats()).toMatchObject({ bytes: 0, waiting: 0, running: 0 }), { timeout: 5000 });
  expect((await post(url)).status).toBe(200);
});
