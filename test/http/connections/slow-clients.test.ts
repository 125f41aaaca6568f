import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { Pace } from '../../../src/http/connections/pace.js';
import { type Started, start } from '../start.js';

let service: Started;
afterEach(() => service?.stop());

const PATH = '/v1/rnn/forward';

function send(text: string) {
  const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
  let received = '';
  socket.on('data', (data) => {
    received += data.toString('latin1');
  });
  socket.on('error', () => {});
  socket.write(text);
  return { socket, answer: () => received, closed: new Promise((resolve) => socket.once('close', resolve)) };
}

const head = (length: number | 'chunked') => {
  const framing = length === 'chunked' ? 'transfer-encoding: chunked' : `content-length: ${length}`;
  return `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n${framing}\r\n\r\n`;
};

async function until(condition: () => boolean, ms = 20_000): Promise<void> {
  const start = performance.now();
  while (!condition()) {
    if (performance.now() - start > ms) throw new Error(`not within ${ms} ms: ${condition}`);
    await sleep(10);
  }
}

describe('a body that comes too slowly', () => {
  it.each([
    ['of a known length', head(2 ** 24), ' '],
    ['in chunks', head('chunked'), '1\r\n \r\n'],
  ])('%s is refused with 408, though it never stops for long', async (_, headOfIt, drop) => {
    service = await start({ workers: 1, idleTimeout: 1000 });
    const { socket, answer, closed } = send(headOfIt);
    const dripping = setInterval(() => socket.write(drop), 100);
    await until(() => answer() !== '');
    clearInterval(dripping);
    expect(answer()).toMatch(/^HTTP\/1.1 408 /);
    expect(answer()).toContain('the body comes too slowly');
    await closed;
    await until(() => service.pool.stats().bytes === 0);
  });
});

describe('an answer of several pieces', () => {
  it('gives its memory back piece by piece as its client takes it', async () => {
    service = await start({ workers: 1 });
    const [m, T] = [100, 4000];
    const row = JSON.stringify(Array(T).fill(0.1));
    const x = `[[${Array(m).fill(row).join(',')}]]`;
    const weights = '"parameters":{"Wax":[[0.1],[0.2],[0.3]],"Waa":[[0.1,0,0],[0,0.1,0],[0,0,0.1]],"ba":[[0],[0],[0]]}';
    const zeros = JSON.stringify([Array(m).fill(0), Array(m).fill(0), Array(m).fill(0)]);
    const body = `{"x":${x},"a0":${zeros},${weights}}`;
    const { socket, closed } = send(head(body.length) + body);
    socket.pause();
    await until(() => service.pool.stats().running === 0 && service.pool.stats().bytes > 15e6);
    const held: number[] = [];
    socket.on('data', () => {
      held.push(service.pool.stats().bytes);
      socket.pause();
      setTimeout(() => socket.resume(), 1);
    });
    socket.resume();
    await until(() => service.pool.stats().bytes === 0, 50_000);
    const steps = new Set(held.filter((bytes) => bytes > 0));
    expect(steps.size).toBeGreaterThan(2);
    expect([...steps]).toEqual([...steps].sort((a, b) => b - a));
    socket.destroy();
    await closed;
  });
});

describe('the pace', () => {
  const cutAfter = async (used: number): Promise<number> => {
    const begun = performance.now();
    const pace = new Pace({ used, limit: 100 }, 100);
    await new Promise<void>((resolve) => {
      pace.watch(1, () => 1000, resolve);
    });
    return performance.now() - begun;
  };

  it('gives a transfer the grace and the time for its bytes, and less the more memory is taken', async () => {
    const [idle, half, full] = await Promise.all([cutAfter(0), cutAfter(50), cutAfter(100)]);
    expect(idle).toBeGreaterThanOrEqual(1090);
    expect(half).toBeGreaterThanOrEqual(540);
    expect(half).toBeLessThan(idle);
    expect(full).toBeLessThan(half);
  });

  it('forgets what has ended', async () => {
    const pace = new Pace({ used: 0, limit: 100 }, 10);
    let cut = false;
    const end = pace.watch(
      1,
      () => 0,
      () => {
        cut = true;
      },
    );
    end();
    await sleep(100);
    expect(cut).toBe(false);
  });
});
