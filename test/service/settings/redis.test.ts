import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { pipeline } from 'node:stream';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { connectRedis } from '../../../src/settings/redis.js';
import { hasRedis, type RedisServer, startRedis } from '../redis.js';

/** Generous: the machine may be busy. */
const PATIENT = { timeout: 30_000, interval: 50 };

const toStop: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of toStop.splice(0).reverse()) await stop();
});

async function serverWith(...more: string[]): Promise<RedisServer> {
  const server = await startRedis(undefined, more);
  toStop.push(() => server.stop());
  return server;
}

/** Somebody who may do everything. */
function administrator({ url }: RedisServer): Redis {
  const redis = new Redis(url);
  redis.on('error', () => {});
  toStop.push(() => redis.disconnect());
  return redis;
}

function connected(url: string) {
  const log: Record<string, unknown>[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => log.push(JSON.parse(line)) });
  const redis = connectRedis(url, logger);
  toStop.push(() => redis.disconnect());
  let attempts = 0;
  redis.on('connecting', () => attempts++);
  const statuses = new Set<string>();
  for (const status of ['connect', 'ready', 'end']) redis.on(status, () => statuses.add(status));
  return { redis, log, statuses, attempts: () => attempts };
}

const isReady = ({ redis }: { redis: Redis }) => vi.waitFor(() => expect(redis.status).toBe('ready'), PATIENT);
const isRefused = ({ attempts }: { attempts(): number }) =>
  vi.waitFor(() => expect(attempts()).toBeGreaterThan(3), PATIENT);

const lost = (reason: string) => ({ msg: 'redis is lost; connecting again until it is back', reason });

describe.skipIf(!hasRedis)('a server that refuses the database', () => {
  it('which it does not have, counts as lost: tried again and again, logged once, and nothing is in another one', async () => {
    const server = await serverWith('--databases', '1');
    const connection = connected(`${server.url}/99`);
    const writing = setInterval(() => void connection.redis.set('a', '1').catch(() => {}), 1);
    toStop.push(() => clearInterval(writing));
    await isRefused(connection);
    expect([...connection.statuses]).toEqual(['connect']);
    expect(connection.log).toMatchObject([lost('ERR DB index is out of range')]);
    expect(await administrator(server).dbsize()).toBe(0);

    await server.stop();
    const larger = await startRedis(server.port, ['--databases', '100']);
    toStop.push(() => larger.stop());
    await isReady(connection);
    await vi.waitFor(() => connection.redis.get('a').then((value) => expect(value).toBe('1')), PATIENT);
    expect(connection.log.at(-1)).toMatchObject({ msg: 'redis is back' });
    expect(await administrator(larger).info('keyspace')).toMatch(/^# Keyspace\r\ndb99:keys=1,[^\n]*\n$/);
  });

  it('to this user, counts as lost until it is allowed', async () => {
    const server = await serverWith();
    const owner = administrator(server);
    await owner.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '+@all', '-select');
    const connection = connected(server.url.replace('//', '//app:secret@').concat('/3'));
    await isRefused(connection);
    expect([...connection.statuses]).toEqual(['connect']);
    expect(connection.log).toMatchObject([lost(expect.stringMatching(/^NOPERM.*'select'/) as unknown as string)]);
    await owner.call('ACL', 'SETUSER', 'app', '+select');
    await isReady(connection);
    await connection.redis.set('a', '1');
    expect(await owner.info('keyspace')).toContain('db3:keys=1');
    expect(JSON.stringify(connection.log)).not.toContain('secret');
  });
});

it.skipIf(!hasRedis)('a server that refuses the password counts as lost until it takes it', async () => {
  const server = await serverWith();
  const owner = administrator(server);
  await owner.call('ACL', 'SETUSER', 'app', 'on', '>old', '~*', '+@all');
  const connection = connected(server.url.replace('//', '//app:secret@'));
  await isRefused(connection);
  expect([...connection.statuses]).toEqual(['connect']);
  expect(connection.log).toMatchObject([lost('WRONGPASS invalid username-password pair or user is disabled.')]);
  await owner.call('ACL', 'SETUSER', 'app', '>secret');
  await isReady(connection);
  expect(connection.log.map(({ msg }) => msg).slice(1)).toEqual(['redis is back']);
});

it('a name with several addresses and no server has a reason in the log, too', async () => {
  const { log } = connected('redis://localhost:1');
  await vi.waitFor(() => expect(log).toMatchObject([lost(expect.stringContaining('ECONNREFUSED'))]), PATIENT);
});

describe.skipIf(!hasRedis)('after a failover', () => {
  it('what is at the address now is written to: the old primary, which is a replica, is left', async () => {
    const [old, next] = [await serverWith(), await serverWith()];
    let primary = old;
    const address = createServer((socket) => {
      const behind = connect(primary.port, '127.0.0.1');
      pipeline(socket, behind, socket, () => {});
    });
    address.listen(0, '127.0.0.1');
    toStop.push(() => address.close());
    await once(address, 'listening');
    const { port } = address.address() as AddressInfo;
    const connection = connected(`redis://127.0.0.1:${port}`);
    await isReady(connection);
    await connection.redis.set('a', '1');

    await administrator(old).replicaof('127.0.0.1', next.port);
    primary = next;
    await expect(connection.redis.set('b', '2')).rejects.toThrow('READONLY');
    await vi.waitFor(() => connection.redis.set('b', '2'), PATIENT);
    expect(await administrator(next).get('b')).toBe('2');
  });
});
