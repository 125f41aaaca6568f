import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { scrape } from '../http/monitoring/scrape.js';
import { freePort } from './redis.js';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'unroll-log-'));
const running: ChildProcess[] = [];
const open: number[] = [];
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
  for (const fd of open.splice(0)) closeSync(fd);
  rmSync(folder, { recursive: true, force: true });
});

interface Logging {
  readonly url: string;
  readonly child: ChildProcess;
  /** What the log's reader reads next: all that is there. */
  read(): string;
  /** The reader is gone. */
  leave(): void;
  stop(signal: NodeJS.Signals): Promise<{ code: number | null; ms: number }>;
}

/** The service with a log that is read by nobody but this test: through a pipe, or through the socket that Node makes. */
async function started(kind: 'pipe' | 'socket'): Promise<Logging> {
  const port = await freePort();
  const env = { ...process.env, PORT: String(port), WORKERS: '1', DRAIN_GRACE: '0' };
  let stdout: number | 'pipe' = 'pipe';
  const path = join(mkdtempSync(join(tmpdir(), 'unroll-log-')), 'pipe');
  let reader = -1;
  if (kind === 'pipe') {
    expect(spawnSync('mkfifo', [path]).status).toBe(0);
    reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    stdout = openSync(path, constants.O_WRONLY);
    open.push(reader);
  }
  const child = spawn(process.execPath, [MAIN], { env, stdio: ['ignore', stdout, 'inherit'] });
  if (typeof stdout === 'number') closeSync(stdout);
  running.push(child);
  const url = `http://127.0.0.1:${port}`;
  while (!(await fetch(`${url}/health/ready`).catch(() => undefined))?.ok) await sleep(20);
  return {
    url,
    child,
    read() {
      if (kind === 'socket') return String(child.stdout?.read() ?? '');
      const chunk = Buffer.alloc(2 ** 16);
      let text = '';
      for (;;) {
        try {
          const length = readSync(reader, chunk);
          if (length === 0) return text;
          text += chunk.toString('latin1', 0, length);
        } catch {
          return text; // nothing more is there now
        }
      }
    },
    leave() {
      if (kind === 'socket') child.stdout?.destroy();
      else closeSync(open.splice(open.indexOf(reader), 1)[0]);
    },
    async stop(signal) {
      const start = performance.now();
      child.kill(signal);
      const [code] = await once(child, 'exit');
      return { code: code as number | null, ms: performance.now() - start };
    },
  };
}

/** As many requests as lines of the log, each of more than 600 bytes; all of them are answered. */
async function makeLines({ url }: Logging, count: number): Promise<void> {
  for (let sent = 0; sent < count; sent += 50) {
    const answers = Array.from({ length: 50 }, (_, i) =>
      fetch(`${url}/${'x'.repeat(256)}`, { headers: { 'x-request-id': `${sent + i}`.padStart(100, '0') } }),
    );
    for (const answer of await Promise.all(answers)) {
      expect(answer.status).toBe(404);
      await answer.arrayBuffer();
    }
  }
}

const memoryOf = ({ child }: Logging) =>
  1024 * Number(/VmRSS:\s*(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]);
const droppedBy = async ({ url }: Logging) =>
  (await scrape(url)).find(({ name }) => name === 'unroll_log_lines_dropped_total')?.value;
/** Whole lines, and nothing else. */
const linesIn = (text: string) => {
  expect(text).toMatch(/\n$/);
  const lines = text.slice(0, -1).split('\n');
  return lines.map((line) => JSON.parse(line));
};

describe('a log that goes into a pipe', () => {
  it('and is not read: requests are answered, what is dropped is counted, and said when it is read again', async () => {
    const service = await started('pipe');
    await makeLines(service, 1000);
    expect(await droppedBy(service)).toBe(0); // they wait
    await makeLines(service, 1500);
    const dropped = await droppedBy(service);
    expect(dropped).toBeGreaterThan(0);
    const memory = memoryOf(service);
    await makeLines(service, 500);
    expect(await droppedBy(service)).toBe((dropped ?? 0) + 500);
    expect(memoryOf(service) - memory).toBeLessThan(20 * 2 ** 20);

    let text = '';
    while (!text.includes('nobody read the log')) {
      text += service.read();
      await sleep(10);
    }
    await makeLines(service, 50);
    await sleep(200);
    const lines = linesIn(text + service.read());
    expect(lines.filter(({ msg }) => msg === 'lines were dropped, as nobody read the log')).toEqual([
      expect.objectContaining({ level: 40, dropped: (dropped ?? 0) + 500 }),
    ]);
    expect(lines.filter(({ msg }) => msg === 'request answered')).toHaveLength(2550 - (dropped ?? 0));
    expect(await droppedBy(service)).toBe((dropped ?? 0) + 500);
  });
});

describe.each(['pipe', 'socket'] as const)('a log that goes into a %s', (kind) => {
  it.each(['SIGTERM', 'SIGINT'] as const)('and is not read: %s ends the process in time, with 0', async (signal) => {
    const service = await started(kind);
    await makeLines(service, 800);
    const { code, ms } = await service.stop(signal);
    expect(code).toBe(0);
    expect(ms).toBeLessThan(4000);
    // What was taken are whole lines.
    if (kind === 'pipe') expect(linesIn(service.read()).length).toBeGreaterThan(10);
  });

  it.each(['SIGTERM', 'SIGINT'] as const)(
    'whose reader has left: requests are answered, and %s ends the process in time, with 0',
    async (signal) => {
      const service = await started(kind);
      await makeLines(service, 50);
      service.leave();
      await makeLines(service, 200);
      const { code, ms } = await service.stop(signal);
      expect(code).toBe(0);
      expect(ms).toBeLessThan(4000);
    },
  );

  it('and is read: has every line at the end of the process', async () => {
    const service = await started(kind);
    let text = '';
    let isOver = false;
    const reading = (async () => {
      while (!isOver) {
        text += service.read();
        await sleep(1);
      }
    })();
    await makeLines(service, 200);
    expect((await service.stop('SIGTERM')).code).toBe(0);
    await sleep(100);
    isOver = true;
    await reading;
    const lines = linesIn(text + service.read());
    expect(lines.filter(({ msg }) => msg === 'request answered')).toHaveLength(200);
    expect(lines.at(-1)).toMatchObject({ msg: 'stopped' });
  });
});

it('a log that goes into a file has every line at the end of the process', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'unroll-log-')), 'log');
  const fd = openSync(file, 'w');
  const child = spawn(process.execPath, [MAIN], {
    env: { ...process.env, PORT: '0', DRAIN_GRACE: '0' },
    stdio: ['ignore', fd, 'inherit'],
  });
  running.push(child);
  closeSync(fd);
  while (!readFileSync(file, 'utf8').includes('listening')) await sleep(20);
  child.kill('SIGTERM');
  expect((await once(child, 'exit'))[0]).toBe(0);
  expect(linesIn(readFileSync(file, 'utf8')).at(-1)).toMatchObject({ msg: 'stopped' });
});
