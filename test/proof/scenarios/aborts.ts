import { setTimeout as sleep } from 'node:timers/promises';
import { cpuMs, mebibytes, residentBytes } from '../../bench/process.js';
import { rounded, spread } from '../../bench/statistics.js';
import { startService } from '../../service/process.js';
import { startLoader } from '../load.js';
import { figuresOf, finding, findingsOf, untouched } from '../report.js';
import type { Scenario } from '../scenario.js';
import { catalogueFor, poolGauges } from '../subject.js';

const ABORTERS = 16;
const REST_MS = 3000;
const SHORT_REST_MS = 1000;

/** Clients that go away before they have their answer, beside others who wait for theirs. */
export const aborts: Scenario = {
  what: 'clients go away in the upload, the queue, the computation or the answer: is anything left of them?',
  times: 1000,
  short: 150,
  async run({ times, seed, short }) {
    const service = await startService();
    try {
      const cases = await catalogueFor(service, seed, short);
      const patient = await startLoader(service.url, cases);
      const leaving = await startLoader(service.url, cases);
      const ask = async () => spread((await patient.run({ connections: 2, requests: 60, seed })).latencies).median;
      await patient.run({ connections: 4, requests: cases.length, seed });

      const before = await ask();
      const running = patient.run({ connections: 2, seed });
      const mib: number[] = [];
      let aborted = 0;
      for (let half = 0; half < 2; half++) {
        const tally = await leaving.run({
          connections: ABORTERS,
          requests: Math.ceil(times / 2),
          aborts: true,
          seed: seed + half,
        });
        aborted += tally.aborted;
        mib.push(mebibytes(residentBytes(service.pid)));
      }
      patient.finish();
      const tally = await running;
      leaving.stop();
      const idle = await idleShare(service.pid, short ? SHORT_REST_MS : REST_MS);
      mib.push(mebibytes(residentBytes(service.pid)));
      const gauges = await poolGauges(service.url);
      const after = await ask();
      patient.stop();
      return {
        figures: {
          ...figuresOf(tally),
          aborted,
          before_ms: rounded(before),
          after_ms: rounded(after),
          busy_share: idle,
          gauges,
          mib,
        },
        findings: [
          ...findingsOf(tally),
          ...untouched(tally, 'those who stay'),
          finding('most clients left before they had their answer', aborted > 0.7 * times, aborted),
          finding('no computation goes on', idle < 0.05, `${idle} of a processor's time`),
          finding(
            'no place and no byte is taken',
            Object.values(gauges).every((value) => value === 0),
            gauges,
          ),
          finding(
            'who comes then is served as fast as before',
            after < 2 * before + 10,
            `${rounded(before)} → ${rounded(after)} ms`,
          ),
          finding(
            'memory is level',
            mib[2] < mib[0] * 1.15 + 64,
            `${mib.join(', ')} MiB: after a half, the other, a rest`,
          ),
        ],
      };
    } finally {
      await service.stop();
    }
  },
};

/** The share of a processor that a process takes which has nothing to do, at the end of a rest. */
async function idleShare(pid: number, rest: number): Promise<number> {
  await sleep(rest);
  const before = cpuMs(pid);
  await sleep(1000);
  return (cpuMs(pid) - before) / 1000;
}
