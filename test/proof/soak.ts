/** npm run soak: more work than the machine can do, for a time. See HELP. */

import { parseArgs } from 'node:util';
import { argumentsOr } from '../arguments.js';
import { quantile, rounded } from '../bench/statistics.js';
import { startService } from '../service/process.js';
import { type Loader, startLoader } from './load.js';
import { watchMemory } from './memory.js';
import { type Finding, figuresOf, finding, findingsOf, print, untouched } from './report.js';
import { catalogueFor, startBareServer, startProbe } from './subject.js';

const HELP = `npm run soak -- [options]: what the service does with more work than it can do

  --seconds   how long (120)
  --rate      requests that are offered, as a multiple of what the machine answers (2)
  --requests  so many mixed requests in a closed loop instead: is memory level after them?
  --seed      of the requests' numbers (the time)
  --short     8 seconds

Every answer is compared with the known one. Lines that start with { are for programs. Exits with 1 when a promise is broken.`;

/** Requests under way at a time when the capacity is measured: more keep the workers no busier. */
const CONNECTIONS = 16;
/** Of an open loop: more than the queue of the service has places for, fewer than a client has file descriptors. */
const UNDERWAY = 1500;
const LIVE_LIMIT_MS = 50;

interface Arguments {
  readonly seconds: number;
  readonly rate: number;
  readonly requests: number | undefined;
  readonly seed: number;
  readonly short: boolean;
}

function readArguments(): Arguments {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: { seconds: text, rate: text, requests: text, seed: text, short: { type: 'boolean', default: false } },
  });
  const number = (name: 'seconds' | 'rate' | 'requests' | 'seed', otherwise: number): number => {
    const value = Number(values[name] ?? otherwise);
    if (!(value > 0)) throw new Error(`--${name} ${values[name]} is no number above 0`);
    return value;
  };
  return {
    seconds: number('seconds', values.short ? 8 : 120),
    rate: number('rate', 2),
    requests: values.requests === undefined ? undefined : number('requests', 1),
    seed: number('seed', Date.now() % 2 ** 20),
    short: values.short,
  };
}

async function soak(asked: Arguments): Promise<boolean> {
  const service = await startService();
  try {
    const cases = await catalogueFor(service, asked.seed, asked.short);
    console.log(JSON.stringify({ proof: 'soak', ...asked, cases: cases.length, node: process.version }));
    const loader = await startLoader(service.url, cases);
    await loader.run({ connections: CONNECTIONS, requests: 2 * cases.length, seed: asked.seed });
    const memory = watchMemory(service.pid);
    const bare = await startBareServer();
    const [probe, bareProbe] = await Promise.all([startProbe(service.url), startProbe(bare.url)]);
    const { figures, findings } =
      asked.requests === undefined ? await overload(loader, asked) : await mixed(loader, asked);
    const [live, bareLive] = await Promise.all([probe.stop(), bareProbe.stop()]);
    bare.stop();
    const resident = memory.stop();
    loader.stop();

    const [liveMs, bareMs] = [live, bareLive].map(({ latencies }) => {
      const sorted = latencies.toSorted((a, b) => a - b);
      return rounded(quantile(sorted, 0.99));
    });
    findings.push(
      finding('/health/live answers always', live.right === live.sent, `${live.sent - live.right} of ${live.sent} not`),
    );
    // Of a short run, on a machine that may do other things beside, these two are only told.
    if (!asked.short) {
      findings.push(
        finding(
          `p99 of /health/live is under ${LIVE_LIMIT_MS} ms`,
          liveMs < LIVE_LIMIT_MS,
          `${liveMs} ms of ${live.sent}; ${bareMs} ms of a server beside it that does nothing else`,
        ),
        finding(
          'memory is level',
          resident.level,
          `${resident.quarters_mib.join(', ')} MiB, the least in each quarter`,
        ),
      );
    }
    return print(
      'soak',
      { ...figures, live_p99_ms: liveMs, bare_p99_ms: bareMs, live_probes: live.sent, memory: resident },
      findings,
    );
  } finally {
    await service.stop();
  }
}

interface Result {
  readonly figures: object;
  readonly findings: Finding[];
}

/** An open loop: requests come at their rate, however the service does. */
async function overload(loader: Loader, { seconds, rate, seed }: Arguments): Promise<Result> {
  const capacity = await loader.run({ connections: CONNECTIONS, seconds: Math.min(10, seconds / 4), seed });
  if (capacity.wrong > 0) throw new Error(`a wrong answer before the load: ${capacity.incidents[0].detail}`);
  const perSecond = capacity.right / capacity.seconds;
  const tally = await loader.run({ connections: UNDERWAY, perSecond: rate * perSecond, seconds, seed: seed + 1 });
  const offered = (tally.sent + tally.heldBack) / seconds;
  return {
    figures: { capacity_per_s: rounded(perSecond), offered_per_s: rounded(offered), ...figuresOf(tally) },
    findings: [...findingsOf(tally), ...untouched(tally)],
  };
}

/** A closed loop of so many requests. */
async function mixed(loader: Loader, { requests = 0, seed }: Arguments): Promise<Result> {
  const tally = await loader.run({ connections: CONNECTIONS, requests, seed });
  return { figures: figuresOf(tally), findings: [...findingsOf(tally), ...untouched(tally)] };
}

process.exit((await soak(argumentsOr(HELP, readArguments))) ? 0 : 1);
