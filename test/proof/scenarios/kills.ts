import { setTimeout as sleep } from 'node:timers/promises';
import { rounded } from '../../bench/statistics.js';
import { startBreakable } from '../breakable.js';
import { startLoader } from '../load.js';
import { figuresOf, finding, findingsOf, total } from '../report.js';
import type { Scenario } from '../scenario.js';
import { catalogueFor } from '../subject.js';

const WORKERS = 2;
const CONNECTIONS = 12;
const BACK_MS = 1000;
/** What a request that was under way may take until it is known to have failed. */
const TOLD_MS = 2000;

/** Workers are ended, whatever they do, while clients keep all of them busy. */
export const kills: Scenario = {
  what: 'workers are killed under load: who fails, and how soon is the pool whole again?',
  times: 100,
  short: 6,
  async run({ times, seed, short }) {
    const service = await startBreakable({ WORKERS: String(WORKERS) });
    try {
      const loader = await startLoader(service.url, await catalogueFor(service, seed, short));
      const running = loader.run({ connections: CONNECTIONS, seed });
      await sleep(1000);
      /** From when it was asked for until another worker was there. */
      const killed: { from: number; to: number }[] = [];
      const back: number[] = [];
      const ready: number[] = [];
      for (let i = 0; i < times; i++) {
        const now = Date.now();
        await service.kill();
        back.push(await service.alive(WORKERS, 10 * BACK_MS));
        killed.push({ from: now, to: Date.now() });
        ready.push(await untilReady(service.url, now));
        await sleep((short ? 0 : BACK_MS / 2) + Math.random() * BACK_MS);
      }
      loader.finish();
      const tally = await running;
      loader.stop();

      const failures = tally.incidents.filter(({ kind }) => kind !== 'wrong');
      const overloaded = tally.refused.overloaded ?? 0;
      const isOf = (one: (typeof failures)[number], { from, to }: (typeof killed)[number]) =>
        one.begun <= to && one.at >= from && one.at < to + TOLD_MS;
      /** The last one that it can be of. */
      const killOf = (one: (typeof failures)[number]) => killed.findLastIndex((kill) => isOf(one, kill));
      const ofKill = killed.map((_, i) => failures.filter((one) => killOf(one) === i).length);
      const strange = failures.filter((one) => killOf(one) < 0);
      const lost = total(tally.failed) + overloaded;
      const slowest = Math.max(...back, ...ready);
      return {
        figures: {
          kills: times,
          ...figuresOf(tally),
          lost,
          most_lost_per_kill: Math.max(...ofKill),
          back_ms: back.map(rounded),
          ready_ms: ready,
        },
        findings: [
          ...findingsOf(tally),
          finding(
            'a kill costs one request at most, with 500 or 503',
            lost <= times && Math.max(...ofKill) <= 1,
            `${lost} of ${times} kills; the most by one: ${Math.max(...ofKill)}`,
          ),
          finding('no request fails that was not under way', strange.length === 0, strange.length),
          finding('every request is answered', total(tally.broken) === 0, tally.broken),
          finding(
            `the pool is whole and ready within ${BACK_MS} ms`,
            slowest <= BACK_MS,
            `at most ${Math.round(slowest)} ms`,
          ),
        ],
      };
    } finally {
      await service.stop();
    }
  },
};

/** Milliseconds since a moment until the service is ready. */
async function untilReady(url: string, since: number): Promise<number> {
  while (!(await fetch(`${url}/health/ready`)).ok) {
    if (Date.now() - since > 10 * BACK_MS) return Number.POSITIVE_INFINITY;
    await sleep(5);
  }
  return Date.now() - since;
}
