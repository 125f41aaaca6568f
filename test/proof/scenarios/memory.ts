import { setTimeout as sleep } from 'node:timers/promises';
import { mebibytes, residentBytes } from '../../bench/process.js';
import { startService } from '../../service.js';
import { finding, total } from '../report.js';
import type { Scenario } from '../scenario.js';

const MIB = 2 ** 20;
const [MEMORY_LIMIT, CACHE_LIMIT, WORKERS] = [256 * MIB, 64 * MIB, 2];
/** As the README states it: for the process, for each worker, and what the settings allow. */
const CEILING_MIB = 150 + 200 * WORKERS + (MEMORY_LIMIT + CACHE_LIMIT) / MIB;
const CLIENTS = 40;
const PATH = '/v1/rnn/forward';

const nest = (value: string, ...sizes: number[]) =>
  sizes.reduceRight((inner, n) => `[${new Array(n).fill(inner).join()}]`, value);

function body(dims: readonly [number, number, number, number], value: string, more = ''): string {
  const [n_x, n_a, m, T_x] = dims;
  const parameters = `{"Wax":${nest(value, n_a, n_x)},"Waa":${nest(value, n_a, n_a)},"ba":${nest(value, n_a, 1)}}`;
  return `{"x":${nest(value, n_x, m, T_x)},"a0":${nest(value, n_a, m)},"parameters":${parameters}${more}}`;
}

/** Large in one way or another, or nothing that could be read. */
const BODIES = [
  body([2, 3, 2, 3], '0.5'),
  body([1, 1, 1, 2_000_000], '0'),
  body([50, 50, 64, 200], '0.123456'),
  body([1, 100, 1, 20_000], '0.1'),
  body([10, 60, 64, 100], '0.25', ',"caches":"stored"'),
  body([30, 30, 32, 300], '0.5', ',"caches":"inline"'),
  body([400, 400, 4, 4], '0.1234567890123456'),
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
    const settings = { MEMORY_LIMIT, CACHE_LIMIT, WORKERS };
    const service = await startService(
      Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, String(value)])),
    );
    const codes: Record<string, number> = {};
    let peak = 0;
    const timer = setInterval(() => {
      peak = Math.max(peak, mebibytes(residentBytes(service.pid)));
    }, 20);
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
      clearInterval(timer);
      await service.stop();
    }
  },
};
