import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Pool } from '../../../src/compute/pool/pool.js';
import { buildApp } from '../../../src/http/app.js';
import { PROBLEM_TYPE } from '../../../src/http/problems.js';
import { ConfigError, loadConfig } from '../../../src/settings/config.js';
import { memoryStore } from '../../../src/stores/memory.js';
import { BODY, entry, hashOf, PATH, post, raw } from '../asking.js';
import { type Limits, type Started, start, startPool } from '../start.js';

const statusOf = async (answer: Promise<Response>) => {
  const { status, body } = await answer;
  await body?.cancel();
  return status;
};

let pool: Pool;
beforeAll(async () => {
  pool = await startPool({ workers: 1, kernels: 'scalar' });
});
afterAll(() => pool.close());

const running: { stop(): Promise<unknown> }[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((service) => service.stop()));
});
async function started(settings: NonNullable<Limits['settings']> = {}): Promise<Started> {
  const service = await start({ pool, settings });
  running.push(service);
  return service;
}

describe('without keys', () => {
  it('the service is open, and a key that comes all the same does no harm', async () => {
    const { url } = await started();
    expect(await statusOf(post(url))).toBe(200);
    expect(await statusOf(post(url, { authorization: 'Bearer whatever' }))).toBe(200);
  });
});

describe('with keys', () => {
  let service: Started;
  beforeAll(async () => {
    const API_KEYS = `${entry('ann', 'ann-key')},${entry('bob', 'bob-key')}`;
    service = await start({ pool, settings: { API_KEYS } });
  });
  afterAll(() => service.stop());

  it.each([
    ['x-api-key', { 'x-api-key': 'ann-key' }],
    ['Authorization', { authorization: 'Bearer ann-key' }],
    ['Authorization, written in another way', { authorization: 'bearer  ann-key' }],
    ['both: x-api-key counts, the other may be for a proxy', { 'x-api-key': 'ann-key', authorization: 'Basic YTpi' }],
    ['both: x-api-key counts, the other may be a token', { 'x-api-key': 'ann-key', authorization: 'Bearer ey.J.x' }],
  ])('the right key is taken from %s', async (_, headers) => {
    const id = randomUUID();
    expect(await statusOf(post(service.url, { ...headers, 'x-request-id': id }))).toBe(200);
    await vi.waitFor(() => {
      expect(service.log.find(({ reqId }) => reqId === id)).toMatchObject({ status: 200, caller: 'ann' });
    });
  });

  it.each([
    ['no key', {}, 'Bearer', /^the request has no API key/],
    ['a wrong key', { 'x-api-key': 'ann-kez' }, 'Bearer error="invalid_token"', /^the API key of the request is not/],
    ['a wrong token', { authorization: 'Bearer ann-kez' }, 'Bearer error="invalid_token"', /^the API key/],
    ['an empty key', { 'x-api-key': '' }, 'Bearer', /^the request has no API key/],
    [
      'an empty key beside a wrong one',
      { 'x-api-key': '', authorization: 'Bearer x' },
      'Bearer error="invalid_token"',
      /^the API key/,
    ],
    ['a key with more behind it', { 'x-api-key': 'ann-key, bob-key' }, 'Bearer error="invalid_token"', /^the API key/],
    ['the hash of a key', { 'x-api-key': hashOf('ann-key') }, 'Bearer error="invalid_token"', /^the API key/],
    ['another scheme', { authorization: 'Basic YW5uOmFubi1rZXk=' }, 'Bearer', /^the request has no API key/],
    ['a scheme without a key', { authorization: 'Bearer' }, 'Bearer', /^the request has no API key/],
    ['the name of a caller', { authorization: 'Bearer ann' }, 'Bearer error="invalid_token"', /^the API key/],
  ])('%s is refused with 401', async (_, headers, challenge, detail) => {
    const answer = await post(service.url, headers);
    expect(answer.status).toBe(401);
    expect(answer.headers.get('content-type')).toBe(PROBLEM_TYPE);
    expect(answer.headers.get('www-authenticate')).toBe(challenge);
    const body = (await answer.json()) as { detail: string };
    expect(body).toMatchObject({ code: 'unauthorized', status: 401, detail: expect.stringMatching(detail) });
    expect(JSON.stringify(body)).not.toMatch(/ann|bob|YW5u/);
  });

  it.each([
    ['without a key hears 401 at once', '', /^HTTP\/1.1 401 /],
    ['with a key may send', 'x-api-key: ann-key\r\n', /^HTTP\/1.1 100 Continue\r\n\r\n$/],
  ])('a client that asks before it sends, %s', async (_, key, expected) => {
    const head = `host: a\r\n${key}content-type: application/json\r\ncontent-length: ${BODY.length}\r\nexpect: 100-continue`;
    const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
    socket.write(`POST ${PATH} HTTP/1.1\r\n${head}\r\nconnection: close\r\n\r\n`);
    const [first] = await once(socket, 'data');
    expect(String(first)).toMatch(expected);
    if (key !== '') {
      socket.write(BODY);
      expect(String((await once(socket, 'data'))[0])).toMatch(/^HTTP\/1.1 200 /);
    }
    socket.destroy();
  });

  it('a key in the address is none', async () => {
    expect(await statusOf(post(service.url, {}, `${PATH}?x-api-key=ann-key&api_key=ann-key`))).toBe(401);
  });

  it.each(['/', '/openapi.json', '/docs', '/docs/static/swagger-ui.css', '/problems/unauthorized'])(
    '%s is public',
    async (path) => expect(await statusOf(fetch(service.url + path))).toBe(200),
  );

  it.each(['/health/live', '/health/ready'])('%s needs no key: probes have none', async (path) => {
    expect(await statusOf(fetch(service.url + path))).toBe(200);
  });

  it.each([
    '/%761/rnn/forward',
    '/v1%2Frnn/forward',
    '/v1/rnn/forward/',
    '//v1/rnn/forward',
    '/docs/../v1/rnn/forward',
  ])('an address written as %s leads round no key', async (path) => {
    const request = `POST ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`;
    expect(await raw(service.url, request)).toMatch(/^HTTP\/1.1 40[14] /);
  });

  it('what does not exist is told without a key', async () => {
    expect(await statusOf(fetch(`${service.url}/v1/elman/forward`))).toBe(404);
    expect(await statusOf(fetch(service.url + PATH))).toBe(405);
  });

  it('a refusal is logged with the address it came from', async () => {
    const id = randomUUID();
    await statusOf(post(service.url, { 'x-request-id': id }));
    await vi.waitFor(() => {
      expect(service.log.find(({ reqId }) => reqId === id)).toMatchObject({ status: 401, address: '127.0.0.1' });
    });
  });

  it('a refused request reaches no worker', async () => {
    const { begin } = service.pool;
    let runs = 0;
    service.pool.begin = (...args) => {
      runs++;
      return begin(...args);
    };
    expect(await statusOf(post(service.url))).toBe(401);
    expect(runs).toBe(0);
    service.pool.begin = begin;
  });
});

