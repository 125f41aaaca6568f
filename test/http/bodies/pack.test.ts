import { once } from 'node:events';
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { deflateRawSync, deflateSync, gunzipSync, gzipSync, inflateSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { packingFor, packingNamedAlone } from '../../../src/http/bodies/pack.js';
import { type Started, start } from '../start.js';

const PATH = '/v1/rnn/forward';
const PARAMETERS = { Wax: [[0.5]], Waa: [[0.8]], ba: [[0.25]] };
const BODY = Buffer.from(JSON.stringify({ x: [[[1, 0, -1]]], a0: [[0]], parameters: PARAMETERS }));
const LIMIT = 2 ** 22;

let service: Started;
beforeAll(async () => {
  service = await start({ workers: 1, kernels: 'scalar', bodyLimit: LIMIT });
});
afterAll(() => service.stop());

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
}

/** Clients with opinions of their own would unpack the answer. */
function ask(
  path: string,
  { headers = {}, body, method = body ? 'POST' : 'GET' }: { headers?: object; body?: Uint8Array; method?: string },
): Promise<Answer> {
  const { hostname, port } = new URL(service.url);
  return new Promise((resolve, reject) => {
    const type = body ? { 'content-type': 'application/json' } : {};
    const sent = request({ hostname, port, path, method, headers: { ...type, ...headers }, agent: false }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.once('error', reject);
      answer.once('end', () =>
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, bytes: Buffer.concat(chunks) }),
      );
    });
    sent.once('error', reject);
    sent.end(body);
  });
}
const post = (body: Uint8Array, headers: object = {}) => ask(PATH, { body, headers });
const sendPacked = (body: Uint8Array, encoding: string, headers: object = {}) =>
  post(body, { 'content-encoding': encoding, ...headers });
const problemIn = ({ bytes }: Answer) => JSON.parse(String(bytes));
const memoryIsFree = () => vi.waitFor(() => expect(service.pool.stats().bytes).toBe(0), { timeout: 20_000 });

/** A sequence whose answer has about so many bytes. */
function sequence(bytes: number, digits = true): Buffer {
  const steps = Math.ceil(bytes / 20);
  const x = [[Array.from({ length: steps }, (_, i) => (digits ? Math.sin(i * i) : 0))]];
  return Buffer.from(JSON.stringify({ x, a0: [[0]], parameters: PARAMETERS }));
}

