import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Pool } from '../../../src/compute/pool/pool.js';
import { entry, post } from '../asking.js';
import { type Limits, type Started, start, startPool } from '../start.js';
import { type Sample, scrape } from './scrape.js';

const PATH = '/v1/rnn/forward';
const PARAMETERS = { Wax: [[0.5]], Waa: [[0.8]], ba: [[0.25]] };
const BODY = JSON.stringify({ x: [[[1, 0, -1]]], a0: [[0]], parameters: PARAMETERS });

let pool: Pool;
beforeAll(async () => {
  pool = await startPool({ workers: 1, kernels: 'scalar' });
  // The first request of a process takes long for what no stage is about.
  await started();
  expect((await post(service.url)).status).toBe(200);
  await service.stop();
});
afterAll(() => pool.close());

let service: Started;
afterEach(() => service.stop());

interface Line {
  readonly ms: number;
  readonly stages?: Readonly<Record<string, number>>;
  readonly [name: string]: unknown;
}

const lineOf = async (id: string): Promise<Line> => {
  await vi.waitFor(() => expect(service.log.some(({ reqId }) => reqId === id)).toBe(true), { timeout: 20_000 });
  return service.log.find(({ reqId }) => reqId === id) as unknown as Line;
};

const head = (id: string, length: number, more = '') =>
  `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nx-request-id: ${id}\r\ncontent-length: ${length}\r\n${more}\r\n`;

function open() {
  const socket = connect(Number(new URL(service.url).port), '127.0.0.1').setNoDelay();
  socket.on('error', () => {});
  return socket;
}

async function started(limits: Limits = {}): Promise<void> {
  service = await start({ pool, ...limits });
}

/** Of all samples with this name and these labels. */
const sum = (samples: readonly Sample[], wanted: string, labels: Record<string, string>) =>
  samples
    .filter(
      ({ name, labels: had }) => name === wanted && Object.entries(labels).every(([key, value]) => had[key] === value),
    )
    .reduce((all, { value }) => all + value, 0);

/** A body has begun to come. */
const begun = () => vi.waitFor(() => expect(service.pool.stats().bytes).toBeGreaterThan(0), { timeout: 20_000 });

const explained = ({ stages = {} }: Line) => Object.values(stages).reduce((all, ms) => all + ms, 0);

describe('the stages', () => {
  it('explain a slow upload: receive, in the log, in server-timing and in the metrics', async () => {
    await started();
    const socket = open();
    socket.write(head('slow-upload', BODY.length) + BODY.slice(0, 10));
    await begun();
    await sleep(600);
    socket.write(BODY.slice(10));
    const answer = String((await once(socket, 'data'))[0]);
    expect(answer).toMatch(/^server-timing: receive;dur=\d+\.\d+, queue;dur=.*, encode;dur=.*$/m);
    expect(Number(/receive;dur=([\d.]+)/.exec(answer)?.[1])).toBeGreaterThan(490);
    expect(answer).not.toContain('send;dur');
    const line = await lineOf('slow-upload');
    expect(Object.keys(line.stages ?? {})).toEqual(['receive', 'queue', 'decode', 'compute', 'encode', 'send']);
    expect(line.stages?.receive).toBeGreaterThan(490);
    expect(explained(line)).toBeGreaterThan(0.8 * line.ms);
    expect(explained(line)).toBeLessThanOrEqual(line.ms);
    const samples = await scrape(service.url);
    const secondsOf = (stage: string) => sum(samples, 'unroll_stage_seconds_sum', { operation: 'rnnForward', stage });
    expect(secondsOf('receive')).toBeGreaterThan(0.49);
    expect(secondsOf('compute')).toBeLessThan(0.49);
    for (const stage of ['receive', 'send']) {
      expect(sum(samples, 'unroll_stage_seconds_count', { operation: 'rnnForward', stage })).toBe(1);
    }
    socket.destroy();
  });

  it('explain an answer that is taken slowly: send', async () => {
    await started();
    const T = 600_000;
    const body = JSON.stringify({ x: [[Array(T).fill(0.1)]], a0: [[0]], parameters: PARAMETERS });
    const socket = open();
    socket.write(head('slow-taking', body.length, 'connection: close\r\n') + body);
    await once(socket, 'readable');
    await sleep(1000);
    socket.resume();
    await once(socket, 'close');
    const line = await lineOf('slow-taking');
    expect(line.stages?.send).toBeGreaterThan(800);
    expect(explained(line)).toBeGreaterThan(0.8 * line.ms);
    const samples = await scrape(service.url);
    expect(sum(samples, 'unroll_stage_seconds_sum', { stage: 'send' })).toBeGreaterThan(0.8);
  });

  it.each([
    ['that is refused when it is there', BODY.replace('"a0"', '"b0"'), '', 400],
    ['that is read to its end after it was refused', BODY, 'content-encoding: br\r\n', 415],
    ['to an operation that is refused by its head', BODY, 'accept: text/html\r\n', 406],
  ])('explain a slow body %s', async (_, body, more, status) => {
    await started();
    const socket = open();
    socket.write(head('refused', body.length, more) + body.slice(0, 10));
    await sleep(500);
    socket.write(body.slice(10));
    expect(String((await once(socket, 'data'))[0])).toMatch(/^server-timing: receive;dur=/m);
    const line = await lineOf('refused');
    expect(line).toMatchObject({ status, stages: { receive: expect.any(Number), send: expect.any(Number) } });
    expect(explained(line)).toBeGreaterThan(0.8 * line.ms);
    socket.destroy();
  });

  it('of a client that leaves are those so far', async () => {
    await started();
    const socket = open();
    socket.write(head('gone', BODY.length) + BODY.slice(0, 10));
    await begun();
    await sleep(500);
    socket.destroy();
    const line = await lineOf('gone');
    expect(line).toMatchObject({ msg: 'the client has left', address: '127.0.0.1' });
    expect(line.stages?.receive).toBeGreaterThan(490);
  });

  it('of what has no body are none', async () => {
    await started();
    const answer = await fetch(`${service.url}/nowhere`, { headers: { 'x-request-id': 'bodiless' } });
    expect(answer.headers.get('server-timing')).toMatch(/^total;dur=/);
    expect((await lineOf('bodiless')).stages).toBeUndefined();
  });
});