/** One that does not listen, and never computes. */
const appWith = (settings: Limits['settings']) => {
  const pool = { tier: 'scalar', isReady: () => true, memory: { limit: 1e9 } } as Pool;
  const config = { ...loadConfig({}), ...settings };
  return buildApp({ config, pool, caches: memoryStore(1), logger: pino({ level: 'silent' }) });
};

it('a route that is added needs a key, without a word said', async () => {
  const app = await appWith({ API_KEYS: entry('ann', 'ann-key') });
  const added = ['/v2/models/lstm/infer', '/healthy', '/docs-for-us', '/v2/health/ready'];
  for (const path of added) {
    app.get(path, async ({ caller }) => ({ caller }));
  }
  const ask = async (url: string, headers = {}) => (await app.inject({ url, headers })).statusCode;
  for (const path of added) {
    expect(await ask(path)).toBe(401);
    expect(await ask(path, { 'x-api-key': 'ann-key' })).toBe(200);
  }
  expect(await ask('/metrics')).toBe(401);
  await app.close();
});

describe('keys in a file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'unroll-access-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'keys');
  let version = 0;
  /** Puts a link to a new file in the place of the old one. */
  function swap(...entries: string[]): void {
    version++;
    writeFileSync(join(folder, `keys.${version}`), entries.join('\n'));
    symlinkSync(`keys.${version}`, join(folder, 'next'));
    renameSync(join(folder, 'next'), file);
  }

  it('are rotated under load without a refused request', { timeout: 120_000 }, async () => {
    swap(entry('ann', 'old'));
    const { url } = await started({ API_KEYS_FILE: file });
    let key = 'old';
    let sending = true;
    const answered = new Map<string, number>();
    const sender = async () => {
      while (sending) {
        const sent = key;
        const got = `${sent} ${await statusOf(post(url, { authorization: `Bearer ${sent}` }))}`;
        answered.set(got, (answered.get(got) ?? 0) + 1);
      }
    };
    const senders = Array.from({ length: 8 }, sender);
    await sleep(300);

    swap(entry('ann', 'old'), entry('ann', 'new'));
    const LIMIT = { timeout: 30_000, interval: 20 };
    await vi.waitFor(async () => expect(await statusOf(post(url, { 'x-api-key': 'new' }))).toBe(200), LIMIT);
    key = 'new';
    await sleep(500); // what was sent with the old key is answered
    swap(entry('ann', 'new'));
    await vi.waitFor(async () => expect(await statusOf(post(url, { 'x-api-key': 'old' }))).toBe(401), LIMIT);
    await sleep(200);
    rmSync(file); // and if the file is lost
    await sleep(1500);

    sending = false;
    await Promise.all(senders);
    expect([...answered.keys()].sort()).toEqual(['new 200', 'old 200']);
    for (const count of answered.values()) expect(count).toBeGreaterThan(10);
  });
});

