import type { Operation } from '../../src/operations/operation.js';
import { type Service, startService } from '../service.js';
import { prepareLoad, type Round } from './load.js';
import { cpuMs, peakMemoryMiB } from './process.js';
import { measured, requestBody } from './requests.js';
import { quantile, rounded, spread } from './statistics.js';

/** One line of the machine-readable output. The names are stable; a figure the system cannot give is absent. */
export interface HttpFigure {
  readonly bench: 'http';
  readonly operation: string;
  readonly size: string;
  readonly dtype: 'float64';
  readonly connections: number;
  readonly requests: number;
  /** Answers that did not come, were not 2xx, or were other bytes than the first answer. */
  readonly errors: number;
  /** Median of the rounds, then the slowest and the fastest round. */
  readonly requests_per_s: number;
  readonly requests_per_s_min: number;
  readonly requests_per_s_max: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly cpu_ms_per_request?: number;
  readonly peak_rss_mib?: number;
  readonly request_bytes: number;
  readonly answer_bytes: number;
}

/** Enough to keep the workers of a small machine busy, few enough that latency is not all queueing. */
const CONNECTIONS: Readonly<Record<string, number>> = { tiny: 8, small: 4, medium: 2, large: 2, xl: 2 };
const ROUNDS = 3;

/** All operations on one size, each on a service of its own: the memory of one does not show in the next. */
export async function measureHttp(size: string, seconds: number): Promise<HttpFigure[]> {
  const figures: HttpFigure[] = [];
  for (const operation of measured) {
    const service = await startService();
    let exitCode: number;
    try {
      figures.push(await measureOne(operation, size, seconds, service));
    } finally {
      exitCode = await service.stop();
    }
    if (exitCode !== 0) throw new Error(`the service ended with exit code ${exitCode}`);
  }
  return figures;
}

async function measureOne(operation: Operation, size: string, seconds: number, { url, pid }: Service) {
  const connections = CONNECTIONS[size];
  const load = await prepareLoad(url + operation.path, requestBody(operation, size), connections);
  const rate = await load.warmUp(seconds / 2);

  const amount = Math.max(connections, Math.ceil((rate * seconds) / ROUNDS));
  const rounds: Round[] = [];
  const before = cpuMs(pid);
  for (let round = 0; round < ROUNDS; round++) rounds.push(await load.run(amount));
  const after = cpuMs(pid);

  const latencies = rounds.flatMap((round) => round.latencies).sort((a, b) => a - b);
  const speed = spread(rounds.map((round) => round.latencies.length / round.seconds));
  const cpu = before === undefined || after === undefined ? undefined : (after - before) / latencies.length;
  const peak = peakMemoryMiB(pid);
  const figure: HttpFigure = {
    bench: 'http',
    operation: operation.id,
    size,
    dtype: 'float64',
    connections,
    requests: latencies.length,
    errors: rounds.reduce((sum, { errors }) => sum + errors, 0),
    requests_per_s: rounded(speed.median),
    requests_per_s_min: rounded(speed.min),
    requests_per_s_max: rounded(speed.max),
    p50_ms: rounded(quantile(latencies, 0.5)),
    p99_ms: rounded(quantile(latencies, 0.99)),
    ...(cpu !== undefined && { cpu_ms_per_request: rounded(cpu) }),
    ...(peak !== undefined && { peak_rss_mib: rounded(peak) }),
    request_bytes: load.requestBytes,
    answer_bytes: load.answerBytes,
  };
  return figure;
}
