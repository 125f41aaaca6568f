import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Where there is none, what needs it is left out; never in CI. */
export const hasRedis = process.env.CI === 'true' || spawnSync('redis-server', ['--version']).status === 0;
if (!hasRedis) console.info('redis-server is not installed: what needs it is not tested');

/** A Redis server in a process of its own. */
export interface RedisServer {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Kills it with SIGKILL. */
  stop(): Promise<void>;
}

const START_LIMIT_MS = 20_000;

/**
 * Starts a real redis-server on this machine, which writes nothing to the disk, and resolves when it answers.
 *
 * @param port by default a free one; the port of one that was stopped starts it again, empty
 * @param more arguments of redis-server, such as `--maxmemory`
 */
export async function startRedis(port?: number, more: readonly string[] = []): Promise<RedisServer> {
  const chosen = port ?? (await freePort());
  const own = ['--port', String(chosen), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  const child = spawn('redis-server', [...own, ...more], { stdio: 'ignore' });
  const killWithParent = () => child.kill('SIGKILL');
  process.once('exit', killWithParent);
  const gone = once(child, 'exit').finally(() => process.off('exit', killWithParent));
  const stop = async () => {
    child.kill('SIGKILL');
    await gone;
  };
  const limit = Date.now() + START_LIMIT_MS;
  while (!(await answersPing(chosen))) {
    if (child.exitCode !== null || Date.now() > limit) {
      child.kill('SIGKILL');
      throw new Error(`redis-server did not start on port ${chosen}`);
    }
    await sleep(20);
  }
  return { url: `redis://127.0.0.1:${chosen}`, port: chosen, pid: child.pid as number, stop };
}

function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    socket.setTimeout(500, () => socket.destroy());
    socket.once('data', (data) => {
      resolve(data.toString().startsWith('+PONG'));
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