describe('a packed body', () => {
  let plain: Buffer;
  beforeAll(async () => {
    plain = (await post(BODY)).bytes;
  });

  const packings: [string, (body: Uint8Array) => Buffer][] = [
    ['gzip', gzipSync],
    ['GZIP', gzipSync],
    ['x-gzip', gzipSync],
    ['X-Gzip', gzipSync],
    ['deflate', deflateSync],
    ['deflate', (body) => deflateSync(body, { level: 0 })],
    ['deflate', (body) => deflateSync(body, { windowBits: 9 })],
    ['deflate', deflateRawSync],
    ['deflate', (body) => deflateRawSync(body, { level: 0 })],
    ['gzip', (body) => Buffer.concat([gzipSync(body.subarray(0, 9)), gzipSync(body.subarray(9))])],
    ['gzip', (body) => gzipSync(body, { level: 0 })],
    ['gzip, identity', gzipSync],
    ['identity,deflate ,', deflateSync],
    ['identity', (body) => Buffer.from(body)],
    ['identity, identity', (body) => Buffer.from(body)],
    ['Identity', (body) => Buffer.from(body)],
    ['', (body) => Buffer.from(body)],
  ];

  it.each(packings.map(([encoding, pack], i) => ({ encoding, pack, i })))(
    '$i: Content-Encoding $encoding is unpacked, whole, in chunks and byte by byte',
    async ({ encoding, pack }) => {
      const packed = pack(BODY);
      const whole = await sendPacked(packed, encoding);
      expect(whole.bytes.toString()).toBe(plain.toString());
      expect((await sendPacked(packed, encoding, { 'transfer-encoding': 'chunked' })).bytes).toEqual(plain);
      const socket = connect(Number(new URL(service.url).port), '127.0.0.1').setNoDelay();
      socket.write(
        `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-encoding: ${encoding}\r\ncontent-length: ${packed.length}\r\nconnection: close\r\n\r\n`,
      );
      for (const byte of packed) {
        socket.write(Buffer.of(byte));
        await new Promise(setImmediate);
      }
      let answer = '';
      socket.on('data', (data) => {
        answer += data;
      });
      await once(socket, 'close');
      expect(answer).toMatch(/^HTTP\/1.1 200 /);
      expect(answer).toContain(plain.toString());
    },
  );

  it('of more than a chunk comes out as it went in', async () => {
    const body = sequence(2e6);
    expect((await sendPacked(gzipSync(body), 'gzip')).bytes.equals((await post(body)).bytes)).toBe(true);
    await memoryIsFree();
  });

  const gzipped = gzipSync(BODY);
  const deflated = deflateSync(BODY);
  const raw = deflateRawSync(BODY);
  const changed = (bytes: Buffer, at: number) => {
    const copy = Buffer.from(bytes);
    copy[at < 0 ? bytes.length + at : at] ^= 0x55;
    return copy;
  };
  it.each([
    ['plain JSON', 'gzip', BODY],
    ['plain JSON', 'deflate', BODY],
    ['deflate', 'gzip', deflated],
    ['gzip', 'deflate', gzipped],
    ['nothing', 'gzip', Buffer.alloc(0)],
    ['nothing', 'deflate', Buffer.alloc(0)],
    ['a cut one', 'gzip', gzipped.subarray(0, -1)],
    ['a cut one', 'gzip', gzipped.subarray(0, 30)],
    ['a cut head', 'gzip', gzipped.subarray(0, 5)],
    ['a cut one', 'deflate', deflated.subarray(0, -1)],
    ['a cut one', 'deflate', raw.subarray(0, -5)],
    ['a wrong checksum', 'gzip', changed(gzipped, -6)],
    ['a wrong length', 'gzip', changed(gzipped, -1)],
    ['a wrong checksum', 'deflate', changed(deflated, -1)],
    ['another method', 'gzip', changed(gzipped, 2)],
    ['a preset dictionary', 'deflate', deflateSync(BODY, { dictionary: BODY })],
    ['text behind it', 'gzip', Buffer.concat([gzipped, Buffer.from('x')])],
    ['zeros behind it', 'gzip', Buffer.concat([gzipped, Buffer.alloc(8)])],
    ['the beginning of another one', 'gzip', Buffer.concat([gzipped, gzipped.subarray(0, 3)])],
    ['a broken one behind it', 'gzip', Buffer.concat([gzipped, changed(gzipped, -6)])],
    ['text behind it', 'deflate', Buffer.concat([deflated, Buffer.from('x')])],
    ['another one behind it', 'deflate', Buffer.concat([deflated, deflated])],
    ['zeros behind it', 'deflate', Buffer.concat([raw, Buffer.alloc(8)])],
    ['much behind it', 'deflate', Buffer.concat([deflated, Buffer.alloc(1e6, 0x78)])],
    ['much behind it', 'gzip', Buffer.concat([gzipped, Buffer.alloc(1e6)])],
  ])('%s as %s is 400', async (_, encoding, body) => {
    const answer = await sendPacked(body, encoding);
    expect(answer.status).toBe(400);
    expect(problemIn(answer)).toMatchObject({
      code: 'invalid-request',
      detail: expect.stringMatching(new RegExp(`^the body has Content-Encoding ${encoding}, but cannot be unpacked: `)),
    });
    // What stands behind the end comes in a packet of its own.
    const socket = connect(Number(new URL(service.url).port), '127.0.0.1').setNoDelay();
    const head = `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-encoding: ${encoding}\r\ncontent-length: ${body.length}\r\n\r\n`;
    socket.write(head);
    for (const piece of [body.subarray(0, -8), body.subarray(-8)]) {
      socket.write(piece);
      await sleep(20);
    }
    expect(String((await once(socket, 'data'))[0])).toMatch(/^HTTP\/1.1 400 /);
    socket.destroy();
    await memoryIsFree();
  });

  it.each([
    'br',
    'zstd',
    'compress',
    'x-deflate',
    'gzip, gzip',
    'gzip,deflate',
    'gzip, identity, deflate',
    'gzip identity',
    'gzip;q=1',
    'aes128gcm',
  ])('Content-Encoding %s is 415, which says what would be taken', async (encoding) => {
    const answer = await sendPacked(gzipped, encoding);
    expect([answer.status, answer.headers['accept-encoding']]).toEqual([415, 'gzip, deflate']);
    expect(problemIn(answer)).toMatchObject({
      code: 'unsupported-media-type',
      detail: `the body has Content-Encoding ${encoding}, but must have gzip, deflate or none`,
    });
  });

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['deflate', deflateRawSync],
  ])(
    '%s that unpacks to a thousand times its length is refused at the limit, and takes no more than that',
    async (encoding, pack) => {
      const bomb = pack(Buffer.alloc(50 * LIMIT));
      expect(bomb.length).toBeLessThan(LIMIT);
      let most = 0;
      const looking = setInterval(() => {
        most = Math.max(most, service.pool.stats().bytes);
      }, 1);
      const before = process.cpuUsage();
      const answer = await sendPacked(bomb, encoding);
      const { user, system } = process.cpuUsage(before);
      clearInterval(looking);
      expect(answer.status).toBe(413);
      expect(problemIn(answer).detail).toBe(
        `the body has more than ${LIMIT} bytes unpacked, but the limit is ${LIMIT} bytes`,
      );
      expect(most).toBeLessThanOrEqual(LIMIT + 128 * 1024);
      expect((user + system) / 1000).toBeLessThan(1000); // a twentieth of that by itself; all of it takes longer
      await memoryIsFree();
    },
  );

  it('that is itself over the limit is refused, whatever it would unpack to', async () => {
    const empty = Buffer.alloc(LIMIT + 5); // stored blocks without a byte

    for (let at = 0; at + 5 <= empty.length; at += 5) empty.set([0, 0, 0, 0xff, 0xff], at);
    for (const headers of [{}, { 'transfer-encoding': 'chunked' }]) {
      expect((await sendPacked(empty, 'deflate', headers)).status).toBe(413);
    }
    await memoryIsFree();
  });

  it('gives its memory back when its client leaves', async () => {
    const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
    socket.write(
      `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 100000\r\n\r\n`,
    );
    socket.write(gzipSync(Buffer.alloc(3e6, 0x20)).subarray(0, 2000));
    await vi.waitFor(() => expect(service.pool.stats().bytes).toBeGreaterThan(1e6), { timeout: 20_000 });
    socket.destroy();
    await memoryIsFree();
  });

  it('is told to go on like any other', async () => {
    const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
    socket.write(
      `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: ${gzipped.length}\r\nexpect: 100-continue\r\n\r\n`,
    );
    expect(String((await once(socket, 'data'))[0])).toMatch(/^HTTP\/1.1 100 /);
    socket.write(gzipped);
    expect(String((await once(socket, 'data'))[0])).toMatch(/^HTTP\/1.1 200 /);
    socket.destroy();
  });
});

