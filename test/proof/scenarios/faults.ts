import { setTimeout as sleep } from 'node:timers/promises';
import { rounded } from '../../bench/statistics.js';
import { FAULTS, type Fault, harmful, startBreakable } from '../breakable.js';
import { startLoader } from '../load.js';
import { type Finding, figuresOf, finding, findingsOf, total } from '../report.js';
import type { Outcome, Scenario } from '../scenario.js';
import { catalogueFor } from '../subject.js';

const WORKERS = 2;
const BACK_MS = 1000;
/** The deadline of a request that hangs, and how long it may take at most until a fault is told: memory fills slowly. */
const DEADLINE_MS = 1000;
const ANSWER_MS = 10_000;

/** What the one who asked for it may be told. The worker that crashes has answered before. */
const CODES: Readonly<Record<Fault, readonly number[]>> = {
  throw: [500],
  exit: [500, 503],
  hang: [500, 503, 504],
  oom: [500, 503, 504],
  crash: [400, 500, 503],
};

/** Requests that make their worker throw, exit, hang or run out of memory, one after the other, beside good ones. */
export const faults: Scenario = {
  what: 'workers throw, exit, hang, run out of memory or crash in a request: is every other one untouched?',
  times: 5,
  short: 1,
  async run({ times, seed, short }): Promise<Outcome> {
    const service = await startBreakable({ WORKERS: String(WORKERS) });
    try {
      const cases = await catalogueFor(service, seed, short);
      const loader = await startLoader(
        service.url,
        cases.filter(({ size }) => size !== 'large'),
      );
      const running = loader.run({ connections: 4, seed });
      const findings: Finding[] = [];
      const figures: Record<string, object> = {};
      for (const fault of FAULTS) {
        const seen: object[] = [];
        let kept = true;
        for (let i = 0; i < times; i++) {
          const { status, ms } = await ask(service.url, fault);
          await sleep(50); // what crashes after its answer has crashed by now
          const back = await service.alive(WORKERS, 5 * BACK_MS);
          seen.push({ status, ms: rounded(ms), back_ms: rounded(back) });
          kept &&= CODES[fault].includes(status) && ms < ANSWER_MS && back <= BACK_MS;
          await sleep(500);
        }
        figures[fault] = seen;
        findings.push(
          finding(
            `${fault}: told with ${CODES[fault].join(' or ')} within ${ANSWER_MS} ms, and the pool is whole ${BACK_MS} ms later`,
            kept,
            seen,
          ),
        );
      }
      loader.finish();
      const tally = await running;
      loader.stop();
      const lost = total(tally.failed) + (tally.refused.overloaded ?? 0);
      return {
        figures: { ...figuresOf(tally), faults: figures },
        findings: [
          ...findings,
          ...findingsOf(tally),
          finding('no other request fails, but one in a worker that crashes after its answer', lost <= times, lost),
          finding('every request is answered', total(tally.broken) === 0, tally.broken),
        ],
      };
    } finally {
      await service.stop();
    }
  },
};

async function ask(url: string, fault: Fault): Promise<{ status: number; ms: number }> {
  const start = performance.now();
  const deadline = fault === 'hang' ? { 'x-deadline-ms': String(DEADLINE_MS) } : {};
  const headers = { 'content-type': 'application/json', ...deadline };
  const signal = AbortSignal.timeout(2 * ANSWER_MS);
  const status = await fetch(`${url}/v1/rnn/forward`, { method: 'POST', headers, body: harmful(fault), signal }).then(
    (response) => response.status,
    () => 0,
  );
  return { status, ms: performance.now() - start };
}
