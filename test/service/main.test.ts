import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { numbersFrom, operationCalled, tensorsFor } from '../values.js';
import { type Service, startService } from './process.js';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const running: Service[] = [];
const started = async (env?: Record<string, string>) => {
  const service = await startService(env);
  running.push(service);
  return service;
};
afterEach(async () => {
  await Promise.all(running.splice(0).map((service) => service.stop()));
});

const lstmForward = (n_x: number, n_a: number, m: number, T_x: number) =>
  JSON.stringify(
    tensorsFor(operationCalled('lstmForward').request, { n_x, n_a, n_y: 2, m, T_x, T_da: T_x }, numbersFrom(1), {
      prediction: true,
      way: 0,
      extras: false,
    }),
  );
const post = (url: string, body: string) =>
  fetch(`${url}/v1/lstm/forward`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
const connected = async (url: string, host = '127.0.0.1') => {
  const socket = connect(Number(new URL(url).port), host).on('error', () => {}); // whoever reads it is told, too
  await once(socket, 'connect');
  return socket;
};
/** Is a new connection refused? */
const refuses = async (url: string, host?: string) => {
  const socket = await connected(url, host).catch(() => undefined);
  socket?.destroy();
  return socket === undefined;
};
/** All that still comes on a connection. */
const textOf = async (socket: Socket) => {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks).toString('latin1');
};
const becomes = async (claim: () => Promise<boolean>) => {
  while (!(await claim())) await sleep(5);
};

