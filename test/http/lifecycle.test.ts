import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Turns } from '../../src/http/connections/turns.js';
import { lifecyclePlugin } from '../../src/http/lifecycle.js';
import { operations } from '../../src/operations/operations.js';

/** The rules of a stop, by themselves: nothing is computed, and the test says when an answer is there. */

let app: FastifyInstance;
let url: URL;
const sockets: Socket[] = [];
/** The requests that run, each with what answers it. */
const running: { request: FastifyRequest; answer(): void }[] = [];

beforeEach(async () => {
  app = fastify({ forceCloseConnections: false });
  await app.register(lifecyclePlugin, { turns: new Turns() });
  app.post('/compute', { config: { operation: operations[0] } }, (request) => {
    return new Promise((resolve) => running.push({ request, answer: () => resolve('computed') }));
  });
  app.get('/health', async () => 'well');
  url = new URL(await app.listen({ host: '127.0.0.1', port: 0 }));
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const { answer } of running.splice(0)) answer();
  await app.close();
});

async function connected(): Promise<{ socket: Socket; received(): string }> {
  const socket = connect(Number(url.port), '127.0.0.1');
  sockets.push(socket);
  let text = '';
  socket.on('error', () => {});
  socket.on('data', (data) => {
    text += data;
  });
  await once(socket, 'connect');
  return { socket, received: () => text };
}

const compute = (length = 2) =>
  `POST /compute HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`;
const runs = (count = 1) => vi.waitFor(() => expect(running).toHaveLength(count), { interval: 2 });
/** What has happened so far, without waiting for the promise. */
function watched(promise: Promise<void>) {
  const seen = { isOver: false, promise };
  void promise.then(() => {
    seen.isOver = true;
  });
  return seen;
}

describe('a stop', () => {
  it('is over at once where nothing has begun', async () => {
    expect([app.isDraining(), app.isRefusing(), app.isGivingUp()]).toEqual([false, false, false]);
    await app.drain({ grace: 0, limit: 60_000 });
    expect([app.isDraining(), app.isRefusing(), app.isGivingUp()]).toEqual([true, true, false]);
    expect(app.server.listening).toBe(false);
  });

  it('takes everything during its grace, and no operation after it', async () => {
    const drained = watched(app.drain({ grace: 100, limit: 60_000 }));
    const { socket } = await connected();
    socket.write(`${compute()}{}`);
    await runs();
    await vi.waitFor(() => expect(app.isRefusing()).toBe(true), { interval: 2 });
    const refused = await app.inject({ method: 'POST', url: '/compute', payload: {} });
    expect(refused.json()).toMatchObject({ code: 'draining' });
    expect((await app.inject('/health')).body).toBe('well');
    expect(drained.isOver).toBe(false);
    running[0].answer();
    await drained.promise;
  });

  it('waits for the answer of what has begun, and closes its connection behind it', async () => {
    const { socket, received } = await connected();
    socket.write(`${compute()}{}`);
    await runs();
    const drained = watched(app.drain({ grace: 0, limit: 60_000 }));
    await vi.waitFor(() => expect(app.isRefusing()).toBe(true), { interval: 2 });
    expect(drained.isOver).toBe(false);
    const closed = once(socket, 'close');
    running[0].answer();
    await Promise.all([closed, drained.promise]);
    expect(received()).toMatch(/computed$/);
  });

  it('closes the connections that are kept open for another request', async () => {
    const { socket, received } = await connected();
    socket.write('GET /health HTTP/1.1\r\nhost: a\r\n\r\n');
    await vi.waitFor(() => expect(received()).toMatch(/well$/), { interval: 2 });
    const closed = once(socket, 'close');
    await app.drain({ grace: 0, limit: 60_000 });
    await closed;
  });

  it('does not wait for a client that has left', async () => {
    const { socket } = await connected();
    socket.write(`${compute()}{}`);
    await runs();
    const drained = app.drain({ grace: 0, limit: 60_000 });
    socket.destroy();
    await drained;
  });

  it('waits a fifth of its time for a body that arrives', async () => {
    const { socket } = await connected();
    const arrives = new Promise<void>((resolve) => app.server.once('request', () => resolve()));
    socket.write(compute(100));
    await arrives;
    const begun = performance.now();
    await app.drain({ grace: 0, limit: 1000 });
    expect(performance.now() - begun).toBeGreaterThan(190);
    expect(running).toEqual([]);
    expect(app.isGivingUp()).toBe(false);
  });

  it('gives up what still runs a tenth of its time before the end', async () => {
    const { socket } = await connected();
    socket.write(`${compute()}{}`);
    await runs();
    const [{ request, answer }] = running;
    const begun = performance.now();
    const stopped = new Promise<number>((resolve) => {
      request.stop = () => {
        resolve(performance.now() - begun);
        answer();
      };
    });
    await app.drain({ grace: 0, limit: 500 });
    const after = await stopped;
    expect(after).toBeGreaterThan(440);
    expect(app.isGivingUp()).toBe(true);
  });
});

describe('a request', () => {
  it('has done what it was told to when it is answered, in order, and at once if it is over', async () => {
    const { socket } = await connected();
    socket.write(`${compute()}{}`);
    await runs();
    const [{ request, answer }] = running;
    const done: string[] = [];
    request.whenOver(() => done.push('first'));
    request.whenOver(() => done.push('second'));
    expect(done).toEqual([]);
    answer();
    await vi.waitFor(() => expect(done).toEqual(['first', 'second']), { interval: 2 });
    request.whenOver(() => done.push('third'));
    expect(done).toEqual(['first', 'second', 'third']);
  });

  it('has it done when its client leaves, and once only', async () => {
    const { socket } = await connected();
    socket.write(`${compute()}{}`);
    await runs();
    const over = vi.fn();
    running[0].request.whenOver(over);
    socket.destroy();
    await vi.waitFor(() => expect(over).toHaveBeenCalledOnce(), { interval: 2 });
    running[0].answer();
    await app.close();
    expect(over).toHaveBeenCalledOnce();
  });
});
