import { setTimeout as sleep } from 'node:timers/promises';
import { machineryWith } from '../../../src/compute/worker/request.js';
import { chooseKernels } from '../../../src/kernels/choose.js';
import type { Tier } from '../../../src/kernels/kernels.js';
import { configSchema } from '../../../src/settings/config.js';
import { askWith, formats, textOf } from '../../ask.js';
import { rounded } from '../../bench/statistics.js';
import { startService } from '../../service/process.js';
import { startRedis } from '../../service/redis.js';
import { type JsonObject, numbersFrom, operationCalled, tensorsFor } from '../../values.js';
import { startLoader } from '../load.js';
import { figuresOf, finding, findingsOf, total, untouched } from '../report.js';
import type { Outcome, Scenario } from '../scenario.js';
import { catalogueFor } from '../subject.js';

const DOWN_MS = 2000;
const UP_MS = 2000;
const SHORT_MS = 700;
/** How soon stored caches work again, and how soon it is said that they do not. */
const BACK_MS = 5000;
const TOLD_MS = 5000;
const PAIRS = 8;
const CLIENTS = 3;

/** The shared store of caches goes, and comes back empty; some clients need it, others do not. */
export const redis: Scenario = {
  what: 'Redis is killed and started again: do stored caches alone notice, and come back by themselves?',
  times: 5,
  short: 1,
  async run({ times, seed, short }): Promise<Outcome> {
    if (!('CACHE_URL' in configSchema.properties))
      return { figures: {}, findings: [], skipped: 'the service has no CACHE_URL' };
    const [down, up] = short ? [SHORT_MS, SHORT_MS] : [DOWN_MS, UP_MS];
    let server = await startRedis();
    const service = await startService({ CACHE_URL: server.url });
    try {
      const { kernels } = (await (await fetch(service.url)).json()) as { kernels: Tier };
      const loader = await startLoader(service.url, await catalogueFor(service, seed, short));
      const stateless = loader.run({ connections: 4, seed });
      const clients = storing(service.url, makePairs(kernels, seed));
      await sleep(up);
      const before = clients.tally.right;
      const back: number[] = [];
      for (let i = 0; i < times; i++) {
        await server.stop();
        clients.tally.since = Date.now(); // what was stored before is gone
        await sleep(down);
        const start = performance.now();
        server = await startRedis(server.port);
        const { right } = clients.tally;
        while (clients.tally.right === right && performance.now() - start < 2 * BACK_MS) await sleep(10);
        back.push(performance.now() - start);
        await sleep(up);
      }
      const { since: _, ...stored } = await clients.stop();
      loader.finish();
      const tally = await stateless;
      loader.stop();
      const unavailable = tally.refused['cache-unavailable'] ?? 0;
      return {
        figures: { kills: times, ...figuresOf(tally), stored: { ...stored, before, back_ms: back.map(rounded) } },
        findings: [
          ...findingsOf(tally),
          ...untouched(tally, 'those who store nothing'),
          finding('nobody else hears of the store', unavailable === 0 && total(tally.refused) === 0, tally.refused),
          finding('stored caches worked before', before > 0, before),
          finding(
            'who stores gets the known answer, or 503 with Retry-After, or 404 for what is gone',
            stored.wrong.length === 0,
            stored.wrong.slice(0, 3),
          ),
          finding('the loss is told', (stored.refused['cache-unavailable'] ?? 0) > 0, stored.refused),
          finding(`and within ${TOLD_MS} ms`, stored.slowest_ms < TOLD_MS, `${stored.slowest_ms} ms`),
          finding(
            `stored caches work again within ${BACK_MS} ms`,
            Math.max(...back) < BACK_MS,
            back.map(rounded).join(', '),
          ),
        ],
      };
    } finally {
      await service.stop();
      await server.stop();
    }
  },
};

/** A forward request and what goes with its stored caches; and the known answer. */
interface Pair {
  readonly kind: 'rnn' | 'lstm';
  readonly forward: string;
  readonly backward: JsonObject;
  readonly expected: string;
}

function makePairs(tier: Tier, seed: number): Pair[] {
  const machinery = machineryWith({ kernels: chooseKernels(tier), formats });
  return Array.from({ length: PAIRS }, (_, i) => {
    const kind = i % 2 === 0 ? 'rnn' : 'lstm';
    const dims = { n_x: 4, n_a: 16, n_y: 2, m: 3, T_x: 10 + i, T_da: 10 + i };
    const choices = { prediction: false, way: 1, extras: false };
    const { da, ...inputs } = tensorsFor(
      operationCalled(`${kind}Backward`).request,
      dims,
      numbersFrom(seed + i, 0.3),
      choices,
    );
    const expected = textOf(askWith(machinery, `${kind}Backward`, { ...inputs, da }));
    return { kind, forward: JSON.stringify({ ...inputs, caches: 'stored' }), backward: { da }, expected };
  });
}

/** Clients that store caches and fetch them, one pair after the other, until they are stopped. */
function storing(url: string, pairs: readonly Pair[]) {
  const refused: Record<string, number> = {};
  const tally = { right: 0, wrong: [] as string[], refused, slowest_ms: 0, since: 0 };
  let isOver = false;

  const post = async (path: string, body: string) => {
    const start = performance.now();
    const response = await fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    const text = await response.text();
    tally.slowest_ms = rounded(Math.max(tally.slowest_ms, performance.now() - start));
    return { status: response.status, retryAfter: response.headers.get('retry-after'), text };
  };
  const refuse = ({ status, retryAfter, text }: Awaited<ReturnType<typeof post>>, storedAt: number): void => {
    const { code } = JSON.parse(text);
    refused[code] = (refused[code] ?? 0) + 1;
    const isGone = code === 'cache-not-found' && storedAt <= tally.since;
    const isLost = code === 'cache-unavailable' && status === 503 && retryAfter !== null;
    if (!isGone && !isLost) tally.wrong.push(text.slice(0, 300));
  };
  const client = async (first: number): Promise<void> => {
    for (let i = first; !isOver; i++) {
      const { kind, forward, backward, expected } = pairs[i % pairs.length];
      const storedAt = Date.now();
      const kept = await post(`/v1/${kind}/forward`, forward);
      if (kept.status !== 200) refuse(kept, storedAt);
      else {
        await sleep(20 * Math.random());
        const { cache_id } = JSON.parse(kept.text);
        const answer = await post(`/v1/${kind}/backward`, JSON.stringify({ ...backward, cache_id }));
        if (answer.status !== 200) refuse(answer, storedAt);
        else if (answer.text === expected) tally.right++;
        else tally.wrong.push(`${kind}Backward from stored caches gave other bytes than from inputs`);
      }
      await sleep(20);
    }
  };
  const clients = Promise.all(Array.from({ length: CLIENTS }, (_, i) => client(i)));
  return {
    tally,
    async stop() {
      isOver = true;
      await clients;
      return tally;
    },
  };
}
