import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { type Limits, type Started, start } from '../../http/start.js';
import { numbersFrom, operationCalled, tensorsFor } from '../../values.js';

const PATH = '/v1/lstm/forward';
const JSON_TYPE = { 'content-type': 'application/json' };
const bodyFor = (n_x: number, n_a: number, m: number, T_x: number) => {
  const choices = { prediction: true, way: 0, extras: false };
  const dims = { n_x, n_a, n_y: 1, m, T_x };
  return JSON.stringify(tensorsFor(operationCalled('lstmForward').request, dims, numbersFrom(1, 0.2), choices));
};
const quick = bodyFor(2, 3, 2, 3);
/** A second or more of one worker, from a body of 3 MB. */
const slow = bodyFor(1, 300, 1, 6000);
/** An answer of more than the buffers of a connection hold. */
const long = bodyFor(1, 20, 1, 50_000);

let service: Started;
afterEach(() => service.stop());
const started = async (limits: Limits) => {
  service = await start(limits);
};
const post = (body: string, headers: Record<string, string> = {}, signal?: AbortSignal) =>
  fetch(service.url + PATH, { method: 'POST', headers: { ...JSON_TYPE, ...headers }, body, signal: signal ?? null });

async function until(condition: () => boolean, ms = 10_000): Promise<void> {
  for (const end = performance.now() + ms; !condition(); await sleep(5)) {
    if (performance.now() > end)
      throw new Error(`not within ${ms} ms: ${condition} ${JSON.stringify(service.pool.stats())}`);
  }
}
const isIdle = () => {
  const { waiting, running, busy, bytes } = service.pool.stats();
  return waiting + running + busy + bytes === 0;
};

/** A connection that has sent a text, and what has come back; `closed` resolves when nothing more will. */
function send(text: string): { socket: Socket; answer(): string; closed: Promise<unknown> } {
  let answer = '';
  const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
  socket.write(text);
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    answer += chunk;
  });
  return { socket, answer: () => answer, closed: once(socket, 'close') };
}
const head = (length: number) =>
  `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`;

describe('a deadline', () => {
  it('of the caller is met with 504, and the work is stopped', async () => {
    await started({ workers: 1 });
    const answer = await post(slow, { 'x-deadline-ms': '300' });
    expect(answer.status).toBe(504);
    expect(await answer.json()).toMatchObject({
      code: 'deadline-exceeded',
      detail: 'the answer was not ready within 300 ms',
    });
    await until(isIdle);
    expect((await post(quick, { 'x-deadline-ms': '30000' })).status).toBe(200);
    expect(service.pool.stats().restarts).toBe(0);
  });

  it.each([0, 30_000])('is met while the body arrives, of %i bytes of which one comes at a time', async (length) => {
    await started({ workers: 1 });
    const head = `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nx-deadline-ms: 400\r\n`;
    const size = length === 0 ? 'transfer-encoding: chunked' : `content-length: ${length}`;
    const start = performance.now();
    const { socket, answer } = send(`${head}${size}\r\n\r\n`);
    const timer = setInterval(() => socket.write(length === 0 ? '1\r\n \r\n' : ' '), 50);
    await until(() => answer().endsWith('}'));
    clearInterval(timer);
    expect(performance.now() - start).toBeLessThan(2000);
    expect(answer()).toMatch(/^HTTP\/1.1 504 /);
    expect(answer()).toContain('within 400 ms');
    expect(isIdle()).toBe(true);
    socket.destroy();
  });

  it('of the configuration holds where the caller names none', async () => {
    await started({ workers: 1, deadline: 300 });
    expect((await post(slow)).status).toBe(504);
    expect((await post(slow, { 'x-deadline-ms': '60000' })).status).toBe(200);
  });

  it.each(['0', '-1', '1.5', 'soon', '600001', '1e3', '9'.repeat(30)])(
    'of %j is refused with both sides named',
    async (value) => {
      await started({ workers: 1 });
      const answer = await post(quick, { 'x-deadline-ms': value });
      expect(answer.status).toBe(400);
      const { code, title, detail } = (await answer.json()) as { code: string; title: string; detail: string };
      expect(code).toBe('invalid-request');
      expect(title).toContain('or a header'); // it has no wrong member
      expect(detail).toBe(
        `x-deadline-ms is ${JSON.stringify(value)}, but must be a whole number of milliseconds from 1 to 600000`,
      );
    },
  );
});

