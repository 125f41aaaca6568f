import { refuseNonFinite } from '../../src/compute/non-finite.js';
import { reserve } from '../../src/compute/workspace.js';
import { type Kernels, TIERS } from '../../src/kernels/kernels.js';
import { reference } from '../../src/kernels/reference.js';
import { loadSimd } from '../../src/kernels/simd.js';
import type { Operation } from '../../src/operations/operation.js';
import { readJson } from '../../src/tensor/json-reader.js';
import { bindDims, type Dims } from '../../src/tensor/shapes.js';
import { measured, requestBody } from './requests.js';
import { rounded, spread } from './statistics.js';

/** Every build of the kernels that this Node can run is measured beside the others. */
const builds: Readonly<Record<string, Kernels>> = Object.fromEntries(
  TIERS.flatMap((tier) => {
    try {
      const kernels = tier === 'scalar' ? reference : loadSimd(tier, new URL('../../dist/kernels/', import.meta.url));
      return [[tier, kernels]];
    } catch {
      return []; // an instruction set that this Node does not have
    }
  }),
);

/** One line of the machine-readable output. The names are stable. */
export interface EngineFigure {
  readonly bench: 'engine';
  readonly operation: string;
  readonly size: string;
  readonly dtype: 'float64';
  readonly kernels: string;
  readonly median_ms: number;
  readonly min_ms: number;
  readonly p10_ms: number;
  readonly p90_ms: number;
  readonly max_ms: number;
  readonly runs: number;
  /** Of the matrix products alone; exp and tanh are not counted. */
  readonly gflops: number;
  /** Sum of everything computed: shows that it was, and that two builds computed the same. */
  readonly checksum: number;
}

/** One operation on one size, with the times it has taken so far. */
interface Subject {
  readonly operation: Operation;
  readonly kernels: string;
  readonly flops: number;
  /** From tensors as a caller wrote them to the finished answer, without JSON. Returns milliseconds. */
  run(): number;
  checksum: number;
  readonly times: number[];
  spent: number;
}

const LEAST_RUNS = 5;
/** Subjects take turns of this length, so that a busy moment of the machine hits all of them. */
const TURN_MS = 100;

/** All operations on one size, in turns, until each has had its time and at least five runs. */
export function measureEngine(size: string, seconds: number): EngineFigure[] {
  const subjects = measured.flatMap((operation) =>
    Object.entries(builds).map(([name, kernels]) => prepare(operation, size, name, kernels)),
  );
  for (const subject of subjects) warmUp(subject, seconds * 250);
  const isOpen = ({ times, spent }: Subject) => times.length < LEAST_RUNS || spent < seconds * 1000;
  for (let open = subjects; open.length > 0; open = open.filter(isOpen)) open.forEach(takeTurn);
  return subjects.map((subject) => figure(subject, size));
}

function prepare(operation: Operation, size: string, kernels: string, build: Kernels): Subject {
  const values = readJson(requestBody(operation, size), operation.request);
  const dims = bindDims(operation.request, values);
  const subject = {
    operation,
    kernels,
    flops: flopsOf(operation, dims),
    checksum: Number.NaN,
    times: [],
    spent: 0,
    run() {
      const start = performance.now();
      const { request, answer, scratch, computed } = reserve(build, operation, values, dims, Number.POSITIVE_INFINITY);
      operation.run(build, request, answer, scratch);
      const ms = performance.now() - start;

      refuseNonFinite(computed, operation.time);
      const checksum = computed.reduce((sum, { tensor }) => tensor.data.reduce((s, value) => s + value, sum), 0);
      if (!Number.isNaN(subject.checksum) && checksum !== subject.checksum) {
        throw new Error(`${operation.id} on ${size} gave ${subject.checksum} first and now ${checksum}`);
      }
      subject.checksum = checksum;
      return ms;
    },
  };
  return subject;
}

/** Runs until the compiler has seen the loops, uncounted. */
function warmUp(subject: Subject, ms: number): void {
  for (let spent = 0; spent < ms; ) spent += subject.run();
}

function takeTurn(subject: Subject): void {
  let turn = 0;
  while (turn < TURN_MS) {
    const ms = subject.run();
    subject.times.push(ms);
    turn += ms;
  }
  subject.spent += turn;
}

/**
 * Multiplications and additions of the matrix products of one request: a step multiplies each gate's weights with
 * [a_prev ; xt], backward does so three times (forward, Wᵀ·dz, dz·zᵀ), and forward predicts.
 */
function flopsOf({ id, time }: Operation, { n_x, n_a, n_y, m, T_x }: Dims): number {
  const gates = id.startsWith('lstm') ? 4 : 1;
  const recurrence = gates * n_a * (n_a + n_x);
  return 2 * m * T_x * (time === 'forward' ? recurrence + n_y * n_a : 3 * recurrence);
}

function figure({ operation, kernels, flops, checksum, times }: Subject, size: string): EngineFigure {
  const { count, min, p10, median, p90, max } = spread(times);
  return {
    bench: 'engine',
    operation: operation.id,
    size,
    dtype: 'float64',
    kernels,
    median_ms: rounded(median),
    min_ms: rounded(min),
    p10_ms: rounded(p10),
    p90_ms: rounded(p90),
    max_ms: rounded(max),
    runs: count,
    gflops: rounded(flops / median / 1e6),
    checksum,
  };
}
