import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** A service in a process of its own. */
export interface Service {
  readonly url: string;
  readonly pid: number;
  /** From now on nobody reads its log, which is a pipe. */
  leaveLog(): void;
  /**
   * Sends SIGTERM and resolves with the exit code, or 128 + the signal's number if a signal ended the process,
   * as shells count it. A process that does not stop in time is killed.
   */
  stop(): Promise<number>;
}

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
/** A start takes a second of processor time, of which a busy machine may give little. */
const START_LIMIT_MS = 90_000;
/** More than DRAIN_LIMIT, so that the service's own limit is met first. */
const STOP_LIMIT_MS = 80_000;

/**
 * Starts what `npm run build` made, on a free port of this machine.
 *
 * @param env environment variables beside those of this process. The port is read out of the log, so LOG_LEVEL
 *   must stay at info or below. Without DRAIN_GRACE a stop does not wait for balancers.
 * @throws Error with what the process wrote to stderr, if it exits before it listens
 */
export async function startService(env: Readonly<Record<string, string>> = {}): Promise<Service> {
  const child = spawn(process.execPath, ['--enable-source-maps', MAIN], {
    env: { ...process.env, HOST: '127.0.0.1', PORT: '0', LOG_LEVEL: 'info', DRAIN_GRACE: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const killWithParent = () => child.kill('SIGKILL');
  process.once('exit', killWithParent);
  const exited = exitCode(child).finally(() => process.off('exit', killWithParent));

  let stopped: Promise<number> | undefined;
  const stop = () => {
    stopped ??= end(child, exited);
    return stopped;
  };
  try {
    const url = await listening(child, exited);
    return { url, pid: child.pid as number, leaveLog: () => child.stdout.pause(), stop };
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

function exitCode(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject); // it could not be started
    // 'close' rather than 'exit': by then stderr has been read to its end.
    child.once('close', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
}

/** The address that the service logs once it listens. */
async function listening(child: ChildProcess, exited: Promise<number>): Promise<string> {
  let stderr = '';
  child.stderr?.on('data', (chunk) => {
    stderr = (stderr + chunk).slice(-10_000);
  });
  const timer = new AbortController();
  try {
    return await Promise.race([
      loggedAddress(child),
      exited.then((code) => {
        throw new Error(`the service exited with ${code} before it listened: ${stderr.trim() || 'stderr is empty'}`);
      }),
      sleep(START_LIMIT_MS, undefined, { signal: timer.signal }).then(() => {
        throw new Error(`the service did not log within ${START_LIMIT_MS} ms where it listens: ${stderr.trim()}`);
      }),
    ]);
  } finally {
    timer.abort();
  }
}

/** Reads the log on to its end: a full pipe would block the service. */
function loggedAddress({ stdout }: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    if (!stdout) return;
    const lines = createInterface({ input: stdout });
    lines.on('line', (line) => {
      const address = /"msg":"Server listening at (http:[^"]+)"/.exec(line)?.[1];
      if (address === undefined) return;
      lines.close();
      stdout.resume();
      resolve(address);
    });
  });
}

async function end(child: ChildProcess, exited: Promise<number>): Promise<number> {
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
  return exited.finally(() => clearTimeout(timer));
}
