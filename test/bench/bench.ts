/** npm run bench: how fast is it? See HELP. */
import { availableParallelism, cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { alignedTable, type Columns } from '../table.js';
import { type EngineFigure, measureEngine } from './engine.js';
import { type HttpFigure, measureHttp } from './http.js';
import { dimsOf, sizes } from './requests.js';

const HELP = `npm run bench -- [engine] [http] [--sizes tiny,small,medium] [--seconds 3] [--quick]

  engine     the operations in this process, on tensors: no JSON, no HTTP
  http       the same operations over HTTP, on a service started for the purpose
             (neither named: both)
  --sizes    of ${sizes.join(', ')}; by default tiny,small,medium
  --seconds  how long each operation is measured on each size, at least five times; by default 3
  --quick    tiny and small for half a second each: shows that everything runs; the figures are rough

Tables are for people; each line that starts with { is one figure for programs.`;

const PARTS = ['engine', 'http'];

interface Plan {
  readonly parts: readonly string[];
  readonly sizes: readonly string[];
  readonly seconds: number;
}

/** @throws Error that says which argument is wrong */
function readPlan(): Plan {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { sizes: { type: 'string' }, seconds: { type: 'string' }, quick: { type: 'boolean' } },
  });
  const plan = {
    parts: positionals.length > 0 ? positionals : PARTS,
    sizes: (values.sizes ?? (values.quick ? 'tiny,small' : 'tiny,small,medium')).split(','),
    seconds: Number(values.seconds ?? (values.quick ? 0.5 : 3)),
  };
  for (const part of plan.parts) if (!PARTS.includes(part)) throw new Error(`${part} is no part`);
  for (const size of plan.sizes) if (!sizes.includes(size)) throw new Error(`${size} is no size`);
  if (!(plan.seconds > 0 && plan.seconds <= 3600)) throw new Error(`--seconds ${values.seconds} is no time`);
  return plan;
}

async function bench({ parts, sizes, seconds }: Plan): Promise<void> {
  console.log(`Node ${process.version}, ${cpus()[0]?.model.trim()}, ${availableParallelism()} cores\n`);
  console.log(`${sizes.map(describe).join('\n')}\n`);
  if (parts.includes('engine')) {
    const figures = await forEachSize('engine', sizes, async (size) => measureEngine(size, seconds));
    report('Engine alone: milliseconds for one request, backward with its forward pass', figures, engineColumns);
  }
  if (parts.includes('http')) {
    const figures = await forEachSize('http', sizes, (size) => measureHttp(size, seconds));
    report('Over HTTP: each connection sends its next request when it has its answer', figures, httpColumns);
    if (figures.some(({ errors }) => errors > 0)) process.exitCode = 1;
  }
}

function describe(size: string): string {
  const { n_x, n_a, n_y, m, T_x } = dimsOf(size);
  return `${size}: n_x ${n_x}, n_a ${n_a}, n_y ${n_y}, m ${m}, T_x ${T_x}`;
}

async function forEachSize<F>(part: string, sizes: readonly string[], measure: (size: string) => Promise<F[]>) {
  const figures: F[] = [];
  for (const size of sizes) {
    process.stderr.write(`measuring ${part}, ${size} …\n`);
    figures.push(...(await measure(size)));
  }
  return figures;
}

function report<F>(title: string, figures: readonly F[], columns: Columns<F>): void {
  console.log(`${title}\n\n${alignedTable(figures, columns)}\n`);
  for (const figure of figures) console.log(JSON.stringify(figure));
  console.log();
}

const engineColumns: Columns<EngineFigure> = {
  size: (f) => f.size,
  operation: (f) => f.operation,
  kernels: (f) => f.kernels,
  'median ms': (f) => f.median_ms,
  'p10 ms': (f) => f.p10_ms,
  'p90 ms': (f) => f.p90_ms,
  runs: (f) => f.runs,
  'GFLOP/s': (f) => f.gflops,
};

const httpColumns: Columns<HttpFigure> = {
  size: (f) => f.size,
  operation: (f) => f.operation,
  'conn.': (f) => f.connections,
  requests: (f) => f.requests,
  'req/s': (f) => f.requests_per_s,
  'slowest – fastest round': (f) => `${f.requests_per_s_min} – ${f.requests_per_s_max}`,
  'p50 ms': (f) => f.p50_ms,
  'p99 ms': (f) => f.p99_ms,
  'CPU ms/req': (f) => f.cpu_ms_per_request ?? '?',
  'peak RSS MiB': (f) => f.peak_rss_mib ?? '?',
  errors: (f) => f.errors,
};

let plan: Plan;
try {
  plan = readPlan();
} catch (error) {
  console.error(`${(error as Error).message}\n\n${HELP}`);
  process.exit(1);
}
await bench(plan);
