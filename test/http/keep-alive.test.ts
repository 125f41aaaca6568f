import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { type Started, start } from './start.js';

let service: Started;
let socket: Socket;
afterEach(async () => {
  socket.destroy();
  await service.stop();
});

/** One answer of the connection, whole. */
async function ask(): Promise<string> {
  socket.write('GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n');
  let received = '';
  while (!received.endsWith('}')) received += (await once(socket, 'data'))[0];
  return received;
}

async function connected(settings: { KEEP_ALIVE_TIMEOUT: number; IDLE_TIMEOUT: number }): Promise<void> {
  service = await start({ workers: 1, kernels: 'scalar', settings });
  socket = connect(Number(new URL(service.url).port), '127.0.0.1');
  await once(socket, 'connect');
}

describe('an idle connection', () => {
  it('stays open for KEEP_ALIVE_TIMEOUT, however short IDLE_TIMEOUT is, and for each request anew', async () => {
    await connected({ KEEP_ALIVE_TIMEOUT: 620_000, IDLE_TIMEOUT: 300 });
    for (let i = 0; i < 3; i++) {
      expect(await ask()).toMatch(/^HTTP\/1.1 200 .*\r\nKeep-Alive: timeout=620\r\n/s);
      await sleep(900);
    }
    expect(await ask()).toMatch(/^HTTP\/1.1 200 /);
  });

  it('is closed after it, and within a second more, without another answer', async () => {
    await connected({ KEEP_ALIVE_TIMEOUT: 500, IDLE_TIMEOUT: 30_000 });
    await ask();
    const start = performance.now();
    let more = '';
    socket.on('data', (data) => {
      more += data;
    });
    await once(socket, 'close');
    expect(performance.now() - start).toBeGreaterThan(450);
    expect(performance.now() - start).toBeLessThan(10_000);
    expect(more).toBe('');
  });

  it('does not hold up a stop, however long it may stay', async () => {
    await connected({ KEEP_ALIVE_TIMEOUT: 620_000, IDLE_TIMEOUT: 30_000 });
    await ask();
    const closed = once(socket, 'close');
    socket.resume();
    const start = performance.now();
    await service.app.drain({ grace: 0, limit: 60_000 });
    await closed;
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});