describe('a line of the log', () => {
  const ask = (id: string, body: string, more: Record<string, string> = {}) =>
    fetch(service.url + PATH, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-request-id': id, ...more },
      body,
    }).then((answer) => answer.json() as Promise<{ detail: string; errors: { pointer: string }[] }>);

  it('has the address of the client where there are no keys, the one behind a trusted proxy, too', async () => {
    await started({ settings: { TRUST_PROXY: '127.0.0.1' } });
    await ask('direct', BODY);
    await ask('behind', BODY, { 'x-forwarded-for': '192.0.2.7' });
    expect(await lineOf('direct')).toMatchObject({ status: 200, address: '127.0.0.1' });
    expect(await lineOf('behind')).toMatchObject({ status: 200, address: '192.0.2.7' });
    const socket = open();
    socket.write('nonsense\r\n\r\n');
    await once(socket, 'data');
    expect(service.log.find(({ msg }) => msg === 'request refused')).toMatchObject({
      address: '127.0.0.1',
      detail: 'what was sent is not an HTTP/1.1 request',
    });
    socket.destroy();
  });

  it('has the caller rather than the address where there are keys', async () => {
    await started({ settings: { API_KEYS: entry('ann', 'ann-key') } });
    await ask('unknown', BODY);
    await ask('known', BODY, { 'x-api-key': 'ann-key' });
    expect(await lineOf('unknown')).toMatchObject({ status: 401, address: '127.0.0.1', code: 'unauthorized' });
    const known = await lineOf('known');
    expect([known.status, known.caller, known.address]).toEqual([200, 'ann', undefined]);
  });

  it.each([
    ['shape-mismatch', BODY.replace('[[0.5]]', '[[0.5,1]]'), ['/parameters/Wax']],
    ['invalid-request', BODY.replace('"a0"', '"b0"'), ['/b0']],
    ['invalid-json', `${BODY}x`, ['']],
    ['invalid-tensor', BODY.replace('[[0]]', '[[null]]'), ['/a0/0/0']],
  ])('of a %s has the detail and the pointers of the problem', async (code, body, pointers) => {
    await started();
    const { detail, errors } = await ask('wrong', body);
    expect(await lineOf('wrong')).toMatchObject({ code, detail, pointers: errors.map(({ pointer }) => pointer) });
    expect(errors.map(({ pointer }) => pointer)).toEqual(expect.arrayContaining(pointers));
  });

  it('of a path that cannot be read has the same', async () => {
    await started();
    await fetch(`${service.url}/%ZZ?key=secret`, { headers: { 'x-request-id': 'unread' } });
    expect(await lineOf('unread')).toMatchObject({
      ...{ status: 400, code: 'invalid-http', address: '127.0.0.1' },
      detail: 'the path is not a valid URL path',
    });
    expect(JSON.stringify(service.log)).not.toContain('secret');
  });

  it('is short, whatever was sent', async () => {
    await started();
    const members = Array.from({ length: 300 }, (_, i) => `"${'y'.repeat(1000)}${i}":1`).join();
    await ask('long', BODY.replace('{', `{${members},`));
    const line = await lineOf('long');
    expect(line.status).toBe(400);
    expect(JSON.stringify(line).length).toBeLessThan(10_000);
  });

  it('of an answer has neither', async () => {
    await started();
    await ask('right', BODY);
    const line = await lineOf('right');
    expect([line.detail, line.pointers]).toEqual([undefined, undefined]);
  });
});