describe('the process', () => {
  it.each([
    [{ PORT: 'nowhere' }, 'PORT is "nowhere", but must be a whole number from 0 to 65535'],
    [{ QUEUE_LIMIT: 'Infinity' }, 'QUEUE_LIMIT is "Infinity", but must be a whole number from 0 to 1000000'],
    [{ HOST: 'nosuch.invalid' }, /^HOST is "nosuch.invalid", but getaddrinfo E\w+ nosuch.invalid$/],
    [{ CACHE_URL: 'redis://:secret@localhost:70000' }, /^CACHE_URL is set, but must be like redis:.*$/],
    [{ CACHE_URL: 'redis://:secret@local host' }, /^CACHE_URL is set, but must be like redis:.*$/],
    [
      { CORS_ORIGINS: 'https://example.org/' },
      'CORS_ORIGINS has "https://example.org/" in it, but an origin is like https://example.org or https://*.example.org; a browser sends https://example.org',
    ],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://%%' }, /^OTEL_EXPORTER_OTLP_ENDPOINT is "http:\/\/%%", but must be .*$/],
  ])('does not start with %j, and says so in one line', (settings, line) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN], {
      env: { ...process.env, PORT: '0', LOG_LEVEL: 'silent', ...settings },
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stdout).toBe('');
    const [, said] = /^unroll cannot start: (.*)\n$/.exec(stderr) ?? [];
    if (typeof line === 'string') expect(said, stderr).toBe(line);
    else expect(said, stderr).toMatch(line);
    expect(stderr).not.toContain('secret');
  });

  it('starts where traces are to be sent in a way that it does not know, and warns', async () => {
    const OTEL = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4317', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' };
    const child = spawn(process.execPath, [MAIN], {
      env: { ...process.env, PORT: '0', WORKERS: '1', DRAIN_GRACE: '0', ...OTEL },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let log = '';
    for await (const chunk of child.stdout) {
      log += chunk;
      if (log.includes('listening at')) child.kill('SIGTERM');
    }
    const lines = log.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toContainEqual(
      expect.objectContaining({
        level: 40,
        msg: 'requests are not traced',
        reason: 'OTEL_EXPORTER_OTLP_PROTOCOL is "grpc", but traces are sent over HTTP only',
      }),
    );
  });

  it.runIf(process.version.startsWith('v20.'))('does not start with kernels that this Node does not have', () => {
    const { status, stderr } = spawnSync(process.execPath, [MAIN], {
      env: { ...process.env, PORT: '0', KERNELS: 'fma' },
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^unroll cannot start: KERNELS=fma cannot be used in Node v20\..*\n$/);
  });

  it.skipIf(Number.parseInt(process.versions.node, 10) >= 26)(
    'does not start with the wide kernels before Node 26',
    () => {
      const { status, stderr } = spawnSync(process.execPath, [MAIN], {
        env: { ...process.env, PORT: '0', KERNELS: 'wide' },
        encoding: 'utf8',
      });
      expect(status).toBe(1);
      expect(stderr).toMatch(/^unroll cannot start: KERNELS=wide needs Node 26, but this is v\d+\..*\n$/);
    },
  );

  it('ends when it is told to, though a refused client keeps its connection', async () => {
    const { url, stop } = await started();
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.write('CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n');
    await once(socket, 'data');
    expect(await stop()).toBe(0);
    socket.destroy();
  });

  it('does not start on a port that is taken, and says so', async () => {
    const { url } = await started();
    const { port } = new URL(url);
    const { status, stderr } = spawnSync(process.execPath, [MAIN], {
      env: { ...process.env, PORT: port },
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(new RegExp(`^unroll cannot start: listen EADDRINUSE.*${port}\n$`));
  });

  it('SIGTERM: not ready at once, everything is taken for DRAIN_GRACE, what has begun is answered, exit 0', async () => {
    const { url, pid, stop } = await started({ WORKERS: '1', DRAIN_GRACE: '2000' });
    const first = post(url, lstmForward(16, 128, 32, 64));
    const queued = post(url, lstmForward(8, 8, 8, 8));
    await sleep(300);
    const start = performance.now();
    process.kill(pid, 'SIGTERM');
    await becomes(async () => (await fetch(`${url}/health/ready`)).status === 503);
    const ready = await fetch(`${url}/health/ready`);
    expect(ready.headers.get('connection')).toBe('close');
    expect(await ready.json()).toMatchObject({ code: 'draining' });
    const live = await fetch(`${url}/health/live`);
    expect(live.status).toBe(200);
    expect(live.headers.get('connection')).toBe('close');
    const late = await post(url, lstmForward(1, 1, 1, 1));
    expect(late.status).toBe(200);
    expect(late.headers.get('connection')).toBe('close');

    const answer = await first;
    expect(answer.status).toBe(200);
    expect(((await answer.json()) as { a: number[] }).a).toHaveLength(128);
    expect((await queued).status).toBe(200);
    expect(await stop()).toBe(0);
    expect(performance.now() - start).toBeGreaterThan(1990);
  });

  it.each([
    ['SIGTERM', 'after DRAIN_GRACE', '100'],
    ['SIGINT', 'at once', '20000'],
  ] as const)(
    '%s: %s idle connections close, none is taken, nothing new is begun on others; what runs is answered, exit 0',
    async (signal, _, DRAIN_GRACE) => {
      const { url, pid, stop } = await started({ WORKERS: '1', DRAIN_GRACE });
      const idle = await connected(url);
      idle.write('GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n');
      await once(idle, 'data');
      const others = [await connected(url), await connected(url)];
      others[1].write('POST /v1/lstm/forward HTTP/1.1\r\nho'); // and [0] has sent nothing
      const first = post(url, lstmForward(16, 128, 64, 128));
      const queued = post(url, lstmForward(8, 8, 8, 8));
      await sleep(300);

      process.kill(pid, signal);
      await once(idle, 'end'); // long before what runs is done
      expect(await refuses(url)).toBe(true);
      others[0].write('POST /v1/lstm/forward HTTP/1.1\r\nho');
      for (const socket of others) {
        const text = textOf(socket);
        socket.write('st: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}');
        expect(await text).toMatch(/^HTTP\/1.1 503 /);
        expect(await text).toContain('\r\nretry-after: 1\r\n');
        expect(await text).toContain('\r\nconnection: close\r\n');
        expect(await text).toContain('"code":"draining"');
      }

      const answer = await first;
      expect(answer.status).toBe(200);
      expect(((await answer.json()) as { a: number[] }).a).toHaveLength(128);
      expect((await queued).status).toBe(200);
      expect(await stop()).toBe(0);
    },
  );

  // What is asked for must arrive in the quarter of a second after the end of listening.
  it('a connection that was just made when it stops listening is served', { retry: 4 }, async () => {
    const { url, pid, stop } = await started({ DRAIN_GRACE: '1000' });
    const sockets = [await connected(url)];
    process.kill(pid, 'SIGTERM');
    for (let isOpen = true; isOpen; await sleep(10)) {
      const socket = await connected(url).catch(() => undefined);
      if (socket) sockets.push(socket);
      else isOpen = false;
    }
    const body = lstmForward(1, 1, 1, 1);
    const head = `host: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
    for (const socket of sockets) socket.write(`POST /v1/lstm/forward HTTP/1.1\r\n${head}\r\n\r\n${body}`);
    for (const text of await Promise.all(sockets.map(textOf))) expect(text).toMatch(/^HTTP\/1.1 200 /);
    expect(await stop()).toBe(0);
  });

  it('an answer that its client reads slowly is not cut off', async () => {
    const { url, pid, stop } = await started();
    const socket = await connected(url);
    const body = lstmForward(1, 64, 1, 2600); // an answer of 7 MB: more than the system takes at once
    socket.write(`POST /v1/lstm/forward HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n`);
    socket.write(`content-length: ${body.length}\r\n\r\n${body}`);
    await once(socket, 'readable');
    process.kill(pid, 'SIGTERM');
    await becomes(() => refuses(url));
    await sleep(500);
    const text = await textOf(socket);
    const head = text.slice(0, text.indexOf('\r\n\r\n'));
    expect(head).toMatch(/^HTTP\/1.1 200 /);
    expect(text.length - head.length - 4).toBe(Number(/content-length: (\d+)/.exec(head)?.[1]));
    expect(await stop()).toBe(0);
  });

  it('HOST=localhost is one address', async () => {
    const { url } = await started({ HOST: 'localhost' });
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:/);
    expect(await refuses(url, '::1')).toBe(true);
  });

  it('a second signal does not cut off what runs', async () => {
    const { url, pid, stop } = await started({ WORKERS: '1' });
    const answer = post(url, lstmForward(16, 128, 32, 64));
    await sleep(300);
    process.kill(pid, 'SIGINT');
    await sleep(50);
    process.kill(pid, 'SIGINT');
    const { status, body } = await answer;
    expect(status).toBe(200);
    await body?.cancel();
    expect(await stop()).toBe(0);
  });

  it('tells the clients of what does not finish within DRAIN_LIMIT', async () => {
    const { url, pid, stop } = await started({ WORKERS: '1', DRAIN_LIMIT: '6000' });
    const asked = [1, 2].map(() => post(url, lstmForward(1, 300, 1, 100_000)));
    await sleep(1000);
    process.kill(pid, 'SIGTERM');
    for (const answer of await Promise.all(asked)) {
      expect(answer.status).toBe(503);
      expect(answer.headers.get('retry-after')).toBe('1');
      expect(await answer.json()).toMatchObject({ code: 'draining', detail: expect.stringContaining('not ready') });
    }
    expect(await stop()).toBe(0);
  });

  it('cuts off what is not taken within DRAIN_LIMIT, and says so', async () => {
    const { url, pid, stop } = await started({ DRAIN_LIMIT: '1000' });
    const socket = await connected(url);
    const body = lstmForward(1, 64, 1, 2600);
    socket.write(`POST /v1/lstm/forward HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n`);
    socket.write(`content-length: ${body.length}\r\n\r\n${body}`);
    await once(socket, 'readable');
    process.kill(pid, 'SIGTERM');
    expect(await stop()).toBe(1);
    socket.destroy();
  });

  it('SIGTERM: what came on one connection, one behind the other, is answered, and the last answer closes it', async () => {
    const { url, pid, stop } = await started({ WORKERS: '1', DRAIN_GRACE: '8000' });
    const socket = await connected(url);
    const text = textOf(socket);
    const bodies = [lstmForward(1, 300, 1, 10_000), ...[1, 2, 3].map(() => lstmForward(1, 1, 1, 1))];
    for (const body of bodies) {
      const head = `host: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
      socket.write(`POST /v1/lstm/forward HTTP/1.1\r\n${head}\r\n\r\n${body}`);
    }
    await sleep(200);
    process.kill(pid, 'SIGTERM');
    const answers = (await text).split('HTTP/1.1 ').slice(1);
    expect(answers.map((answer) => answer.slice(0, 3))).toEqual(['200', '200', '200', '200']);
    expect(answers.map((answer) => /^connection: (.*)\r$/im.exec(answer)?.[1])).toEqual([
      ...new Array(3).fill('keep-alive'),
      'close',
    ]);
    expect(await stop()).toBe(0);
  });

  it.each([
    ['has sent nothing', ''],
    ['has sent half of its headers', 'POST /v1/lstm/forward HTTP/1.1\r\nhost'],
  ])('a connection that %s does not hold it up', async (_, text) => {
    const { url, stop } = await started();
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('connect', () => resolve(undefined)));
    socket.write(text);
    await sleep(100);
    const start = performance.now();
    expect(await stop()).toBe(0);
    expect(performance.now() - start).toBeLessThan(2000);
    socket.destroy();
  });

  it('a body that drips does not hold it up where it is refused', async () => {
    const { url, stop } = await started();
    const dripping = await Promise.all(
      ['/nothing', '/v1/lstm/forward'].map(async (path) => {
        const socket = await connected(url);
        // Neither type nor path is one that is taken.
        socket.write(`POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ncontent-length: 1000\r\n\r\n`);
        return setInterval(() => socket.write(' '), 50);
      }),
    );
    await sleep(300);
    const start = performance.now();
    expect(await stop()).toBe(0);
    expect(performance.now() - start).toBeLessThan(2000);
    for (const timer of dripping) clearInterval(timer);
  });

  it.each([
    ['for seconds only', {}],
    ['for less than DRAIN_LIMIT', { DRAIN_LIMIT: '1000' }],
  ])('a body that has stopped coming holds it up %s', async (_, env) => {
    const { url, stop } = await started(env);
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.on('error', () => {});
    socket.write(
      'POST /v1/lstm/forward HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{',
    );
    await sleep(200);
    expect(await stop()).toBe(0);
    socket.destroy();
  });

  it('requests that a client sends in one go before it leaves do not hold it up', async () => {
    const { url, stop } = await started({ WORKERS: '1', DRAIN_LIMIT: '3000' });
    const body = lstmForward(1, 1, 1, 1);
    const head = `host: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    const request = `POST /v1/lstm/forward HTTP/1.1\r\n${head}\r\n\r\n${body}`;
    socket.write(request + request, () => socket.resetAndDestroy());
    await sleep(300);
    expect(await stop()).toBe(0);
  });

  it('a signal while it starts ends it with 0', { retry: 2 }, async () => {
    const child = spawn(process.execPath, [MAIN], { env: { ...process.env, PORT: '0' }, stdio: 'ignore' });
    await sleep(300); // Node itself takes 100 ms on an idle machine
    child.kill('SIGTERM');
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0);
  });

  it('a million time steps take no more than their numbers', async () => {
    const { url } = await started({ NODE_OPTIONS: '--max-old-space-size=200' });
    const ones = new Array(1_000_000).fill(1).join();
    const rnn = `{"x":[[[${ones}]]],"a0":[[0]],"parameters":{"Wax":[[0.5]],"Waa":[[0.9]],"ba":[[0]]}}`;
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`${url}/v1/rnn/forward`, { method: 'POST', headers, body: rnn });
    expect(answer.status).toBe(200);
    expect(((await answer.json()) as { a: number[][][] }).a[0][0]).toHaveLength(1_000_000);
  });

  it('an idle keep-alive connection does not hold it up', async () => {
    const { url, stop } = await started();
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.write('GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n');
    await new Promise((resolve) => socket.once('data', resolve));
    const start = performance.now();
    expect(await stop()).toBe(0);
    expect(performance.now() - start).toBeLessThan(2000);
    socket.destroy();
  });

  it('logs to stdout as JSON: shapes and timings, never tensors', async () => {
    const child = spawn(process.execPath, [MAIN], {
      env: { ...process.env, PORT: '0', DRAIN_GRACE: '0' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
    });
    while (!text.includes('listening')) await sleep(20);
    const url = /http:[^"]+/.exec(text)?.[0] ?? '';
    const body = lstmForward(2, 3, 4, 5)
      .replace('[[[', '[[[0.12345678987654321,')
      .replace(/,[^,\]]+\]/, ']');
    const answer = await post(url, body);
    expect(answer.status).toBe(200);
    child.kill('SIGTERM');
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0);

    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const line = lines.find(({ msg }) => msg === 'request answered');
    expect(line).toMatchObject({
      level: 30,
      reqId: answer.headers.get('x-request-id'),
      method: 'POST',
      url: '/v1/lstm/forward',
      status: 200,
      operation: 'lstmForward',
      dims: { n_x: 2, n_a: 3, n_y: 2, m: 4, T_x: 5 },
      bytesIn: body.length,
      stages: { decode: expect.any(Number), compute: expect.any(Number), encode: expect.any(Number) },
    });
    expect(text).not.toContain('0.1234567');
  });

  it.each([
    [{}, 0],
    [{ DRAIN_LIMIT: '25000', DRAIN_GRACE: '3000', DEADLINE: '21999' }, 0],
    [{ DRAIN_LIMIT: '25000', DRAIN_GRACE: '3000', DEADLINE: '22000' }, 1],
  ])('says at the start what a stop gives up, if it does: %j', async (env, lines) => {
    const child = spawn(process.execPath, [MAIN], {
      env: { ...process.env, PORT: '0', WORKERS: '1', ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (chunk) => (text += chunk));
    const closed = once(child, 'close');
    while (!text.includes('listening')) await sleep(20);
    child.kill('SIGINT');
    await closed;
    const found = text.split('\n').filter((line) => line.includes('a stop gives up'));
    expect(found).toHaveLength(lines);
    for (const line of found) {
      expect(JSON.parse(line)).toMatchObject({ level: 40, DRAIN_LIMIT: 25000, DRAIN_GRACE: 3000, DEADLINE: 22000 });
    }
  });

  it('answers /health/live within 50 ms (p99) while requests of 30 MB compute', async () => {
    const { url } = await started();
    const [n_x, n_a, m, T_x] = [96, 16, 64, 256];
    const nest = (...sizes: number[]) =>
      sizes.reduceRight((inner, n) => `[${new Array(n).fill(inner).join()}]`, '-0.12345678901234567');
    const gates = ['f', 'i', 'c', 'o'].map((gate) => `"W${gate}":${nest(n_a, n_a + n_x)},"b${gate}":${nest(n_a, 1)}`);
    const body = `{"x":${nest(n_x, m, T_x)},"a0":${nest(n_a, m)},"parameters":{${gates.join()}}}`;
    expect(body.length).toBeGreaterThan(30e6);

    // Sent by a thread of its own, so that sending does not hold up the measurement.
    const sender = new Worker(
      `const { parentPort, workerData: { url, body } } = require('node:worker_threads');
       (async () => {
         const statuses = [];
         for (let i = 0; i < 5; i++) {
           const headers = { 'content-type': 'application/json' };
           const answer = await fetch(url + '/v1/lstm/forward', { method: 'POST', headers, body });
           await answer.arrayBuffer();
           statuses.push(answer.status);
         }
         parentPort.postMessage(statuses);
       })();`,
      { eval: true, workerData: { url, body } },
    );
    let statuses: number[] | undefined;
    sender.once('message', (message) => {
      statuses = message;
    });
    const waits: number[] = [];
    while (statuses === undefined) {
      const start = performance.now();
      const health = await fetch(`${url}/health/live`);
      await health.arrayBuffer();
      waits.push(performance.now() - start);
      await sleep(2);
    }
    expect(statuses).toEqual([200, 200, 200, 200, 200]);
    waits.sort((a, b) => a - b);
    expect(waits.length).toBeGreaterThan(50);
    const p99 = waits[Math.floor(waits.length * 0.99)];
    console.info(`/health/live while 30 MB compute: ${waits.length} calls, p99 ${p99.toFixed(1)} ms`);
    expect(p99).toBeLessThan(50);
  });
});
