import type { FastifyReply, FastifyRequest } from 'fastify';
import { collectDefaultMetrics, Gauge, type Registry } from 'prom-client';
import { amount } from '../../compute/amount.js';
import type { Pool, PoolStats } from '../../compute/pool/pool.js';
import { NO_MEMORY } from '../../compute/worker/allocation.js';
import { operations } from '../../operations/operations.js';
import { usableMemory } from '../../settings/memory.js';
import type { CacheStats, CacheStore } from '../../stores/store.js';
import { type ProblemCode, problemKinds } from '../problems.js';
import { VERSION } from '../version.js';
import { type Observations, observations, observe, registerHistogram } from './histogram.js';
import { type Count, Instruments } from './instruments.js';
import { STAGES, type Stages } from './stages.js';

/** What the service counts, for Prometheus. */
export interface Metrics {
  readonly registry: Registry;
  /** An answer has been sent. */
  answered(request: FastifyRequest, reply: FastifyReply): void;
  /** The client has left before it had its answer. */
  abandoned(request: FastifyRequest): void;
  /** Something was refused before it was a request of any route. */
  refused(code: ProblemCode): void;
}

export interface MetricsOptions {
  readonly pool: Pool;
  readonly queueLimit: number;
  /** Does the service take work? */
  readonly isReady: () => boolean;
  readonly caches: Pick<CacheStore, 'stats'>;
  readonly log?: { readonly dropped: number } | undefined;
}

declare module 'fastify' {
  interface FastifyReply {
    /** The problem that is the answer. */
    problem: ProblemCode | undefined;
  }
}

/** Routes that do not compute, and what belongs to no route: a handful of names, whatever paths are asked for. */
const OTHER = 'other';
const NONE = 'none';

/** No answer reached its client: 499 stands for that in the logs of nginx, too. */
const CLIENT_GONE = 'client-gone';

/** Gauges of prom-client that are named as counters are. Each is the sum of another one. */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

/** Answers: problems by their code, others by their status. */
type Kind = ProblemCode | typeof CLIENT_GONE | number;

/** What is counted of one operation. */
interface Meter {
  readonly answers: Map<Kind, Count>;
  readonly seconds: Observations;
  readonly stages: Readonly<Record<keyof Stages, Observations>>;
  readonly bytesIn: Count;
  readonly bytesOut: Count;
  readonly flops: Count;
}

export function createMetrics(options: MetricsOptions): Metrics {
  const { pool, isReady, caches, log } = options;
  const instruments = new Instruments();
  const meters = new Map([...operations.map(({ id }) => id), OTHER, NONE].map((id) => [id, meterOf(id)]));
  const none = meters.get(NONE) as Meter;
  const meterFor = (request: FastifyRequest) => meters.get(labelOf(request)) ?? none;
  let weightsKnown = 0;
  let allocationFailures = 0;

  registerRequests(instruments, meters);
  instruments.gauge('unroll_ready', '1 if the service takes work.', () => Number(isReady()));
  registerPool(instruments, options);
  instruments.total(
    'unroll_allocation_failures_total',
    'Requests that were refused with 503 because the system had no memory for them, whatever the budget says.',
    () => allocationFailures,
  );
  instruments.gauge(
    'unroll_weights_known_ratio',
    'Share of the weights it was sent that the latest worker knew.',
    () => weightsKnown,
  );

  registerCaches(instruments, caches);
  registerProcess(instruments, pool.tier, () => log?.dropped ?? 0);

  return {
    registry: instruments.registry,
    answered(request, reply) {
      if (!reply.raw.writableFinished) return; // it is abandoned
      const meter = meterFor(request);
      count(meter, reply.problem ?? reply.statusCode);
      if (reply.refusal?.detail === NO_MEMORY) allocationFailures++;
      if (reply.problem === undefined) observe(meter.seconds, reply.elapsedTime / 1000);
      const { bytesIn = 0, bytesOut = 0, flops = 0 } = reply.logged ?? {};
      meter.bytesIn.value += amount('the size of a body', bytesIn);
      meter.bytesOut.value += amount('the size of an answer', bytesOut);
      meter.flops.value += amount('the arithmetic of a request', flops);
      weightsKnown = reply.weightsKnown ?? weightsKnown;
      const { stages } = reply;
      if (stages === undefined) return;
      for (const stage of STAGES) {
        const ms = stages[stage];
        if (ms !== undefined) observe(meter.stages[stage], ms / 1000);
      }
    },
    abandoned: (request) => count(meterFor(request), CLIENT_GONE),
    refused: (code) => count(none, code),
  };
}

function registerRequests(instruments: Instruments, meters: ReadonlyMap<string, Meter>): void {
  const all = [...meters.values()];
  const computing = operations.map(({ id }) => meters.get(id) as Meter);
  instruments.counter(
    'unroll_requests_total',
    'Requests that were answered, by operation, HTTP status and problem code.',
    ['operation', 'status', 'code'],
    () => all.flatMap(({ answers }) => [...answers.values()]),
  );
  registerHistogram(
    instruments.registry,
    'unroll_request_seconds',
    'From the head of a request to the end of its answer, of those that got what they asked for.',
    all.map(({ seconds }) => seconds),
  );
  registerHistogram(
    instruments.registry,
    'unroll_stage_seconds',
    'The stages of a request: receive (until its body is there), queue, decode, compute, encode, store where caches are stored, and send (until its answer is taken). The first and the last depend on the client and the network.',
    computing.flatMap(({ stages }) => Object.values(stages)),
  );
  const byOperation = (name: string, help: string, which: 'bytesIn' | 'bytesOut' | 'flops') =>
    instruments.counter(name, help, ['operation'], () => computing.map((meter) => meter[which]));
  byOperation('unroll_request_bytes_total', 'Bytes of the bodies that were handed to workers.', 'bytesIn');
  byOperation('unroll_response_bytes_total', 'Bytes of the answers that were computed.', 'bytesOut');
  byOperation('unroll_flops_total', 'Floating-point operations of what was computed.', 'flops');
}