it.each([
  [{ TRUST_PROXY: 'true' }, 'TRUST_PROXY has "true" in it, but must be addresses'],
  [{ TRUST_PROXY: '10.0.0.0/8,10.0.0.0/33' }, 'TRUST_PROXY has "10.0.0.0/33" in it'],
  [{ TRUST_PROXY: '0.0.0.0/0' }, 'TRUST_PROXY has "0.0.0.0/0" in it'],
  [{ CORS_ORIGINS: 'example.org' }, 'CORS_ORIGINS has "example.org" in it'],
  [{ CORS_ORIGINS: 'https://a.org,https://b.org/' }, 'CORS_ORIGINS has "https://b.org/" in it'],
])('%j stops the start', async (access, message) => {
  await expect(appWith(access)).rejects.toThrow(ConfigError);
  await expect(appWith(access)).rejects.toThrow(message);
});

describe('pages of other origins', () => {
  const preflight = (url: string, origin: string, headers = 'content-type,x-api-key') =>
    fetch(url + PATH, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': headers },
    });

  it('are not allowed by default', async () => {
    const { url } = await started();
    const asked = await preflight(url, 'https://page.example');
    expect(asked.status).toBe(204);
    const answer = await post(url, { origin: 'https://page.example' });
    expect([...asked.headers.keys(), ...answer.headers.keys()].join()).not.toContain('access-control');
  });

  it('are allowed if they are named, others are not', async () => {
    const access = { CORS_ORIGINS: 'https://page.example, http://localhost:8080' };
    const { url } = await started(access);
    for (const origin of ['https://page.example', 'http://localhost:8080']) {
      const asked = await preflight(url, origin);
      expect(asked.status).toBe(204);
      expect(asked.headers.get('access-control-allow-origin')).toBe(origin);
      expect(asked.headers.get('vary')).toBe('Origin');
      expect((await post(url, { origin })).headers.get('access-control-allow-origin')).toBe(origin);
    }
    for (const origin of ['https://other.example', 'https://page.example.evil', 'null', 'http://page.example']) {
      expect((await preflight(url, origin)).headers.get('access-control-allow-origin')).toBeNull();
      expect((await post(url, { origin })).headers.get('access-control-allow-origin')).toBeNull();
    }
  });

  it('are allowed if they are below a domain that is named', async () => {
    const { url } = await started({ CORS_ORIGINS: 'https://*.page.example' });
    for (const [origin, allowed] of [
      ['https://a.b.page.example', 'https://a.b.page.example'],
      ['https://page.example', null],
      ['https://evil.org/.page.example', null],
    ] as const) {
      for (const answer of [await preflight(url, origin), await post(url, { origin })]) {
        expect(answer.headers.get('access-control-allow-origin')).toBe(allowed);
        expect(answer.headers.get('vary')).toMatch(/^Origin(, Accept-Encoding)?$/);
      }
    }
  });

  it('may send and see what they need, and no cookies', async () => {
    const { url } = await started({ CORS_ORIGINS: '*' });
    const asked = await preflight(url, 'https://page.example');
    expect(asked.headers.get('access-control-allow-origin')).toBe('*');
    expect(asked.headers.get('access-control-allow-headers')).toBe(
      'content-type, content-encoding, authorization, x-api-key, x-request-id, x-deadline-ms, traceparent, tracestate',
    );
    expect(asked.headers.get('access-control-allow-methods')).toBe('GET, HEAD, POST, DELETE');
    expect(asked.headers.get('access-control-allow-credentials')).toBeNull();
    const answer = await post(url, { origin: 'https://page.example' });
    expect(answer.headers.get('access-control-expose-headers')).toBe(
      'x-request-id, server-timing, traceresponse, retry-after, ratelimit-limit, ratelimit-remaining, ratelimit-reset',
    );
  });

  it('ask without a key; the request itself needs one, and the page can read that', async () => {
    const { url } = await started({ CORS_ORIGINS: 'https://page.example', API_KEYS: entry('ann', 'ann-key') });
    expect((await preflight(url, 'https://page.example')).status).toBe(204);
    const refused = await post(url, { origin: 'https://page.example' });
    expect(refused.status).toBe(401);
    expect(refused.headers.get('access-control-allow-origin')).toBe('https://page.example');
    const answer = await post(url, { origin: 'https://page.example', authorization: 'Bearer ann-key' });
    expect(answer.status).toBe(200);
  });

  it.each([{}, { API_KEYS: entry('ann', 'ann-key') }])('an OPTIONS that is no preflight is none: %j', async (keys) => {
    for (const CORS_ORIGINS of ['*', 'https://page.example']) {
      const { url } = await started({ CORS_ORIGINS, ...keys });
      const answer = await fetch(url + PATH, { method: 'OPTIONS' });
      expect([answer.status, answer.headers.get('allow')]).toEqual([204, 'POST, OPTIONS']);
      expect(await answer.text()).toBe('');
      expect([...answer.headers.keys()].join()).not.toContain('access-control');
      expect((await fetch(`${url}/nowhere`, { method: 'OPTIONS' })).status).toBe(404);
    }
  });
});

