import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../../src/settings/config.js';

const docker = (file: string) => fileURLToPath(new URL(`../../docker/${file}`, import.meta.url));

interface Kind {
  readonly program: string;
  /** Starts it in the foreground, with its settings and a folder of its own. */
  start(settings: Record<string, string>, folder: string): ChildProcess;
}

const haproxy = (file: string, settings: Record<string, string>) =>
  spawn('haproxy', ['-db', '-f', file], { env: { ...process.env, ...settings } });

/** Those that docker/ configures, and one that knows less. */
export const balancers: Record<string, Kind> = {
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
  // It offers the first instance under /unroll, and names that path in no header.
  'nginx under a path': {
    program: 'nginx',
    start({ LISTEN, UNROLL_1 }, folder) {
      const file = join(folder, 'nginx.conf');
      writeFileSync(
        file,
        `pid nginx.pid; events {} http { access_log off; ${TEMPORARY} server { listen ${LISTEN};
          location /unroll/ { proxy_pass http://${UNROLL_1}/; } location /health/ { proxy_pass http://${UNROLL_1}; } } }`,
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

const TEMPORARY = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  .map((name) => `${name}_temp_path ${name};`)
  .join(' ');

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

export interface Balancer {
  readonly url: string;
  readonly pid: number;
  /** Where it could write. */
  readonly folder: string;
  /** What it has written to stdout. */
  log(): string;
  stop(): Promise<void>;
}

export function isInstalled(name: string): boolean {
  return spawnSync(balancers[name].program, ['-v']).error === undefined;
}

/** Starts it in front of two instances, which are ready. Without a BODY_LIMIT it is the default of the service. */
export async function startBalancer(
  name: string,
  [first, second]: readonly string[],
  { BODY_LIMIT = String(loadConfig({}).BODY_LIMIT), ...others }: Readonly<Record<string, string>> = {},
): Promise<Balancer> {
  const folder = mkdtempSync(join(tmpdir(), 'unroll-balancer-'));
  chmodSync(folder, 0o755); // nginx' workers are another user
  const LISTEN = `127.0.0.1:${await freePort()}`;
  const settings = { LISTEN, UNROLL_1: new URL(first).host, UNROLL_2: new URL(second).host, BODY_LIMIT, ...others };
  const child = balancers[name].start(settings, folder);
  const closed = new Promise((resolve) => child.once('close', resolve));
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const stop = async () => {
    process.off('exit', kill);
    child.kill('SIGTERM');
    await closed;
    rmSync(folder, { recursive: true, force: true });
  };
  let log = '';
  let said = '';
  child.stdout?.on('data', (chunk) => (log += chunk));
  child.stderr?.on('data', (chunk) => (said += chunk));
  const deadline = performance.now() + 20_000;
  for (;;) {
    const answer = await fetch(`http://${LISTEN}/health/ready`).catch(() => undefined);
    if (answer?.ok) return { url: `http://${LISTEN}`, pid: child.pid as number, folder, log: () => log, stop };
    if (child.exitCode !== null || performance.now() > deadline) {
      await stop();
      throw new Error(`${name} does not work: ${log}${said}`);
    }
    await sleep(50);
  }
}

/** Below those that the system gives to clients: while an instance restarts, none of them must take its port. */
export async function freePort(): Promise<number> {
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