function registerPool(instruments: Instruments, { pool, queueLimit }: MetricsOptions): void {
  const ofPool = (name: string, help: string, which: keyof PoolStats) =>
    instruments.gauge(name, help, () => pool.stats()[which]);
  ofPool('unroll_queue_requests', 'Requests that have not begun.', 'waiting');
  ofPool(
    'unroll_running_requests',
    'Requests that have begun, whether or not a worker has something of them.',
    'running',
  );
  instruments.gauge(
    'unroll_queue_limit',
    'Requests, begun or not, that may be there beside one for each worker. More are refused.',
    () => queueLimit,
  );
  ofPool('unroll_workers', 'Worker threads for light requests that there should be.', 'workers');
  ofPool('unroll_workers_alive', 'Worker threads for light requests that there are.', 'alive');
  ofPool('unroll_heavy_workers', 'Worker threads for heavy requests. They start when one comes.', 'heavyThreads');
  ofPool('unroll_workers_busy', 'Worker threads that have work, of both kinds.', 'busy');
  instruments.total('unroll_worker_restarts_total', 'Worker threads that were replaced.', () => pool.stats().restarts);
  ofPool('unroll_memory_bytes', 'Bytes of the memory budget in use.', 'bytes');
  ofPool('unroll_memory_limit_bytes', 'Bytes of the memory budget.', 'bytesLimit');
}

function registerCaches(instruments: Instruments, caches: MetricsOptions['caches']): void {
  const ofCaches = (which: keyof CacheStats) => () => caches.stats()[which] ?? 0;
  instruments.total('unroll_cache_puts_total', 'Caches that were stored.', ofCaches('puts'));
  instruments.total('unroll_cache_hits_total', 'Stored caches that were looked for and there.', ofCaches('hits'));
  instruments.total(
    'unroll_cache_misses_total',
    'Stored caches that were looked for and not there.',
    ofCaches('misses'),
  );
  instruments.total(
    'unroll_cache_removals_total',
    'Stored caches that were deleted by those who knew them.',
    ofCaches('removals'),
  );
  instruments.total(
    'unroll_cache_failures_total',
    'Calls that the store of caches failed to answer.',
    ofCaches('failures'),
  );
  if (caches.stats().bytes !== undefined) {
    instruments.total(
      'unroll_cache_evictions_total',
      'Stored caches that made room for others.',
      ofCaches('evictions'),
    );
    instruments.gauge('unroll_cache_bytes', 'Bytes of stored caches.', ofCaches('bytes'));
    instruments.gauge('unroll_cache_entries', 'Stored caches.', ofCaches('entries'));
  }
}

function registerProcess(instruments: Instruments, kernels: string, dropped: () => number): void {
  instruments.total(
    'unroll_log_lines_dropped_total',
    'Lines of the log that were dropped, as too many before them were not read yet.',
    dropped,
  );

  const [version, node] = [VERSION, process.version];
  new Gauge({
    name: 'unroll_info',
    help: 'What runs: always 1.',
    labelNames: ['version', 'kernels', 'node'],
    registers: [instruments.registry],
  }).set({ version, kernels, node }, 1);
  instruments.gauge(
    'unroll_process_memory_limit_bytes',
    'Memory that the process may take: of its container or the machine.',
    usableMemory,
  );
  collectDefaultMetrics({ register: instruments.registry });
  for (const name of MISNAMED) instruments.registry.removeSingleMetric(name);
}

function labelOf({ routeOptions: { config, url } }: FastifyRequest): string {
  return config.operation?.id ?? (url === undefined ? NONE : OTHER);
}

function count({ answers, seconds: { labels } }: Meter, kind: Kind): void {
  const known = answers.get(kind);
  if (known) known.value++;
  else answers.set(kind, { ...answerTo(labels.operation, kind), value: 1 });
}

function answerTo(operation: string, kind: Kind): Count {
  if (kind === CLIENT_GONE) return { labels: { operation, status: '499', code: kind }, value: 0 };
  const code = typeof kind === 'number' ? 'ok' : kind;
  const status = typeof kind === 'number' ? kind : problemKinds[kind].status;
  return { labels: { operation, status: String(status), code }, value: 0 };
}

/** The answers that an operation can give are counted from 0 on: a rate sees the first of them, too. */
function meterOf(operation: string): Meter {
  const codes = (Object.keys(problemKinds) as ProblemCode[]).filter((code) => problemKinds[code].operation);
  const expected: Kind[] = operation === OTHER || operation === NONE ? [] : [200, ...codes, CLIENT_GONE];
  const none = (): Count => ({ labels: { operation }, value: 0 });
  return {
    answers: new Map(expected.map((kind) => [kind, answerTo(operation, kind)])),
    seconds: observations({ operation }),
    stages: Object.fromEntries(STAGES.map((stage) => [stage, observations({ operation, stage })])) as Meter['stages'],
    bytesIn: none(),
    bytesOut: none(),
    flops: none(),
  };
}
