import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { numbersFrom, operationCalled, tensorsFor } from '../../values.js';
import { type Started, start } from '../start.js';

const PATH = '/v1/lstm/forward';
const bodyFor = (n_a: number, m: number, T_x: number) => {
  const choices = { prediction: false, way: 0, extras: false };
  const dims = { n_x: 2, n_a, n_y: 1, m, T_x };
  return JSON.stringify(tensorsFor(operationCalled('lstmForward').request, dims, numbersFrom(1, 0.2), choices));
};
const requestOf = (body: string, more = '') =>
  `POST ${PATH} HTTP/1.1\r\nhost: a\r\n${more}content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
const quick = requestOf(bodyFor(3, 2, 3));
const slow = requestOf(bodyFor(100, 16, 200));
const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nhost: a\r\n${more}\r\n`;

let service: Started;
beforeAll(async () => {
  service = await start({ workers: 2, idleTimeout: 2000 });
});
afterAll(() => service.stop());

function open(text: string): Socket {
  const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
  socket.on('error', () => {}).write(text);
  return socket;
}

interface Answer {
  readonly status: number;
  readonly connection: string | undefined;
  readonly body: string;
}

/** All that comes back until the connection closes, to a client that begins to read after so many milliseconds. */
function answersTo(text: string, readsAfter = 0): Promise<Answer[]> {
  const socket = open(text);
  let received = '';
  socket.pause();
  setTimeout(() => socket.resume(), readsAfter);
  socket.setEncoding('latin1').on('data', (chunk) => {
    received += chunk;
  });
  return new Promise((resolve) => {
    socket.once('close', () => {
      const answers: Answer[] = [];
      while (received !== '') {
        const end = received.indexOf('\r\n\r\n') + 4;
        const head = received.slice(0, end);
        const header = (name: string) => new RegExp(`^${name}: (.*)\\r$`, 'im').exec(head)?.[1];
        const behind = end + Number(header('content-length'));
        answers.push({
          status: Number(head.slice(9, 12)),
          connection: header('connection'),
          body: received.slice(end, behind),
        });
        received = received.slice(behind);
      }
      resolve(answers);
    });
  });
}
const statusesOf = async (text: string) => (await answersTo(text)).map(({ status }) => status);
const last = get('/health/live', 'connection: close\r\n');

describe('requests one behind the other on a connection', () => {
  it('are answered in their order', async () => {
    const answers = await answersTo(slow + quick + get('/nothing') + quick + last);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 404, 200, 200]);
    expect(answers[1].body).toBe(answers[3].body);
    expect(answers.map(({ connection }) => connection)).toEqual([...new Array(4).fill('keep-alive'), 'close']);
  });

  it('are begun one after the other, so that others get their share', async () => {
    const many = open(slow.repeat(20));
    let most = 0;
    for (let i = 0; i < 100; i++) {
      const { running, waiting } = service.pool.stats();
      most = Math.max(most, running + waiting);
      await sleep(5);
    }
    expect(most).toBe(1);
    many.destroy();
  });

  it('count the time for which they wait', async () => {
    const [first, second] = await answersTo(
      slow + quick.replace('host: a\r\n', 'host: a\r\nx-deadline-ms: 5\r\nconnection: close\r\n'),
    );
    expect(first.status).toBe(200);
    expect(second.status).toBe(504);
  });

  it('are told to continue when it is their turn', async () => {
    const asking = requestOf(bodyFor(3, 2, 3), 'expect: 100-continue\r\nconnection: close\r\n');
    const [head, body] = [asking.slice(0, asking.indexOf('{')), asking.slice(asking.indexOf('{'))];
    const socket = open(slow + head);
    let received = '';
    socket.setEncoding('latin1').on('data', (chunk) => {
      if (chunk.includes('100 Continue')) socket.write(body);
      received += chunk;
    });
    await new Promise((resolve) => socket.once('close', resolve));
    expect(received.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 100', 'HTTP/1.1 200']);
  });

  it('are answered, all that came whole, where what comes behind them is no HTTP', async () => {
    expect(await statusesOf(`${slow + quick + get('/health/live')}nonsense\r\n\r\n`)).toEqual([200, 200, 200]);
    const broken = quick
      .replace(/content-length: \d+/, 'transfer-encoding: chunked')
      .replace('\r\n\r\n{', '\r\n\r\nzz\r\n{');
    expect(await statusesOf(quick + get('/health/live') + broken)).toEqual([200, 200]);
    expect(await statusesOf(`${get('/health/live')}CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n`)).toEqual([200]);
  });

  it('that are too many are answered up to 17, and then the connection closes; the others are not even read', async () => {
    let read = 0;
    const count = () => read++;
    service.app.server.on('request', count);
    const answers = await answersTo(slow + get('/health/live').repeat(1700));
    service.app.server.off('request', count);
    expect(answers.map(({ status }) => status)).toEqual(new Array(17).fill(200));
    expect(answers.map(({ connection }) => connection)).toEqual([...new Array(16).fill('keep-alive'), 'close']);
    expect(read).toBe(17);
  });

  it('that are too many do not cost their client an answer that it has not read yet', async () => {
    const many = requestOf(bodyFor(100, 4, 80)) + get('/health/live').repeat(1700);
    expect(await answersTo(many, 500)).toHaveLength(17);
    expect(await answersTo(`${many}nonsense`, 500)).toHaveLength(17);
  });

  it('are answered before a stop, however many connections they stand on', async () => {
    const stopped = await start({ workers: 1 });
    const { port } = new URL(stopped.url);
    const all = Array.from({ length: 200 }, () => {
      const socket = connect(Number(port), '127.0.0.1');
      let received = '';
      socket.setEncoding('latin1').on('data', (chunk) => {
        received += chunk;
      });
      socket.write(get('/health/live').repeat(10));
      return new Promise<number>((resolve) => {
        socket.once('close', () => resolve(received.match(/HTTP\/1\.1 200/g)?.length ?? 0));
      });
    });
    let begun = 0;
    await new Promise<void>((resolve) => {
      stopped.app.server.on('request', () => {
        if (++begun === 2000) resolve();
      });
    });
    await stopped.app.drain({ grace: 0, limit: 10_000 });
    expect(await Promise.all(all)).toEqual(new Array(200).fill(10));
    await stopped.stop();
  });

  it('harm nobody, however many they are, whether their answers are taken or not', async () => {
    const before = process.memoryUsage().rss;
    const heads = get('/openapi.json', 'accept: */*\r\n').repeat(1500);
    const all = Array.from({ length: 10 }, () => open(heads));
    let slowest = 0;
    for (let i = 0; i < 20; i++) {
      const start = performance.now();
      expect((await fetch(`${service.url}/health/live`)).status).toBe(200);
      slowest = Math.max(slowest, performance.now() - start);
    }
    expect(slowest).toBeLessThan(2000);
    expect(process.memoryUsage().rss - before).toBeLessThan(400e6);
    await Promise.all(all.map((socket) => new Promise((resolve) => socket.once('close', resolve).resume())));
    expect(await statusesOf(quick + last)).toEqual([200, 200]);
  });

  it('that their client gives up leave nothing behind', async () => {
    for (let i = 0; i < 50; i++) {
      const socket = open(quick + slow + quick + quick);
      await sleep(i);
      socket.resetAndDestroy();
    }
    await expect
      .poll(() => service.pool.stats(), { timeout: 10_000 })
      .toMatchObject({ waiting: 0, running: 0, busy: 0, bytes: 0 });
    expect(await statusesOf(quick + last)).toEqual([200, 200]);
  });
});
