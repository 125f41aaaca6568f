import { argumentsOf, call, type KernelName, kernelNames, type Operand, operandsOf } from '../../src/kernels/list.js';
import type { Numbers } from '../../src/tensor/tensor.js';
import { numbersFrom } from '../values.js';
import { accuracyOf } from './accuracy.js';
import { type Variant, variantsOf } from './builds.js';
import { type Part, report } from './part.js';
import { type Spread, sumOf, taken } from './statistics.js';
import { measureInTurns, type Subject, timed } from './turns.js';

/** What happens to each number outside of the products, and how exact σ and tanh are. */
export const vectors: Part = {
  what: 'tanh, gates, softmax and sums, in ns per number; the largest error of tanh and σ, in ulp',
  seconds: 0.2,
  async measure(plan) {
    const variants = variantsOf(plan);
    const subjects = vectorKernels.flatMap((kernel) =>
      LENGTHS.flatMap((length) => variants.map((variant) => subjectOf(variant, kernel, length))),
    );
    const spreads = measureInTurns(subjects, plan.seconds);
    const figures = subjects.map((subject, i) => figure(subject, spreads[i]));
    const accuracy = variants.flatMap((variant) => accuracyOf(variant, plan.quick));
    return [
      report('Vectors: ns per number (lstmGates and lstmGateGradients: per unit, with all its gates)', figures, {
        kernel: (f) => f.kernel,
        length: (f) => f.length,
        dtype: (f) => f.dtype,
        tier: (f) => f.tier,
        'median ns': (f) => f.median_ns,
        'p10 ns': (f) => f.p10_ns,
        'p90 ns': (f) => f.p90_ns,
      }),
      report('Largest error, in units of the last place of the true value', accuracy, {
        function: (f) => f.function,
        dtype: (f) => f.dtype,
        tier: (f) => f.tier,
        'max. ulp': (f) => f.max_ulp,
        at: (f) => f.at,
        samples: (f) => f.samples,
      }),
    ];
  },
};

/** Of a call: a step of a small request, and of a large one. */
const LENGTHS = [64, 4096];
/** Numbers of each array that are worked on in a run: all arrays together stay in the second cache. */
const NUMBERS = 4096;
const CLASSES = 16;

/** The kernels that only work on arrays of the same length. */
const vectorKernels = kernelNames.filter((name) =>
  argumentsOf(name).every(({ is }) => is === 'rows' || is === 'number'),
);

/** One loop on arrays of one length. */
interface VectorSubject extends Subject {
  readonly variant: Variant;
  readonly kernel: KernelName;
  readonly length: number;
  checksum: number;
}

function subjectOf(variant: Variant, kernel: KernelName, length: number): VectorSubject {
  const { kernels } = variant;
  const arrays = argumentsOf(kernel).filter(({ is }) => is === 'rows').length;
  let data: Numbers[];
  let calls: Operand[][];
  const inputs = Float64Array.from({ length: NUMBERS }, numbersFrom(1, 2));
  const subject: VectorSubject = {
    variant,
    kernel,
    length,
    checksum: Number.NaN,
    begin() {
      const allocate = kernels.reserve(arrays * kernels.elementsFor(NUMBERS));
      data = Array.from({ length: arrays }, () => allocate(NUMBERS));
      // A number, the width of softmax, divides the length.
      const sizes = { m: length / CLASSES, p: CLASSES, q: CLASSES };
      calls = Array.from({ length: NUMBERS / length }, (_, i) => {
        let array = 0;
        return operandsOf(kernels, kernel, sizes, () => ({ data: data[array++], offset: i * length, length }));
      });
    },
    run() {
      // Most loops overwrite what they read: each run begins with the same numbers.
      for (const numbers of data) numbers.set(inputs);
      const ms = timed(() => {
        for (const operands of calls) call(kernels, kernel, operands);
      });
      subject.checksum = data.reduce((sum, numbers) => sum + sumOf(numbers), 0);
      return ms;
    },
  };
  return subject;
}

function figure({ kernel, length, variant, checksum }: VectorSubject, ms: Spread) {
  const { dtype, tier } = variant;
  return { bench: 'vectors', kernel, length, dtype, tier, ...taken(ms, 'ns', 1e6 / NUMBERS), checksum };
}
