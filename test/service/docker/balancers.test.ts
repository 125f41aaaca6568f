import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PROBLEM_TYPE } from '../../../src/http/problems.js';
import { loadConfig } from '../../../src/settings/config.js';
import { type Balancer, isInstalled, startBalancer } from '../balancer.js';
import { pathOf, read } from './files.js';
import { type Answer, expectProblem } from './problem.js';

/** An instance that is well, and refuses all work. */
interface Instance {
  readonly url: string;
  readonly asked: { readonly path: string; readonly id: string | undefined }[];
  close(): void;
}

const REFUSAL = JSON.stringify({ type: '/problems/overloaded', code: 'overloaded' });

async function startInstance(): Promise<Instance> {
  const asked: { path: string; id: string | undefined }[] = [];
  const server: Server = createServer(({ url = '', headers }, response) => {
    if (url === '/health/ready') return response.end('{}');
    asked.push({ path: url, id: headers['x-request-id'] as string | undefined });
    return response.writeHead(503, { 'content-type': PROBLEM_TYPE, 'retry-after': '7' }).end(REFUSAL);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${port}`, asked, close };
}

/** As it is written: fetch would tidy the path. */
function ask(url: string, path: string, method = 'GET', headers: Record<string, string> = {}): Promise<Answer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path, method, headers, agent: false }, (answer) => {
      let text = '';
      answer.on('data', (chunk) => (text += chunk));
      answer.once('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text }));
    });
    sent.once('error', reject);
    sent.end(method === 'POST' ? '{}' : undefined);
  });
}

describe.each(['HAProxy', 'nginx'])('behind %s', (name) => {
  const isHere = isInstalled(name) || process.env.CI === 'true';
  if (!isHere) console.info(`${name} is not installed: what it answers is not tested`);
  describe.runIf(isHere)('as docker/ configures it', () => {
    let instances: Instance[];
    let balancer: Balancer;
    beforeAll(async () => {
      instances = [await startInstance(), await startInstance()];
      balancer = await startBalancer(
        name,
        instances.map(({ url }) => url),
      );
      // HAProxy knows by now that both are well.
      await sleep(500);
    });
    afterAll(async () => {
      await balancer?.stop();
      for (const { close } of instances) close();
    });
    const pathsAsked = () => instances.map(({ asked }) => asked.splice(0).map(({ path }) => path));

    it('what both instances refuse is asked of each of them once, and the refusal comes as it is', async () => {
      for (let i = 0; i < 4; i++) {
        const { status, headers, text } = await ask(balancer.url, '/v1/lstm/forward', 'POST');
        expect({ status, text }).toEqual({ status: 503, text: REFUSAL });
        expect(headers).toMatchObject({ 'content-type': PROBLEM_TYPE, 'retry-after': '7' });
        expect(pathsAsked()).toEqual([['/v1/lstm/forward'], ['/v1/lstm/forward']]);
      }
    });

    it.each(['/metrics', '/metrics?a=b', '/%6detrics', '/metric%73', '/metrics/', 'http://example.org/metrics'])(
      '%s is not there',
      async (path) => {
        const plain = path.replace('http://example.org', '').replace(/\?.*/, '');
        const headers = { host: 'example.org', 'x-request-id': 'mine' };
        expectProblem(await ask(balancer.url, path, 'GET', headers), 'not-found', plain, 'mine');
        expect((await ask(balancer.url, path, 'HEAD', headers)).status).toBe(404);
        expect(pathsAsked()).toEqual([[], []]);
      },
    );

    it('/metrics with a fragment, which the service would ignore, does not reach it', async () => {
      expect((await ask(balancer.url, '/metrics#a')).status).toBeGreaterThanOrEqual(400);
      expect(pathsAsked()).toEqual([[], []]);
    });

    it.runIf(name === 'HAProxy')(
      'the log has the id that the instance has, and neither queries nor probes',
      async () => {
        await ask(balancer.url, '/v1/found?key=secret', 'POST', { 'x-request-id': 'mine-1' });
        await ask(balancer.url, '/v1/found', 'POST', { 'x-request-id': '"not well-formed"' });
        const ids = instances.flatMap(({ asked }) => asked.splice(0).map(({ id }) => id));
        const made = ids.find((id) => id !== 'mine-1');
        for (let tries = 0; tries < 100 && !balancer.log().includes(`${made}`); tries++) await sleep(20);
        const lines = balancer.log().split('\n');
        expect(lines.filter((line) => /POST \/v1\/found HTTP\/1\.1 mine-1$/.test(line))).toHaveLength(1);
        expect(balancer.log()).not.toMatch(/secret|well-formed|\/health/);
        expect(made).toMatch(/^[0-9a-f-]{36}$/);
      },
    );

    it('without an instance the answer is a problem that says when to come again', async () => {
      for (const { close } of instances) close();
      const headers = { 'x-request-id': 'mine' };
      const answer = await ask(balancer.url, '/v1/a"b?c', 'POST', headers);
      expectProblem(answer, 'overloaded', name === 'nginx' ? '/v1/a' : '/v1/a"b', 'mine');
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
      await sleep(2000); // HAProxy has given them up
      expectProblem(await ask(balancer.url, '/v1/a', 'POST', headers), 'overloaded', '/v1/a', 'mine');
      const made = await ask(balancer.url, '/v1/a', 'POST');
      expectProblem(made, 'overloaded', '/v1/a', String(made.headers['x-request-id']));
    });
  });
});

it.runIf(isInstalled('HAProxy') || process.env.CI === 'true')('HAProxy has nothing to say of its configuration', () => {
  const env = { ...process.env, LISTEN: '127.0.0.1:1', UNROLL_1: '127.0.0.1:2', UNROLL_2: '127.0.0.1:3' };
  const { stdout, stderr } = spawnSync('haproxy', ['-c', '-f', pathOf('docker/haproxy.cfg')], {
    env,
    encoding: 'utf8',
  });
  expect(stdout + stderr).toBe('Configuration file is valid\n');
});

it('a balancer waits for longer than a request may take', () => {
  const seconds = (file: string, name: string) => Number(new RegExp(`\\b${name} (\\d+)s`).exec(read(file))?.[1]);
  const longest = loadConfig({}).DEADLINE_LIMIT / 1000;
  expect(seconds('docker/haproxy.cfg', 'timeout server')).toBeGreaterThan(longest);
  expect(seconds('docker/nginx.conf.template', 'proxy_read_timeout')).toBeGreaterThan(longest);
});

it('nginx closes an idle connection to an instance sooner than the instance would', () => {
  const seconds = /upstream unroll [\s\S]*? keepalive_timeout (\d+)s;/.exec(read('docker/nginx.conf.template'))?.[1];
  expect(1000 * Number(seconds)).toBeLessThan(loadConfig({}).KEEP_ALIVE_TIMEOUT);
});
