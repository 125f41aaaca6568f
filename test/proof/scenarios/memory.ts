import { setTimeout as sleep } from 'node:timers/promises';
import { startService } from '../../service/process.js';
import { nest, rnnBody } from '../bodies.js';
import { ceilingMib, watchPeak } from '../memory.js';
import { finding, total } from '../report.js';
import type { Scenario } from '../scenario.js';

const MIB = 2 ** 20;
const SETTINGS = { MEMORY_LIMIT: 256 * MIB, CACHE_LIMIT: 64 * MIB, WORKERS: 2 };
const CEILING_MIB = ceilingMib(SETTINGS);
const CLIENTS = 40;
const PATH = '/v1/rnn/forward';

/** Large in one way or another, or nothing that could be read. */
const BODIES = [
  rnnBody([2, 3, 2, 3], '0.5'),
  rnnBody([1, 1, 1, 2_000_000], '0'),
  rnnBody([50, 50, 64, 200], '0.123456'),
  rnnBody([1, 100, 1, 20_000], '0.1'),
  rnnBody([10, 60, 64, 100], '0.25', ',"caches":"stored"'),
  rnnBody([30, 30, 32, 300], '0.5', ',"caches":"inline"'),
  rnnBody([400, 400, 4, 4], '0.1234567890123456'),
  '['.repeat(1e6),
  `{"x":${nest('1', 1, 1, 5_000_000)}}`,
  // Read by the plain reader, and twice: the type is not found at first.
  `{"x":[[[${'0,'.repeat(3e6)}${new Array(2000).fill('1e-310').join()}]]],"dtype":"float\\u00332"}`,
  `{"x":[[[${'0,'.repeat(3e6)}${new Array(2000).fill('1e-310').join()}]]]}`,
];

/** More than the memory that the service may take, of all kinds of large requests at once. */
export const memory: Scenario = {
  what: 'seconds of large requests, more than there is memory for: does the service stay under its ceiling?',
  times: 60,
  short: 8,
  async run({ times }) {
    const service = await startService(
      Object.fromEntries(Object.entries(SETTINGS).map(([name, value]) => [name, String(value)])),
    );
    const codes: Record<string, number> = {};
    const watched = watchPeak(service.pid);
    try {
      let isOver = false;
      const client = async (from: number): Promise<void> => {
        for (let i = from; !isOver; i++) {
          const headers = { 'content-type': 'application/json' };
          const answer = await fetch(service.url + PATH, { method: 'POST', headers, body: BODIES[i % BODIES.length] });
          const code = answer.ok ? 'ok' : ((await answer.json()) as { code: string }).code;
          if (answer.ok) await answer.arrayBuffer();
          codes[code] = (codes[code] ?? 0) + 1;
        }
      };
      const clients = Array.from({ length: CLIENTS }, (_, i) => client(i));
      await sleep(1000 * times);
      isOver = true;
      await Promise.all(clients);
      const peak = watched.stop();
      const { ok = 0, overloaded = 0 } = codes;
      const known = ['ok', 'overloaded', 'invalid-json', 'invalid-request'];
      const other = Object.keys(codes).filter((code) => !known.includes(code));
      return {
        figures: { seconds: times, answers: total(codes), codes, peak_mib: peak, ceiling_mib: CEILING_MIB },
        findings: [
          finding(`resident memory stays under ${CEILING_MIB} MiB`, peak < CEILING_MIB, `${Math.round(peak)} MiB`),
          finding('some are answered, and some told that there is no memory now', ok > 0 && overloaded > 0, codes),
          finding('and nothing else', other.length === 0, other),
        ],
      };
    } finally {
      watched.stop();
      await service.stop();
    }
  },
};
