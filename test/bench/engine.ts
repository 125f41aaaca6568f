import { formatsWith } from '../../src/formats/formats.js';
import { loadJsonCodec } from '../../src/formats/json/codec.js';
import { readJson } from '../../src/formats/json/reader.js';
import type { Tier } from '../../src/kernels/kernels.js';
import type { Operation } from '../../src/operations/operation.js';
import { firstNonFinite, refuseNonFinite } from '../../src/plan/non-finite.js';
import { planOf } from '../../src/plan/plan.js';
import type { Request } from '../../src/plan/request.js';
import { reserve } from '../../src/plan/workspace.js';
import { bindSymbols } from '../../src/tensor/shapes.js';
import type { Values } from '../../src/tensor/signature.js';
import type { Dtype, Tensor } from '../../src/tensor/tensor.js';
import { type Variant, variantsOf } from './builds.js';
import { bestProducts, gflops } from './micro.js';
import { type Part, type Plan, progress, report } from './part.js';
import { isLarge, requestBody, sizes } from './requests.js';
import { rounded, type Spread, sumOf, taken } from './statistics.js';
import { measureInTurns, type Subject, timed } from './turns.js';

/** The operations in this process, from tensors as they were read to the finished answer: no JSON, no HTTP. */
export const engine: Part = {
  what: 'the operations in this process, on tensors: no JSON, no HTTP; backward computes forward, too',
  seconds: 1,
  async measure(plan) {
    const figures = (plan.sizes ?? sizes).flatMap((size) => plan.dtypes.flatMap((dtype) => measure(plan, size, dtype)));
    return [
      report('Engine alone: milliseconds for one request, in one thread', figures, {
        size: (f) => f.size,
        operation: (f) => f.operation,
        dtype: (f) => f.dtype,
        tier: (f) => f.tier,
        weights: (f) => f.weights,
        'median ms': (f) => f.median_ms,
        'p10 ms': (f) => f.p10_ms,
        'p90 ms': (f) => f.p90_ms,
        runs: (f) => f.runs,
        '÷ scalar': (f) => f.over_scalar ?? '',
        'GFLOP/s': (f) => f.gflops,
        'of best tile': (f) => f.share_of_best_tile,
      }),
    ];
  },
};

/** One operation on one size, by one build. */
interface EngineSubject extends Subject {
  readonly operation: Operation;
  readonly tier: Tier;
  /** Has the engine prepared these weights before? */
  readonly weights: 'known' | 'fresh';
  readonly flops: number;
  /** Sum of everything computed. */
  checksum: number;
}

function measure(plan: Plan, size: string, dtype: Dtype) {
  progress(`engine, ${size}, ${dtype}`);
  const variants = variantsOf({ ...plan, dtypes: [dtype] }).filter(
    // Plain TypeScript takes minutes for the largest ones.
    ({ tier }) => plan.tiers || tier !== 'scalar' || size === 'medium' || !isLarge(size),
  );
  const weights = plan.fresh ? (['known', 'fresh'] as const) : (['known'] as const);
  const subjects = plan.operations.flatMap((operation) => {
    const request = requestOf(operation, size, dtype);
    return variants.flatMap((variant) => weights.map((which) => subjectOf(variant, request, size, which)));
  });
  // What the same kernels reach at their best is measured in the same turns.
  const best = bestProducts(variants, plan.seconds / 20);
  const spreads = measureInTurns([...subjects, ...best], plan.seconds);
  const bestSpreads = spreads.slice(subjects.length);

  return subjects.map((subject, i) => {
    const { operation, tier, weights, flops, checksum } = subject;
    const scalar = subjects.findIndex(
      (other) => other.operation === operation && other.weights === weights && other.tier === 'scalar',
    );
    const own = variants.findIndex((variant) => variant.tier === tier);
    const speed = flops / spreads[i].median;
    return {
      bench: 'engine',
      operation: operation.id,
      size,
      dtype,
      tier,
      weights,
      ...taken(spreads[i], 'ms'),
      ...(scalar >= 0 && { over_scalar: ratio(spreads[i], spreads[scalar]) }),
      gflops: gflops(flops, spreads[i].median),
      best_tile_gflops: gflops(best[own].flops, bestSpreads[own].median),
      share_of_best_tile: rounded(speed / (best[own].flops / bestSpreads[own].median)),
      checksum,
    };
  });
}

function ratio(one: Spread, other: Spread): number {
  return rounded(one.median / other.median);
}

const codec = loadJsonCodec();
const formats = formatsWith(codec);

function requestOf(operation: Operation, size: string, dtype: Dtype): Request {
  const values = copyOf(readJson(requestBody(operation, size, dtype), operation.request, codec));
  return { operation, values, sizes: bindSymbols(operation.tensors.request, values), dtype, format: 'json' };
}

/** What was read is void with the next body. */
function copyOf(values: Values): Values {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => {
      if (typeof value !== 'object') return [name, value];
      return [name, 'data' in value ? { ...value, data: (value as Tensor).data.slice() } : copyOf(value as Values)];
    }),
  );
}

function subjectOf(
  { tier, build, kernels }: Variant,
  known: Request,
  size: string,
  weights: EngineSubject['weights'],
): EngineSubject {
  const { operation, sizes } = known;
  const subject: EngineSubject = {
    operation,
    tier,
    weights,
    flops: operation.flops(sizes),
    checksum: Number.NaN,
    run() {
      const parameters = known.values.parameters as Values;
      const request =
        weights === 'known' ? known : { ...known, values: { ...known.values, parameters: copyOf(parameters) } };
      let computed: ReturnType<typeof reserve>['computed'] = [];
      const ms = timed(() => {
        const workspace = reserve(kernels, request, planOf(build, request, formats));
        operation.run(kernels, workspace.request, workspace.answer, workspace.scratch, workspace.forward);
        computed = workspace.computed;
      });

      refuseNonFinite(firstNonFinite(computed, operation.time));
      const checksum = computed.reduce((sum, { tensor }) => sum + sumOf(tensor.data), 0);
      if (!Number.isNaN(subject.checksum) && checksum !== subject.checksum) {
        throw new Error(`${operation.id} on ${size} by ${tier} gave ${subject.checksum} first and now ${checksum}`);
      }
      subject.checksum = checksum;
      return ms;
    },
  };
  return subject;
}
