import { once } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Balancer, isInstalled, startBalancer } from '../balancer.js';
import { type Service, startService } from '../process.js';
import { expectProblem } from './problem.js';
import { begin, readAnswer, upload } from './upload.js';

const MB = 2 ** 20;
const BODY_LIMIT = 4 * MB;

/** Answers some paths before the body has come; swallows bodies, and waits for ever, at the others. */
function act({ url = '' }: IncomingMessage, response: ServerResponse, request: IncomingMessage): void {
  if (url === '/health/ready') response.end('{}');
  if (url === '/refuses')
    response.writeHead(503, { 'retry-after': '7', 'content-length': REFUSAL.length }).end(REFUSAL);
  if (url === '/answers')
    response.writeHead(200, { 'content-length': String(ANSWER_BYTES) }).end(Buffer.alloc(ANSWER_BYTES));
  request.resume();
}
const REFUSAL = JSON.stringify({ code: 'overloaded', detail: 'x'.repeat(20_000) });
const ANSWER_BYTES = 64 * MB;

async function startInstance() {
  let asked = 0;
  const open = new Set<Socket>();
  const server = createServer((request, response) => {
    if (request.url !== '/health/ready') asked++;
    act(request, response, request);
  });
  server.on('connection', (socket) => open.add(socket.once('close', () => open.delete(socket))));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: () => asked,
    open: () => open.size,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Bytes that a balancer has written into its folder, but for its configuration. */
function written(folder: string): number {
  return readdirSync(folder, { recursive: true })
    .map(String)
    .filter((file) => !/^nginx\.(conf|pid)$/.test(file))
    .reduce((sum, file) => sum + sizeOf(join(folder, file)), 0);
}

function sizeOf(file: string): number {
  const stats = statSync(file, { throwIfNoEntry: false });
  return stats?.isFile() ? stats.size : 0;
}

/** The most that it has written while something happens. */
async function mostWritten<T>({ folder }: Balancer, happens: Promise<T>): Promise<{ most: number; result: T }> {
  let most = 0;
  let goes = true;
  const looking = (async () => {
    while (goes) {
      most = Math.max(most, written(folder));
      await sleep(5);
    }
  })();
  const result = await happens;
  goes = false;
  await looking;
  return { most, result };
}

describe.each(['HAProxy', 'nginx'])('behind %s', (name) => {
  const isHere = isInstalled(name) || process.env.CI === 'true';
  if (!isHere) console.info(`${name} is not installed: its limits are not tested`);

  describe.runIf(isHere)('in front of an instance that takes everything', () => {
    let instance: Awaited<ReturnType<typeof startInstance>>;
    let balancer: Balancer;
    beforeAll(async () => {
      instance = await startInstance();
      balancer = await startBalancer(name, [instance.url, instance.url], { BODY_LIMIT: String(BODY_LIMIT) });
    });
    afterAll(async () => {
      await balancer?.stop();
      instance?.close();
    });

    it.each([
      ['is sent', { announced: BODY_LIMIT + 1 }],
      ['is many times as long', { announced: 16 * BODY_LIMIT }],
      ['is longer than 32 bits can count', { announced: 2 ** 32 + 5, sent: 0 }],
      ['waits to be asked for', { announced: BODY_LIMIT + 1, sent: 0, headers: { expect: '100-continue' } }],
    ])('a body beyond BODY_LIMIT that %s is refused with a problem, and asked of no instance', async (_, given) => {
      const before = instance.asked();
      const answer = await upload(balancer.url, {
        ...given,
        headers: { ...('headers' in given ? given.headers : {}), 'x-request-id': 'mine' },
      });
      expectProblem(answer, 'payload-too-large', '/v1/lstm/forward', 'mine');
      expect(JSON.parse(answer.text).detail).toContain(` ${BODY_LIMIT} bytes`);
      expect(instance.asked()).toBe(before);
    });

    it('a body of BODY_LIMIT bytes comes through, and no byte of it is written to the disk', async () => {
      const before = instance.asked();
      const sending = upload(balancer.url, {
        path: '/takes',
        announced: BODY_LIMIT,
        piece: BODY_LIMIT / 20,
        every: 20,
      });
      const { most } = await mostWritten(balancer, Promise.race([sending, sleep(1500)]));
      expect(instance.asked()).toBe(before + 1);
      expect(most).toBe(0);
    });

    it('bodies of unknown length leave nothing on the disk', async () => {
      const sendings = Array.from({ length: 8 }, () => upload(balancer.url, { path: '/takes', sent: BODY_LIMIT - 1 }));
      const { most } = await mostWritten(balancer, Promise.race([...sendings, sleep(1500)]));
      expect(most).toBe(0);
    });

    it('an answer that is not taken waits with the instance, not on the disk', async () => {
      const socket = await begin(balancer.url, { path: '/answers', announced: 0 });
      socket.pause();
      const { most } = await mostWritten(balancer, sleep(1000));
      expect(most).toBe(0);
      let bytes = 0;
      for await (const chunk of socket) {
        bytes += chunk.length;
        if (bytes > ANSWER_BYTES) break;
      }
      expect(bytes).toBeGreaterThan(ANSWER_BYTES);
    });

    it('what an instance says before it has the body arrives whole', async () => {
      const path = '/refuses';
      for (const given of [
        { announced: 100_000 },
        { announced: BODY_LIMIT },
        { announced: BODY_LIMIT, sent: MB },
        { sent: BODY_LIMIT - 1 },
        { sent: 100 },
      ]) {
        const { status, headers, text } = await upload(balancer.url, { path, ...given });
        expect({ ...given, status, text }).toEqual({ ...given, status: 503, text: REFUSAL });
        expect(headers['retry-after']).toBe('7');
      }
    });

    it('a client that leaves takes its request with it', async () => {
      const before = instance.open();
      const socket = await begin(balancer.url, { path: '/waits', announced: 2 });
      socket.write('{}');
      while (instance.open() === before) await sleep(10);
      await sleep(100);
      const busy = instance.open();
      socket.destroy();
      const start = performance.now();
      while (instance.open() === busy && performance.now() - start < 5000) await sleep(10);
      expect(instance.open()).toBe(busy - 1);
    });

    it.runIf(name === 'nginx')('what is no HTTP is refused with a problem', async () => {
      for (const [text, code] of [
        ['NONSENSE\r\n\r\n', 'invalid-http'],
        ['GET / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n', 'invalid-http'],
        [`GET / HTTP/1.1\r\nhost: a\r\na: ${'x'.repeat(40_000)}\r\n\r\n`, 'headers-too-large'],
      ] as const) {
        const { hostname, port } = new URL(balancer.url);
        const socket = connect(Number(port), hostname).on('error', () => {});
        socket.write(text);
        const answer = await readAnswer(socket);
        const { instance: path } = JSON.parse(answer.text);
        expectProblem(answer, code, path, String(answer.headers['x-request-id']));
        expect(['', '/']).toContain(path);
        socket.destroy();
      }
    });

    it('one address can have 256 requests, and others can have theirs', async () => {
      await sleep(2000); // what came before has gone
      const given = { path: '/waits', announced: 0 };
      const answers: number[] = [];
      const sockets = await Promise.all(Array.from({ length: 300 }, () => begin(balancer.url, given)));
      const refused = sockets.map((socket) => readAnswer(socket));
      for (const answer of refused) answer.then(({ status }) => answers.push(status));
      await sleep(1000);
      expect(answers.length).toBeGreaterThanOrEqual(44);
      expect(new Set(answers)).toEqual(new Set([429]));
      const answer = await Promise.race(refused);
      expectProblem(answer, 'rate-limited', '/waits', String(answer.headers['x-request-id']));
      const another = await upload(balancer.url, { path: '/refuses', announced: 0, from: '127.0.0.2' });
      expect(another.status).toBe(503);
      for (const socket of sockets) socket.destroy();
    });
  });

  describe.runIf(isHere)('in front of the service', () => {
    let service: Service;
    let balancer: Balancer;
    beforeAll(async () => {
      service = await startService({
        WORKERS: '1',
        BODY_LIMIT: String(BODY_LIMIT),
        REQUEST_TIMEOUT: '6000',
        IDLE_TIMEOUT: '1500',
        RATE_LIMIT: '1',
        TRUST_PROXY: '127.0.0.1',
      });
      balancer = await startBalancer(name, [service.url, service.url], { BODY_LIMIT: String(2 * BODY_LIMIT) });
    });
    afterAll(async () => {
      await balancer?.stop();
      await service?.stop();
    });
    let callers = 0;
    /** Another caller each time, as RATE_LIMIT counts. */
    const from = () => `127.0.1.${++callers}`;

    it.each([
      ['by its length', { announced: BODY_LIMIT + 1 }],
      ['as it comes', { sent: BODY_LIMIT + MB }],
    ])('413: a body that the instance finds too long %s', async (_, given) => {
      const answer = await upload(balancer.url, { ...given, from: from() });
      expectProblem(answer, 'payload-too-large', '/v1/lstm/forward', String(answer.headers['x-request-id']));
      expect(answer.ms).toBeLessThan(25_000);
    });

    /** Told by the instance, or by the balancer, which knows no path of it. */
    const expectCut = (answer: Awaited<ReturnType<typeof upload>>): void => {
      const instance = expect.stringMatching(/^(\/v1\/lstm\/forward)?$/);
      expectProblem(answer, 'request-timeout', instance, String(answer.headers['x-request-id']));
      expect(answer.ms).toBeLessThan(25_000);
    };

    it.each([
      ['a body that the balancer passes on', { announced: 2 * MB }],
      ['chunks', {}],
    ])('408: %s, a byte every 300 ms', async (_, given) => {
      const answer = await upload(balancer.url, { ...given, piece: 1, every: 300, from: from() });
      expectCut(answer);
    });

    it('408: a body that has stopped coming', async () => {
      const answer = await upload(balancer.url, { announced: 2 * MB, sent: MB, from: from() });
      expectCut(answer);
    });

    it('a short body, a byte every 6 s, is cut', async () => {
      const { status, ms } = await upload(balancer.url, { announced: 1000, piece: 1, every: 6000, from: from() });
      expect([0, 408]).toContain(status);
      expect(ms).toBeLessThan(25_000);
    });

    it('429: who has called too often is told, though the body is not taken', async () => {
      const caller = from();
      await upload(balancer.url, { announced: 2, from: caller });
      for (const given of [{ announced: BODY_LIMIT }, { sent: BODY_LIMIT - 1 }, { announced: 100_000 }]) {
        const answer = await upload(balancer.url, { ...given, from: caller });
        expectProblem(answer, 'rate-limited', '/v1/lstm/forward', String(answer.headers['x-request-id']));
      }
    });
  });
});
