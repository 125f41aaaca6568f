import { availableParallelism } from 'node:os';
import type { Operation } from '../../src/operations/operation.js';
import type { GroupMember } from '../../src/tensor/signature.js';
import { arrayOf, type Dtype } from '../../src/tensor/tensor.js';
import { type Service, startService } from '../service/process.js';
import { flat, numbersFrom, tensorsFor } from '../values.js';
import { type Load, prepareLoad, type Round } from './load.js';
import { type Part, type Plan, progress, report } from './part.js';
import { probeDuring } from './probe.js';
import { beginPeak, cpuMs, mebibytes, peakBytes } from './process.js';
import { dimsOf, isLarge, requestBody, sizes, withOtherWeights } from './requests.js';
import { quantile, rounded, spread } from './statistics.js';

/** The operations over HTTP, each variant on a service of its own. */
export const http: Part = {
  what: 'the operations over HTTP: throughput, latency, processor time, memory, delay of the event loop',
  seconds: 3,
  async measure(plan) {
    const figures: HttpFigure[] = [];
    for (const size of plan.sizes ?? sizes.filter((size) => size !== 'xl')) {
      for (const operation of plan.operations) figures.push(...(await measure(plan, operation, size)));
    }
    return [
      report('Over HTTP: each connection sends its next request when it has its answer', figures, {
        size: (f) => f.size,
        operation: (f) => f.operation,
        dtype: (f) => f.dtype,
        workers: (f) => f.workers,
        weights: (f) => f.weights,
        'known %': (f) => f.weights_known_percent,
        'conn.': (f) => f.connections,
        'req/s': (f) => f.requests_per_s,
        'slowest – fastest round': (f) => `${f.requests_per_s_p10} – ${f.requests_per_s_p90}`,
        '÷ 1 worker': (f) => f.over_one_worker ?? '',
        'p50 ms': (f) => f.p50_ms,
        'p99 ms': (f) => f.p99_ms,
        'CPU ms/req': (f) => f.cpu_ms_per_request,
        'loop p99 ms': (f) => f.loop_delay_p99_ms,
        'peak MiB': (f) => f.peak_rss_mib,
        requests: (f) => f.requests,
      }),
    ];
  },
};

type HttpFigure = Awaited<ReturnType<typeof measure>>[number];

/** Enough to keep the workers of a small machine busy, few enough that latency is not all queueing. */
const CONNECTIONS: Readonly<Record<string, number>> = { tiny: 8, small: 4, medium: 2, large: 2, xl: 2 };
/** How many requests are sent in turn that differ in their weights. */
const FRESH: Readonly<Record<string, number>> = { tiny: 64, small: 32, medium: 8, large: 4, xl: 4 };
const ROUNDS = 5;
/** As long as the event loop is looked at, at least. */
const PROBED_SECONDS = 1;

/** One way to run an operation: the variants of an operation take turns. */
interface Variant {
  readonly dtype: Dtype;
  readonly workers: number;
  readonly weights: 'known' | 'fresh';
}

function variantsFor({ dtypes, workers, fresh }: Plan, size: string): Variant[] {
  const counts = workers ?? (isLarge(size) ? [1, availableParallelism()] : [availableParallelism()]);
  return dtypes.flatMap((dtype) =>
    [...new Set(counts)].flatMap((workers) =>
      (fresh ? (['known', 'fresh'] as const) : (['known'] as const)).map((weights) => ({ dtype, workers, weights })),
    ),
  );
}

async function measure(plan: Plan, operation: Operation, size: string) {
  progress(`http, ${size}, ${operation.id}`);
  const subjects: Subject[] = [];
  try {
    for (const variant of variantsFor(plan, size)) subjects.push(await begin(plan, operation, size, variant));
    for (let round = 0; round < ROUNDS; round++) for (const subject of subjects) await takeRound(subject);
    for (const subject of subjects) await probe(subject, plan.quick);
    return await Promise.all(subjects.map((subject) => figure(subject, subjects, operation, size)));
  } finally {
    await Promise.all(subjects.map(({ service }) => service.stop()));
  }
}

/** A service that runs one variant, and what it has done. */
interface Subject extends Variant {
  readonly service: Service;
  readonly load: Load;
  readonly connections: number;
  readonly requestBytes: number;
  /** Requests in a round. */
  readonly amount: number;
  readonly rate: number;
  readonly rounds: Round[];
  cpu: number;
  peak: number;
  delays: number[];
}