describe('who gets a packed answer', () => {
  it.each([
    [undefined, undefined, undefined],
    ['', undefined, undefined],
    ['gzip', 'gzip', 'gzip'],
    ['GZip', 'gzip', 'gzip'],
    ['x-gzip', 'gzip', 'gzip'],
    ['gzip, x-gzip', 'gzip', 'gzip'],
    ['deflate', 'deflate', 'deflate'],
    ['gzip;q=0.1', 'gzip', 'gzip'],
    ['gzip ; q=1.000', 'gzip', 'gzip'],
    ['gzip, identity', 'gzip', 'gzip'],
    ['identity;q=0.5, gzip;q=1.0', 'gzip', 'gzip'],
    ['identity;q=0, deflate', 'deflate', 'deflate'],
    ['gzip, *;q=0', 'gzip', 'gzip'],
    ['gzip, br;q=0', 'gzip', 'gzip'],
    ['gzip;q=0, deflate', 'deflate', 'deflate'],
    [' , gzip, ', 'gzip', 'gzip'],
    ['gzip, deflate', undefined, 'gzip'],
    ['deflate, gzip;q=0.9', undefined, 'deflate'],
    ['deflate, gzip', undefined, 'gzip'],
    ['gzip, deflate, br', undefined, 'gzip'],
    ['gzip, deflate, br, zstd', undefined, 'gzip'],
    ['gzip, br', undefined, 'gzip'],
    ['gzip, *', undefined, 'gzip'],
    ['*', undefined, 'gzip'],
    ['*;q=0', undefined, undefined],
    ['gzip;q=0, *', undefined, 'deflate'],
    ['gzip;q=0', undefined, undefined],
    ['gzip;q=0.000', undefined, undefined],
    ['identity', undefined, undefined],
    ['identity;q=0', undefined, undefined],
    ['identity, gzip;q=0.5', undefined, undefined],
    ['br', undefined, undefined],
    ['zstd, br;q=0.5', undefined, undefined],
    ['gzip;q=x', undefined, undefined],
    ['gzip;q=2', undefined, undefined],
    ['gzipped', undefined, undefined],
  ])('Accept-Encoding %j: a computation %s, the rest %s', (accepted, alone, usual) => {
    expect(packingNamedAlone(accepted)).toBe(alone);
    expect(packingFor(accepted)).toBe(usual);
  });
});

