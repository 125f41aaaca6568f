import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse, stringify } from 'yaml';

export const FOLDER = new URL('../../../docker/prometheus/', import.meta.url);

/** Is the program installed? In CI it has to be: what needs it then fails without it. */
export function canRun(program: string): boolean {
  return process.env.CI === 'true' || spawnSync(program, ['--version']).status === 0;
}

/** Runs promtool; its output is in the error if it finds something. */
export function promtool(...parameters: string[]): string {
  return promtoolReads('', ...parameters);
}

/** Runs promtool with a text to read. */
export function promtoolReads(text: string, ...parameters: string[]): string {
  return execFileSync('promtool', parameters, { encoding: 'utf8', stdio: 'pipe', input: text });
}

export interface Prometheus {
  /** The value of a path of the HTTP interface, such as `query?query=up`. */
  ask(path: string): Promise<unknown>;
  stop(): Promise<void>;
}

/** Prometheus with the committed configuration, but with these targets, looked at every second. */
export async function startPrometheus(targets: readonly string[]): Promise<Prometheus> {
  const folder = mkdtempSync(join(tmpdir(), 'unroll-prometheus-'));
  const config = parse(readFileSync(new URL('prometheus.yml', FOLDER), 'utf8'));
  config.global = { scrape_interval: '1s', evaluation_interval: '1s' };
  config.scrape_configs[0].static_configs = [{ targets }];
  writeFileSync(join(folder, 'prometheus.yml'), stringify(config));
  writeFileSync(join(folder, 'alerts.yml'), readFileSync(new URL('alerts.yml', FOLDER)));
  const port = await freePort();
  const child = spawn(
    'prometheus',
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--log.level=warn',
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const stop = async () => {
    await end(child);
    rmSync(folder, { recursive: true });
  };
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; !(await isReady(url)); tries++) {
    if (tries === 300 || child.exitCode !== null) {
      await stop();
      throw new Error('prometheus does not start');
    }
    await sleep(100);
  }
  return {
    async ask(path) {
      const answer = await fetch(`${url}/api/v1/${path}`);
      const { status, data, error } = (await answer.json()) as { status: string; data: unknown; error?: string };
      if (status !== 'success') throw new Error(`${path}: ${error}`);
      return data;
    },
    stop,
  };
}

async function isReady(url: string): Promise<boolean> {
  return fetch(`${url}/-/ready`).then(
    ({ ok }) => ok,
    () => false,
  );
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
