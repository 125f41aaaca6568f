import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { scrape } from '../monitoring/scrape.js';
import { type Started, start } from '../start.js';

let service: Started;
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await service.stop();
});

/** A connection from an address of this machine, and what comes on it. */
async function open(localAddress = '127.0.0.1') {
  const socket = connect({ port: Number(new URL(service.url).port), host: '127.0.0.1', localAddress });
  sockets.push(socket);
  let received = '';
  socket.on('data', (data) => {
    received += data;
  });
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('connect', resolve));
  const closed = new Promise((resolve) => socket.once('close', resolve));
  return { socket, answer: () => received, closed };
}
const GET = 'GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n';

/** Is it served? */
async function isServed({ socket, answer }: Awaited<ReturnType<typeof open>>): Promise<boolean> {
  socket.write(GET);
  for (let i = 0; i < 500 && !answer().includes('}'); i++) await sleep(10);
  return answer().startsWith('HTTP/1.1 200');
}

describe('connections', () => {
  it('beyond those of one address are told so and closed; other addresses are served, and so is that one afterwards', async () => {
    service = await start({ workers: 1, settings: { ADDRESS_LIMIT: 3, CONNECTION_LIMIT: 10 } });
    const first = [await open(), await open(), await open()];
    const refused = await open();
    await refused.closed;
    expect(refused.answer()).toMatch(/^HTTP\/1.1 503 /);
    expect(refused.answer()).toMatch(/\r\nretry-after: 1\r\n/);
    expect(refused.answer()).toContain('"code":"overloaded"');
    expect(refused.answer()).toContain('this address has as many connections as it may have (ADDRESS_LIMIT)');
    expect(await isServed(await open('127.0.0.2'))).toBe(true);
    first[0].socket.destroy();
    await sleep(100);
    expect(await isServed(await open())).toBe(true);
    for (const { socket } of first) socket.destroy();
    await sleep(100);
    const samples = await scrape(service.url);
    const counted = samples.find(
      ({ name, labels }) =>
        name === 'unroll_requests_total' && labels.code === 'overloaded' && labels.operation === 'none',
    );
    expect(counted?.value).toBe(1);
  });

  it('beyond them have nothing computed for them, whatever they ask for', async () => {
    service = await start({ workers: 1, settings: { ADDRESS_LIMIT: 1 } });
    await open();
    const refused = await open();
    const body = '{}';
    const head = `POST /v1/rnn/forward HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
    refused.socket.write(head + body);
    await refused.closed;
    await sleep(300);
    expect(refused.answer().match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 503']);
    expect(service.log.filter(({ operation }) => operation !== undefined)).toEqual([]);
  });

  it('beyond all that there may be are told so and closed', async () => {
    service = await start({ workers: 1, settings: { ADDRESS_LIMIT: 3, CONNECTION_LIMIT: 4 } });
    for (const address of ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4']) await open(address);
    const refused = await open('127.0.0.5');
    await refused.closed;
    expect(refused.answer()).toContain('there are as many connections as there may be (CONNECTION_LIMIT)');
  });

  it('that are refused keep nobody else out, however long they stay', async () => {
    service = await start({ workers: 1, settings: { ADDRESS_LIMIT: 1, CONNECTION_LIMIT: 3 } });
    await open();
    const { port } = new URL(service.url);
    const staying = Array.from({ length: 20 }, () =>
      connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true }),
    );
    sockets.push(...staying);
    const answers = staying.map((socket) =>
      once(
        socket.on('error', () => {}),
        'data',
      ).catch(() => []),
    );
    expect(`${await answers[0]}`).toMatch(/^HTTP\/1.1 503 /);
    expect(await isServed(await open('127.0.0.2'))).toBe(true);
  });

  it('of a proxy are limited by the limit of all alone', async () => {
    service = await start({
      workers: 1,
      settings: { ADDRESS_LIMIT: 1, CONNECTION_LIMIT: 10, TRUST_PROXY: '127.0.0.8/29, ::1' },
    });
    const all = [await open('127.0.0.9'), await open('127.0.0.9'), await open('127.0.0.9')];
    for (const one of all) expect(await isServed(one)).toBe(true);
    await open('127.0.0.2');
    const refused = await open('127.0.0.2');
    await refused.closed;
    expect(refused.answer()).toMatch(/^HTTP\/1.1 503 /);
  });

  it('of one address that bring thousands of requests at once are read in turns, and all are answered', async () => {
    service = await start({ workers: 1 });
    const many = [];
    for (let i = 0; i < 400; i++) many.push(await open('127.0.0.2'));
    for (const { socket } of many) socket.write(GET);
    for (const { answer } of many) while (!answer().includes('}')) await sleep(1);

    let inTurn = 0;
    let most = 0;
    let goesOn = true;
    service.app.server.prependListener('request', () => {
      most = Math.max(most, ++inTurn);
      const end = performance.now() + 0.25;
      while (performance.now() < end);
    });
    const turn = () => {
      inTurn = 0;
      if (goesOn) setImmediate(turn);
    };
    turn();
    for (const { socket } of many) socket.write(GET);
    for (const { answer } of many) while (answer().split('{').length < 3) await sleep(1);
    goesOn = false;
    expect(most).toBeGreaterThanOrEqual(8);
    expect(most).toBeLessThan(200);
  });
});