const unpackings = { gzip: gunzipSync, deflate: inflateSync } as const;

describe('the answer of a computation', () => {
  it.each([
    ['gzip', 2000],
    ['deflate', 2000],
    ['gzip', 16_000],
    ['gzip', 40_000],
    ['deflate', 700_000],
    ['gzip', 3_000_000],
  ] as const)('is the same in %s, of about %i bytes', async (accepted, bytes) => {
    const body = sequence(bytes);
    const plain = await post(body);
    const packed = await post(body, { 'accept-encoding': accepted });
    expect(packed.status).toBe(200);
    expect(packed.headers).toMatchObject({
      'content-encoding': accepted,
      'content-type': 'application/json',
      vary: 'Accept-Encoding',
    });
    expect(unpackings[accepted](packed.bytes).equals(plain.bytes)).toBe(true);
    expect(packed.bytes.length).toBeLessThan(0.6 * plain.bytes.length);
    const { 'content-length': length, 'transfer-encoding': transfer } = packed.headers;
    expect(transfer === 'chunked' ? undefined : Number(length)).toBe(
      transfer === 'chunked' ? length : packed.bytes.length,
    );
    expect(plain.headers).toMatchObject({ vary: 'Accept-Encoding', 'content-length': String(plain.bytes.length) });
    expect(plain.headers['content-encoding']).toBeUndefined();
    await memoryIsFree();
  });

  it.each([
    ['plain', 1023],
    ['packed', 1024],
  ])('is %s where it has %i bytes', async (_, bytes) => {
    // The hidden state is 0.0 for as long as x is, and the length follows from the steps and the last digits.
    const bodyOf = (steps: number, last: number) => {
      return Buffer.from(
        `{"x":[[[${'0,'.repeat(steps)}${last}]]],"a0":[[0]],"parameters":{"Wax":[[1]],"Waa":[[1]],"ba":[[0]]},"dtype":"float32"}`,
      );
    };
    let body = BODY;
    for (const last of [0, 0.1, 0.01, 0.001, 0.5, 20]) {
      const { length } = (await post(bodyOf(0, last))).bytes;
      if ((bytes - length) % 4 === 0) body = bodyOf((bytes - length) / 4, last);
    }
    const plain = await post(body);
    expect(plain.bytes.length).toBe(bytes);
    const { headers } = await post(body, { 'accept-encoding': 'gzip' });
    expect(headers).toMatchObject({ vary: 'Accept-Encoding' });
    expect(headers['content-encoding']).toBe(bytes < 1024 ? undefined : 'gzip');
  });

  it('is plain for a list, and a problem always is', async () => {
    const large = sequence(4000);
    expect((await post(large, { 'accept-encoding': 'gzip, deflate' })).headers['content-encoding']).toBeUndefined();
    const refused = await post(Buffer.from('{'), { 'accept-encoding': 'gzip' });
    expect([refused.status, problemIn(refused).code]).toEqual([400, 'invalid-json']);
    expect(refused.headers['content-encoding']).toBeUndefined();
  });

  it('comes packed for a packed request, too', async () => {
    const body = sequence(4000);
    const plain = await post(body);
    const both = await sendPacked(gzipSync(body), 'gzip', { 'accept-encoding': 'deflate' });
    expect(inflateSync(both.bytes)).toEqual(plain.bytes);
  });
});