describe('headers that say what an answer is', () => {
  const expected = {
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
    'cache-control': 'no-store',
  };
  let service: Started;
  beforeAll(async () => {
    service = await start({ pool });
  });
  afterAll(() => service.stop());

  it.each([
    ['an answer', () => post(service.url)],
    ['a probe', () => fetch(`${service.url}/health/live`)],
    ['a problem', () => fetch(`${service.url}/nowhere`)],
    ['a path that cannot be read', () => fetch(`${service.url}/%ZZ`)],
  ])('are on %s', async (_, ask) => {
    const answer = await ask();
    await answer.body?.cancel();
    expect(Object.fromEntries(answer.headers)).toMatchObject(expected);
    expect(answer.headers.get('x-powered-by')).toBeNull();
    expect(answer.headers.get('server')).toBeNull();
  });

  it('are on the document, which may be kept', async () => {
    const answer = await fetch(`${service.url}/openapi.json`);
    await answer.body?.cancel();
    expect(Object.fromEntries(answer.headers)).toMatchObject({ ...expected, 'cache-control': 'no-cache' });
  });

  it('are on what is refused before it is a request', async () => {
    const answer = await raw(service.url, 'nonsense\r\n\r\n');
    for (const [name, value] of Object.entries(expected)) expect(answer).toContain(`\r\n${name}: ${value}\r\n`);
  });

  it.each(['/docs', '/docs/static/swagger-ui-bundle.js', '/docs/static/home.js'])(
    'let %s run its own scripts, and no others',
    async (path) => {
      const answer = await fetch(service.url + path);
      await answer.body?.cancel();
      const policy = answer.headers.get('content-security-policy');
      expect(policy).toMatch(/^default-src 'none'; script-src 'self'; /);
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).not.toMatch(/script-src[^;]*unsafe/);
      expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    },
  );
});

describe('the log', () => {
  it('has no key, should an error drag one along', async () => {
    const { app, log } = await started();
    const headers = { authorization: 'Bearer ann-key-5e7d', 'x-api-key': 'ann-key-5e7d', cookie: 'ann-key-5e7d' };
    const err = Object.assign(new Error('failed'), {
      headers,
      rawPacket: Buffer.from('ann-key-5e7d'),
      command: { name: 'set', args: ['ann-key-5e7d'] },
    });
    app.log.error({ err, headers, req: { headers }, request: { headers, rawHeaders: ['ann-key-5e7d'] } }, 'dragged');
    app.log.child({ reqId: 'a' }).error({ err, headers }, 'dragged');
    const lines = log.filter(({ msg }) => msg === 'dragged');
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatchObject({ err: { message: 'failed', stack: expect.any(String) } });
    expect(JSON.stringify(lines)).not.toContain('5e7d');
    expect(JSON.stringify(lines)).not.toContain(String(err.rawPacket[0]).concat(',', String(err.rawPacket[1])));
  });
});