describe('a full queue', () => {
  it('refuses when the head has come: a client that asks before it sends is told so, and a body is held nowhere', async () => {
    await started({ workers: 1, queueLimit: 0 });
    const running = post(slow);
    await until(() => service.pool.stats().running === 1);
    const asking = send(`${head(1e6).trimEnd()}\r\nexpect: 100-continue\r\n\r\n`);
    await until(() => asking.answer().endsWith('}'));
    expect(asking.answer()).toMatch(/^HTTP\/1.1 429 .*\r\nretry-after: 1\r\n.*"code":"queue-full"/s);
    asking.socket.destroy();

    await until(() => service.pool.stats().bytes > 1e8); // what the running one takes, all of it
    await sleep(50);
    const before = service.pool.stats().bytes;
    const sending = send(head(8e6));
    sending.socket.write(Buffer.alloc(6e6, ' '));
    await sleep(200);
    expect(service.pool.stats().bytes).toBeLessThanOrEqual(before);
    sending.socket.write(Buffer.alloc(2e6, ' '));
    await until(() => sending.answer().endsWith('}'));
    expect(sending.answer()).toMatch(/^HTTP\/1.1 429 /);
    sending.socket.destroy();
    expect((await running).status).toBe(200);
  });
});

describe('a client that leaves', () => {
  it('while its request waits or is computed, stops it', async () => {
    await started({ workers: 1 });
    const gone = new AbortController();
    const requests = Array.from({ length: 5 }, () => post(slow, {}, gone.signal).catch(() => 'gone'));
    await until(() => service.pool.stats().running + service.pool.stats().waiting === 5);
    const start = performance.now();
    gone.abort();
    await until(isIdle);
    expect(performance.now() - start).toBeLessThan(1500);
    await Promise.all(requests);
    expect((await post(quick)).status).toBe(200);
    expect(service.pool.stats().restarts).toBe(0);
    expect(service.log.filter(({ msg }) => msg === 'request failed')).toEqual([]);
    await until(() => service.log.some(({ msg }) => msg === 'the client has left'));
  });

  it('having closed its half of the connection, stops it, too', async () => {
    await started({ workers: 1 });
    const { socket } = send(head(slow.length) + slow);
    await until(() => service.pool.stats().busy === 1);
    socket.end();
    await until(isIdle);
    expect(service.log.some(({ msg }) => msg === 'request answered')).toBe(false);
  });

  it('with several requests in one go, and at random moments, leaves nothing behind', async () => {
    await started({ workers: 2 });
    const random = numbersFrom(3);
    const one = (body: string) => head(body.length) + body;
    for (let i = 0; i < 60; i++) {
      const text = [one(quick), one(i % 5 === 0 ? slow : quick), one(quick)].join('');
      const { socket } = send(i % 3 === 0 ? text.slice(0, Math.floor(text.length * 0.9)) : text);
      setTimeout(() => (i % 2 === 0 ? socket.destroy() : socket.resetAndDestroy()), Math.abs(random()) * 300);
      await sleep(10);
    }
    await sleep(400);
    await until(isIdle);
    expect((await post(quick)).status).toBe(200);
  });
});

describe('a slow client', () => {
  it('whose body stops coming gets 408, and its connection is closed', async () => {
    await started({ workers: 1, idleTimeout: 300 });
    const { answer, closed } = send(`${head(100)}{`);
    await closed;
    expect(answer()).toMatch(/^HTTP\/1.1 408 /);
    expect(JSON.parse(answer().split('\r\n\r\n')[1])).toMatchObject({ code: 'request-timeout' });
    await until(isIdle);
  });

  it('that says nothing gets 408', async () => {
    await started({ workers: 1, idleTimeout: 300 });
    const { answer, closed } = send('');
    await closed;
    expect(answer()).toMatch(/^HTTP\/1.1 408 /);
  });

  it('that does not take its answer is cut, and the answer dropped', async () => {
    await started({ workers: 1, idleTimeout: 500 });
    const { socket, closed } = send(head(long.length) + long);
    socket.pause();
    await until(() => service.pool.stats().bytes > 0 && service.pool.stats().running === 0);
    await until(isIdle);
    socket.resume();
    await closed;
  });

  it('that takes its answer in sips is cut in the end', async () => {
    await started({ workers: 1, idleTimeout: 1000 });
    const { socket, closed } = send(head(long.length) + long);
    socket.pause();
    await until(() => service.pool.stats().bytes > 0 && service.pool.stats().running === 0);
    const sipping = setInterval(() => socket.resume().once('data', () => socket.pause()), 300);
    const start = performance.now();
    await until(isIdle, 60_000);
    expect(performance.now() - start).toBeGreaterThan(1000); // it was not idle
    clearInterval(sipping);
    socket.resume();
    await closed;
  });

  it('is not who has to wait for an answer', async () => {
    await started({ workers: 1, idleTimeout: 200 });
    expect((await post(slow)).status).toBe(200);
  });

  it('that trickles is served', async () => {
    await started({ workers: 1, idleTimeout: 400 });
    const { socket, answer } = send(head(quick.length));
    for (let at = 0; at < quick.length; at += 40) {
      socket.write(quick.slice(at, at + 40));
      await sleep(30);
    }
    await until(() => answer() !== '');
    expect(answer()).toMatch(/^HTTP\/1.1 200 /);
    socket.destroy();
  });
});