describe('a large packed answer', () => {
  /** The answer has 38 MB: the examples are cut, and so is the answer. */
  let large: Buffer;
  let one: Started;
  beforeAll(async () => {
    one = await start({ workers: 1 });
    const [m, T] = [100, 6000];
    const x = `[[${Array(m)
      .fill(JSON.stringify(Array(T).fill(0.1)))
      .join(',')}]]`;
    const weights = '"parameters":{"Wax":[[0.1],[0.2],[0.3]],"Waa":[[0.1,0,0],[0,0.1,0],[0,0,0.1]],"ba":[[0],[0],[0]]}';
    const zeros = JSON.stringify(Array(3).fill(Array(m).fill(0)));
    large = Buffer.from(`{"x":${x},"a0":${zeros},${weights}}`);
  });
  afterAll(() => one.stop());
  const asked = (more = '') => {
    const socket = connect(Number(new URL(one.url).port), '127.0.0.1');
    socket.on('error', () => {});
    socket.write(
      `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\naccept-encoding: gzip\r\n${more}content-length: ${large.length}\r\n\r\n`,
    );
    socket.write(large);
    return socket;
  };

  it('does not hold up the event loop', async () => {
    const delay = monitorEventLoopDelay({ resolution: 5 });
    const headers = { 'content-type': 'application/json', 'accept-encoding': 'gzip' };
    const { hostname, port } = new URL(one.url);
    const sent = request({ hostname, port, path: PATH, method: 'POST', headers, agent: false });
    sent.end(large);
    const [answer] = await once(sent, 'response');
    delay.enable();
    let bytes = 0;
    for await (const chunk of answer) bytes += chunk.length;
    delay.disable();
    console.info(`${bytes} packed bytes; the longest stall was ${(delay.max / 1e6).toFixed(1)} ms`);
    expect(bytes).toBeGreaterThan(1e7);
    expect(delay.max / 1e6).toBeLessThan(200);
  });

  it('gives its memory back piece by piece as its client takes it', async () => {
    const socket = asked('connection: close\r\n');
    socket.pause();
    await vi.waitFor(() => expect(one.pool.stats()).toMatchObject({ running: 0 }), { timeout: 30_000, interval: 20 });
    await vi.waitFor(() => expect(one.pool.stats().bytes).toBeGreaterThan(1.5e7), { timeout: 30_000, interval: 20 });
    const steps = new Set<number>();
    const sample = () => {
      const { bytes } = one.pool.stats();
      if (bytes > 0) steps.add(bytes);
      if (!socket.closed) setImmediate(sample);
    };
    sample();
    socket.on('data', () => {
      socket.pause();
      setTimeout(() => socket.resume(), 2);
    });
    socket.resume();
    await once(socket, 'close');
    await vi.waitFor(() => expect(one.pool.stats().bytes).toBe(0), { timeout: 20_000 });
    expect(steps.size).toBeGreaterThan(2);
    expect([...steps]).toEqual([...steps].sort((a, b) => b - a));
  });

  it('is given up when its client leaves in the middle, again and again', { timeout: 120_000 }, async () => {
    for (let i = 0; i < 4; i++) {
      const socket = asked();
      await once(socket, 'data');
      await sleep(5 * i);
      socket.destroy();
      await vi.waitFor(() => expect(one.pool.stats().bytes).toBe(0), { timeout: 20_000 });
    }
    const answer = await fetch(`${one.url}${PATH}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: BODY,
    });
    expect(answer.status).toBe(200);
  });

  it('that is not taken is cut off, and frees its memory', async () => {
    const slow = await start({ workers: 1, idleTimeout: 1000 });
    const socket = connect(Number(new URL(slow.url).port), '127.0.0.1');
    socket.on('error', () => {});
    socket.write(
      `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\naccept-encoding: gzip\r\ncontent-length: ${large.length}\r\n\r\n`,
    );
    socket.write(large);
    socket.pause();
    await vi.waitFor(() => expect(slow.pool.stats().bytes).toBeGreaterThan(1.5e7), { timeout: 30_000 });
    await vi.waitFor(() => expect(slow.pool.stats().bytes).toBe(0), { timeout: 30_000 });
    socket.destroy();
    await slow.stop();
  });
});

describe('what is no computation', () => {
  it.each(['/openapi.json', '/docs', '/metrics', '/docs/static/swagger-ui.css', '/docs/static/swagger-ui-bundle.js'])(
    '%s comes packed for whoever takes it, by GET and HEAD',
    async (path) => {
      const plain = await ask(path, {});
      expect(plain.headers.vary).toBe('Accept-Encoding');
      expect(plain.headers['content-encoding']).toBeUndefined();
      for (const [accepted, packing] of [
        ['gzip, deflate, br', 'gzip'],
        ['deflate', 'deflate'],
      ] as const) {
        for (let i = 0; i < 2; i++) {
          const { status, headers, bytes } = await ask(path, { headers: { 'accept-encoding': accepted } });
          expect([status, headers['content-encoding'], headers.vary]).toEqual([200, packing, 'Accept-Encoding']);
          expect(headers['content-type']).toBe(plain.headers['content-type']);
          expect(bytes.length).toBe(Number(headers['content-length']));
          expect(bytes.length).toBeLessThan(0.5 * plain.bytes.length);
          const unpacked = unpackings[packing](bytes);
          if (path !== '/metrics') expect(unpacked.equals(plain.bytes)).toBe(true);
          else expect(unpacked.toString()).toContain('unroll_requests_total');
          expect(headers.etag ?? 'W/').toMatch(/^W\//);
        }
        const head = await ask(path, { method: 'HEAD', headers: { 'accept-encoding': accepted } });
        expect([head.status, head.headers['content-encoding'], head.bytes.length]).toEqual([200, packing, 0]);
        const got = await ask(path, { headers: { 'accept-encoding': accepted } });
        if (path !== '/metrics') expect(head.headers['content-length']).toBe(String(got.bytes.length));
      }
    },
  );

  it.each([
    ['/health/live', 200],
    ['/nowhere', 404],
  ])('%s, of a few bytes, stays as it is', async (path, status) => {
    const answer = await ask(path, { headers: { 'accept-encoding': 'gzip' } });
    expect([answer.status, answer.headers['content-encoding']]).toEqual([status, undefined]);
  });

  it('a file that its client has already is 304', async () => {
    const headers = { 'accept-encoding': 'gzip' };
    const first = await ask('/docs/static/swagger-ui.css', { headers });
    const again = await ask('/docs/static/swagger-ui.css', {
      headers: { ...headers, 'if-none-match': first.headers.etag },
    });
    expect([again.status, again.bytes.length, again.headers['content-encoding']]).toEqual([304, 0, undefined]);
  });
});