async function begin(plan: Plan, operation: Operation, size: string, variant: Variant): Promise<Subject> {
  const { dtype, workers, weights } = variant;
  const connections = plan.connections ?? CONNECTIONS[size];
  const env = {
    WORKERS: String(workers),
    ...(weights === 'fresh' && { WEIGHTS_LIMIT: roomForOne(operation, size, dtype) }),
  };
  const service = await startService(env);
  try {
    const body = requestBody(operation, size, dtype);
    const bodies = weights === 'fresh' ? withOtherWeights(body, FRESH[size]) : [body];
    const load = await prepareLoad(service.url + operation.path, bodies, connections);
    const rate = await load.warmUp(plan.seconds / 4);
    const amount = Math.max(connections, Math.ceil((rate * plan.seconds) / ROUNDS));
    beginPeak(service.pid);
    const requestBytes = body.length;
    return {
      ...variant,
      service,
      load,
      connections,
      requestBytes,
      amount,
      rate,
      rounds: [],
      cpu: 0,
      peak: 0,
      delays: [],
    };
  } catch (error) {
    await service.stop();
    throw error;
  }
}

/** A limit that holds the weights of one request, text and numbers, but not of two: none is met again. */
function roomForOne({ request }: Operation, size: string, dtype: Dtype): string {
  const choices = { prediction: true, way: 0, extras: false };
  const parameters = tensorsFor(request.members.parameters as GroupMember, dimsOf(size), numbersFrom(1), choices);
  const numbers = Object.values(parameters).flatMap(flat).length;
  return String(Math.ceil(1.5 * numbers * (20 + 3 * arrayOf[dtype].BYTES_PER_ELEMENT)));
}

async function takeRound(subject: Subject): Promise<void> {
  const { service, load, amount } = subject;
  const before = cpuMs(service.pid);
  subject.rounds.push(await load.run(amount));
  subject.cpu += cpuMs(service.pid) - before;
  subject.peak = peakBytes(service.pid);
}

/** A round of its own: the probe costs the service a little time. */
async function probe(subject: Subject, quick: boolean): Promise<void> {
  const { service, load, connections, rate } = subject;
  const amount = Math.max(connections, Math.ceil(rate * PROBED_SECONDS * (quick ? 0.2 : 1)));
  subject.delays = await probeDuring(service.url, () => load.run(amount));
}

async function figure(subject: Subject, subjects: readonly Subject[], { id }: Operation, size: string) {
  const { dtype, workers, weights, connections, requestBytes, rounds, load, service, cpu, peak } = subject;
  const latencies = rounds.flatMap((round) => round.latencies).sort((a, b) => a - b);
  const delays = subject.delays.toSorted((a, b) => a - b);
  const errors = rounds.reduce((sum, round) => sum + round.errors, 0);
  if (errors > 0) throw new Error(`${errors} of ${latencies.length} requests of ${id} on ${size} failed`);
  const speed = speedOf(subject);
  const one = subjects.find((other) => other.workers === 1 && other.dtype === dtype && other.weights === weights);
  return {
    bench: 'http',
    operation: id,
    size,
    dtype,
    workers,
    weights,
    weights_known_percent: await weightsKnown(subject),
    tier: await tierOf(service),
    connections,
    requests: latencies.length,
    requests_per_s: rounded(speed.median),
    requests_per_s_p10: rounded(speed.p10),
    requests_per_s_p90: rounded(speed.p90),
    ...(one && one !== subject && { over_one_worker: rounded(speed.median / speedOf(one).median) }),
    p50_ms: rounded(quantile(latencies, 0.5)),
    p99_ms: rounded(quantile(latencies, 0.99)),
    cpu_ms_per_request: rounded(cpu / latencies.length),
    loop_delay_p50_ms: rounded(quantile(delays, 0.5)),
    loop_delay_p99_ms: rounded(quantile(delays, 0.99)),
    loop_probes: delays.length,
    peak_rss_mib: mebibytes(peak),
    request_bytes: requestBytes,
    answer_bytes: load.answerBytes,
  };
}

/** Requests per second of the rounds. */
function speedOf({ rounds }: Subject) {
  return spread(rounds.map(({ latencies, seconds }) => latencies.length / seconds));
}

/** Of all weights that the worker which answers was sent, how many it had read before: says whether `weights` is true. */
async function weightsKnown({ load }: Subject): Promise<number> {
  const { headers } = await load.once();
  return Number(/(\d+)% known/.exec(headers.get('server-timing') ?? '')?.[1]);
}

async function tierOf({ url }: Service): Promise<string> {
  const about = (await (await fetch(url)).json()) as { kernels: string };
  return about.kernels;
}
