import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Service, startService } from '../service/process.js';

/** The real service, and a way to break its workers from outside. */
export interface Breakable extends Service {
  /** Ends a worker at random, whatever it does. */
  kill(): Promise<void>;
  /** Resolves with the milliseconds until so many workers are alive, or Infinity after the limit. */
  alive(workers: number, limit: number): Promise<number>;
}

export const FAULTS = ['throw', 'exit', 'hang', 'oom', 'crash'] as const;
export type Fault = (typeof FAULTS)[number];

const MARK = 'chaos-on-purpose-';
const PRELOAD = new URL('faults.mjs', import.meta.url);

/** A body that does harm to the worker that reads it. Without the harm it would be refused: no such member. */
export function harmful(fault: Fault): string {
  return JSON.stringify({ [MARK + fault]: 1 });
}

export async function startBreakable(env: Readonly<Record<string, string>> = {}): Promise<Breakable> {
  const folder = mkdtempSync(join(tmpdir(), 'unroll-chaos-'));
  const path = join(folder, 'socket');
  const service = await startService({
    NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --import=${PRELOAD.href}`,
    CHAOS_SOCKET: path,
    CHAOS_MARK: MARK,
    ...env,
  });
  const socket = connect(path);
  const command = async (text: string): Promise<string> => {
    socket.write(text);
    const [data] = await once(socket, 'data');
    return data.toString().trim();
  };
  return {
    ...service,
    async kill() {
      await command('kill');
    },
    async alive(workers, limit) {
      const start = performance.now();
      while (Number(await command('threads')) < workers) {
        if (performance.now() - start > limit) return Number.POSITIVE_INFINITY;
        await sleep(5);
      }
      return performance.now() - start;
    },
    async stop() {
      socket.destroy();
      const code = await service.stop();
      rmSync(folder, { recursive: true });
      return code;
    },
  };
}
