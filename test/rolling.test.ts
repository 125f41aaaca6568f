import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { type Service, startService } from './service.js';
import { numbersFrom, operationCalled, tensorsFor } from './values.js';

/**
 * Rolling restarts of two instances behind the balancers that docker/ configures: ROLLS=20 makes it so many. Every
 * answer is compared with the one that an instance gave alone.
 */
const ROLLS = Number(process.env.ROLLS ?? 1);

const docker = (file: string) => fileURLToPath(new URL(`../docker/${file}`, import.meta.url));

interface Balancer {
  readonly program: string;
  /** Starts it in the foreground, with its settings and a folder of its own. */
  start(settings: Record<string, string>, folder: string): ChildProcess;
}

const haproxy = (file: string, settings: Record<string, string>) =>
  spawn('haproxy', ['-db', '-f', file], { env: { ...process.env, ...settings } });

const balancers: Record<string, Balancer> = {
  HAProxy: { program: 'haproxy', start: (settings) => haproxy(docker('haproxy.cfg'), settings) },
  nginx: {
    program: 'nginx',
    start(settings, folder) {
      const template = readFileSync(docker('nginx.conf.template'), 'utf8');
      const file = join(folder, 'nginx.conf');
      writeFileSync(
        file,
        template.replace(/\$\{(\w+)\}/g, (_, name) => settings[name]),
      );
      return spawn('nginx', ['-p', folder, '-c', file, '-e', 'stderr', '-g', 'daemon off;']);
    },
  },
  // As a Service of Kubernetes is: it knows who is ready, and nothing of requests; it repeats none.
  'a balancer of connections': {
    program: 'haproxy',
    start(settings, folder) {
      const file = join(folder, 'haproxy.cfg');
      writeFileSync(file, CONNECTIONS_ONLY);
      return haproxy(file, settings);
    },
  },
};

const CONNECTIONS_ONLY = `
defaults
    mode tcp
    retries 0
    timeout connect 2s
    timeout client 60s
    timeout server 60s
listen unroll
    bind "\${LISTEN}"
    balance roundrobin
    option httpchk GET /health/ready
    default-server check inter 1s fastinter 300ms downinter 250ms fall 3 rise 1
    server unroll-1 "\${UNROLL_1}"
    server unroll-2 "\${UNROLL_2}"
`;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

describe.each(Object.keys(balancers))('behind %s', (name) => {
  const { program } = balancers[name];
  const isInstalled = spawnSync(program, ['-v']).error === undefined;
  if (!isInstalled) console.info(`${program} is not installed: rolling restarts behind it are not tested`);

  it.skipIf(!isInstalled && process.env.CI !== 'true')(
    `${ROLLS} rolling restarts fail no request`,
    { timeout: 120_000 + ROLLS * 60_000 },
    async () => {
      if (!isInstalled) throw new Error(`${program} is not installed`);
      const instances = [await startInstance(await freePort()), await startInstance(await freePort())];
      cleanups.push(() => Promise.all(instances.map(({ stop }) => stop())));
      const bodies = await Promise.all(
        BODIES.map(async (body) => ({ body, expected: await alone(instances[0], body) })),
      );
      const url = await startBalancer(name, instances);

      const load = startLoad(url, bodies);
      cleanups.push(load.end);
      for (let roll = 0; roll < ROLLS; roll++) {
        for (const [i, { url: address, stop }] of instances.entries()) {
          const before = load.answered();
          expect(await stop()).toBe(0);
          expect(load.answered(), 'requests go on while an instance stops').toBeGreaterThan(before);
          instances[i] = await startInstance(Number(new URL(address).port));
        }
      }
      const failures = await load.end();
      console.info(`${name}: ${ROLLS} rolling restarts, ${load.answered()} requests, ${failures.length} failed`);
      expect(failures).toEqual([]);
    },
  );
});

/** A service with the grace that is the default. */
function startInstance(port: number): Promise<Service> {
  return startService({ PORT: String(port), WORKERS: '1', DRAIN_GRACE: '' });
}

async function startBalancer(name: string, [first, second]: readonly Service[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'unroll-balancer-'));
  chmodSync(folder, 0o755); // nginx' workers are another user
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  const LISTEN = `127.0.0.1:${await freePort()}`;
  const settings = { LISTEN, UNROLL_1: new URL(first.url).host, UNROLL_2: new URL(second.url).host };
  const child = balancers[name].start(settings, folder);
  const closed = new Promise((resolve) => child.once('close', resolve));
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  cleanups.push(async () => {
    process.off('exit', kill);
    child.kill('SIGTERM');
    await closed;
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (said += chunk));
  const deadline = performance.now() + 20_000;
  for (;;) {
    const answer = await fetch(`http://${LISTEN}/health/ready`).catch(() => undefined);
    if (answer?.ok) return `http://${LISTEN}`;
    if (child.exitCode !== null || performance.now() > deadline) throw new Error(`${name} does not work: ${said}`);
    await sleep(50);
  }
}

/** Below those that the system gives to clients: while an instance restarts, none of them must take its port. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await new Promise((resolve) => {
      server.once('listening', () => resolve(true)).once('error', () => resolve(false));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** Of less than 1 KB, and of 400 KB, which is more than a balancer keeps in memory. */
const BODIES = [
  { n_x: 2, n_a: 3, m: 1, T_x: 4 },
  { n_x: 16, n_a: 16, m: 16, T_x: 64 },
].map((dims) =>
  JSON.stringify(
    tensorsFor(operationCalled('lstmForward').request, { ...dims, n_y: 2, T_da: dims.T_x }, numbersFrom(1), {
      prediction: true,
      way: 0,
      extras: false,
    }),
  ),
);

interface Exchange {
  readonly body: string;
  readonly expected: string;
}

async function alone({ url }: Service, body: string): Promise<string> {
  const { status, text } = await post(url, body);
  if (status !== 200) throw new Error(`${status}: ${text}`);
  return text;
}

const CLIENTS = 8;

/** Clients that ask again as soon as they are answered: one half keeps its connection, one half opens one each time. */
function startLoad(url: string, exchanges: readonly Exchange[]) {
  const failures: string[] = [];
  let answered = 0;
  let isEnding = false;
  const clients = Array.from({ length: CLIENTS }, async (_, client) => {
    const agent = new Agent({ keepAlive: client % 2 === 0, maxSockets: 1 });
    for (let i = client >> 1; !isEnding; i++) {
      const { body, expected } = exchanges[i % exchanges.length];
      const { status, text } = await post(url, body, agent).catch((error: Error) => ({
        status: 0,
        text: String(error),
      }));
      if (status === 200 && text === expected) answered++;
      else failures.push(`${new Date().toISOString()} ${body.length} bytes: ${status} ${text.slice(0, 200)}`);
      await sleep(5);
    }
    agent.destroy();
  });
  return {
    answered: () => answered,
    async end() {
      isEnding = true;
      await Promise.all(clients);
      return failures;
    },
  };
}

function post(url: string, body: string, agent?: Agent): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const options = { method: 'POST', headers, timeout: 60_000, ...(agent ? { agent } : {}) };
    const sent = request(`${url}/v1/lstm/forward`, options, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.once('error', reject);
      answer.once('end', () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
    });
    sent.once('timeout', () => sent.destroy(new Error('no answer in 60 s')));
    sent.once('error', reject);
    sent.end(body);
  });
}