describe('the memory of all requests', () => {
  it('bounds the bodies that arrive: 503 with Retry-After, both sides named, before they are read', async () => {
    await started({ workers: 1, memoryLimit: 2 ** 23 });
    const announced = send(head(2 ** 20)); // which has not sent it yet
    await until(() => service.pool.stats().bytes > 0);
    const others = [2 ** 19, ...new Array(4).fill(2 ** 20)].map((bytes) => send(head(bytes)));
    await until(() => service.pool.stats().bytes >= 5.5 * 2 ** 20); // of the 6 MiB that one caller may take
    const answer = await post('x'.repeat(2 ** 20));
    expect(answer.status).toBe(503);
    expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(await answer.json()).toMatchObject({
      code: 'overloaded',
      detail: expect.stringMatching(/takes 1048576 bytes, but (of the 8388608 .* \d+|\d+ of the 8388608 .*) are taken/),
    });
    expect((await post(quick)).status).toBe(200);
    for (const { socket } of [announced, ...others]) socket.destroy();
    await until(isIdle);
  });

  it('is taken by what has come, not by what is announced', async () => {
    await started({ workers: 1, memoryLimit: 2 ** 27 });
    const idle = Array.from({ length: 20 }, () => send(head(2 ** 24)));
    await sleep(300);
    expect(service.pool.stats().bytes).toBeLessThan(2 ** 25);
    expect((await post(quick)).status).toBe(200);
    for (const { socket } of idle) socket.destroy();
    await until(isIdle);
  });

  it('is taken by what has come, also of a body of which much has', async () => {
    await started({ workers: 1, memoryLimit: 2 ** 28 });
    const part = ' '.repeat(3 * 2 ** 20);
    const idle = Array.from({ length: 4 }, () => send(head(2 ** 25) + part));
    await until(() => service.pool.stats().bytes >= 12 * 2 ** 20);
    await sleep(300);
    expect(service.pool.stats().bytes).toBeLessThan(20 * 2 ** 20); // and not 128 MiB
    for (const { socket } of idle) socket.destroy();
    await until(isIdle);
  });

  it('takes a body in chunks to the last byte', async () => {
    await started({ workers: 1 });
    const chunks = async (body: string) => {
      const stream = new Blob([body]).stream();
      const init = { method: 'POST', headers: JSON_TYPE, body: stream, duplex: 'half' } as RequestInit;
      return (await fetch(service.url + PATH, init)).text();
    };
    for (const body of [quick, quick + ' '.repeat(70_000), quick + ' '.repeat(3_000_000)]) {
      expect(await chunks(body)).toBe(await (await post(quick)).text());
    }
    await until(isIdle);
  });

  it('is the limit of one body, too, as it must leave room for what it says', async () => {
    await started({ workers: 1, memoryLimit: 2 ** 20 });
    const answer = await post('x'.repeat(2 ** 18));
    expect(answer.status).toBe(413);
    expect(await answer.json()).toMatchObject({ code: 'payload-too-large' });
  });

  it('holds an answer until it is sent', async () => {
    await started({ workers: 1 });
    const { socket } = send(head(long.length) + long);
    socket.pause();
    await until(() => service.pool.stats().running === 0 && service.pool.stats().bytes > 10e6);
    socket.resume();
    await until(isIdle);
    socket.destroy();
  });
});
