import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { numbersFrom, operationCalled, tensorsFor } from '../values.js';
import { type Service, startService } from './process.js';
import { freePort, hasRedis, type RedisServer, startRedis } from './redis.js';

const dims = { n_x: 2, n_a: 3, n_y: 1, m: 2, T_x: 3 };
const forward = tensorsFor(operationCalled('rnnForward').request, dims, numbersFrom(1, 0.5), {
  prediction: false,
  way: 0,
  extras: false,
});

const isHere = hasRedis && (process.env.CI === 'true' || spawnSync('openssl', ['version']).status === 0);
if (!isHere) console.info('redis-server or openssl is not installed: Redis over TLS is not tested');

let folder: string;
let server: RedisServer;
let port: number;
beforeAll(async () => {
  if (!isHere) return;
  folder = mkdtempSync(join(tmpdir(), 'unroll-tls-'));
  const at = (name: string) => join(folder, name);
  const openssl = (...words: string[]) => execFileSync('openssl', words, { stdio: 'pipe' });
  openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-subj',
    '/CN=a company',
    '-days',
    '2',
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.crt'),
  );
  openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost', '-keyout', at('key'), '-out', at('csr'));
  writeFileSync(at('names'), 'subjectAltName=DNS:localhost');
  openssl(
    'x509',
    '-req',
    '-in',
    at('csr'),
    '-CA',
    at('ca.crt'),
    '-CAkey',
    at('ca.key'),
    '-CAcreateserial',
    '-days',
    '2',
    '-extfile',
    at('names'),
    '-out',
    at('crt'),
  );
  port = await freePort();
  const tls = { 'tls-port': port, 'tls-cert-file': at('crt'), 'tls-key-file': at('key'), 'tls-auth-clients': 'no' };
  server = await startRedis(
    undefined,
    Object.entries(tls).flatMap(([name, value]) => [`--${name}`, `${value}`]),
  );
});
afterAll(async () => {
  await server?.stop();
  if (isHere) rmSync(folder, { recursive: true });
});

async function withService(env: Record<string, string>, act: (service: Service) => Promise<void>): Promise<void> {
  const service = await startService({ WORKERS: '1', CACHE_URL: `rediss://localhost:${port}`, ...env });
  try {
    await act(service);
  } finally {
    await service.stop();
  }
}

async function post(
  { url }: Service,
  path: string,
  body: object,
): Promise<{ status: number; answer: Record<string, unknown> }> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) });
  return { status: response.status, answer: (await response.json()) as Record<string, unknown> };
}
const store = (service: Service) => post(service, '/v1/rnn/forward', { ...forward, caches: 'stored' });

describe.skipIf(!isHere)('a Redis that speaks TLS', () => {
  it('with a certificate of an authority of ones own is trusted where NODE_EXTRA_CA_CERTS names that', async () => {
    await withService({ NODE_EXTRA_CA_CERTS: join(folder, 'ca.crt') }, async (service) => {
      await vi.waitFor(async () => expect((await store(service)).status).toBe(200), { timeout: 20_000, interval: 100 });
      const { answer } = await store(service);
      const { a, cache_id } = answer;
      const back = await post(service, '/v1/rnn/backward', { cache_id, da: a });
      expect(back.status).toBe(200);
    });
  });

  it('is not trusted otherwise: what stores is told 503, and what does not is computed', async () => {
    await withService({}, async (service) => {
      const { status, answer } = await store(service);
      expect(status).toBe(503);
      expect(answer).toMatchObject({ code: 'cache-unavailable' });
      expect((await post(service, '/v1/rnn/forward', forward)).status).toBe(200);
    });
  });
});
