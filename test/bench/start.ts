import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { startService } from '../service/process.js';
import { type Part, progress, report } from './part.js';
import { mebibytes, residentBytes } from './process.js';
import { rounded, spread, taken } from './statistics.js';

/** From the start of the process until it takes work, and what it has resident then. */
export const start: Part = {
  what: 'from the start of the process to ready, in ms, and memory when idle',
  seconds: 0,
  async measure({ workers, quick }) {
    const counts = [...new Set(workers ?? [1, availableParallelism()])];
    const all = counts.map((): Start[] => []);
    for (let turn = 0; turn < (quick ? 2 : TURNS); turn++) {
      for (const [i, count] of counts.entries()) {
        progress(`start, ${count} workers`);
        all[i].push(await startOne(count, quick ? 100 : IDLE_MS));
      }
    }
    const figures = counts.map((workers, i) => ({
      bench: 'start',
      workers,
      ...taken(spread(all[i].map(({ ms }) => ms)), 'ms'),
      idle_rss_mib: rounded(spread(all[i].map(({ mib }) => mib)).median),
    }));
    return [
      report('Start to ready', figures, {
        workers: (f) => f.workers,
        'median ms': (f) => f.median_ms,
        'p10 ms': (f) => f.p10_ms,
        'p90 ms': (f) => f.p90_ms,
        starts: (f) => f.runs,
        'idle MiB': (f) => f.idle_rss_mib,
      }),
    ];
  },
};

const TURNS = 5;
const IDLE_MS = 1000;

interface Start {
  readonly ms: number;
  readonly mib: number;
}

async function startOne(workers: number, idle: number): Promise<Start> {
  const begin = performance.now();
  const { url, pid, stop } = await startService({ WORKERS: String(workers) });
  try {
    while (!(await fetch(`${url}/health/ready`)).ok) await sleep(1);
    const ms = performance.now() - begin;
    await sleep(idle);
    return { ms, mib: mebibytes(residentBytes(pid)) };
  } finally {
    await stop();
  }
}
