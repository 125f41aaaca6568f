import type { Kernels, Rows } from '../../src/kernels/kernels.js';
import type { Dtype } from '../../src/tensor/tensor.js';
import { type Exactly, sigmoidExactly, tanhExactly, ulps } from '../kernels/exact.js';
import type { Variant } from './builds.js';
import { fullNumbersFrom } from './requests.js';
import { rounded } from './statistics.js';

/** Arguments: where the functions bend, where they flatten out, tiny ones, and as far as results are not zero. */
const RANGES: Readonly<Record<Dtype, readonly number[]>> = {
  float64: [1, 8, 40, 1e-3, 1e-9, 740],
  float32: [1, 8, 20, 1e-3, 1e-9, 100],
};
/** The oracle of float64 is slow. */
const SAMPLES: Readonly<Record<Dtype, number>> = { float64: 6000, float32: 600_000 };
const QUICK_SAMPLES: Readonly<Record<Dtype, number>> = { float64: 300, float32: 30_000 };

/** The function on many numbers, and its distance from the truth in units of the last place. */
interface Function {
  apply(kernels: Kernels, values: readonly number[]): ArrayLike<number>;
  readonly exactly: (z: number) => Exactly;
  /** In float64, which is exact enough for float32. */
  readonly roughly: (z: number) => number;
}

const FUNCTIONS: Readonly<Record<string, Function>> = {
  tanh: {
    apply(kernels, values) {
      const v = arrayOf(kernels, values);
      kernels.tanh(v);
      return v.data;
    },
    exactly: tanhExactly,
    roughly: Math.tanh,
  },
  sigmoid: {
    apply(kernels, values) {
      const v = arrayOf(kernels, values);
      kernels.sigmoid(v);
      return v.data;
    },
    exactly: sigmoidExactly,
    roughly: (z) => 1 / (1 + Math.exp(-z)),
  },
};

function arrayOf(kernels: Kernels, values: readonly number[]): Rows {
  const data = kernels.reserve(kernels.elementsFor(values.length))(values.length);
  data.set(values);
  return { data, offset: 0, length: data.length };
}

/** The largest error found over a seeded sample, of tanh and of σ. */
export function accuracyOf({ tier, dtype, kernels }: Variant, quick: boolean) {
  const samples = (quick ? QUICK_SAMPLES : SAMPLES)[dtype];
  const next = fullNumbersFrom(2);
  const round = dtype === 'float32' ? Math.fround : Number;
  const values = Array.from({ length: samples }, (_, i) => round(next() * RANGES[dtype][i % RANGES[dtype].length]));
  return Object.entries(FUNCTIONS).map(([name, { apply, exactly, roughly }]) => {
    const distance = (value: number, z: number) =>
      dtype === 'float32' ? ulps32(value, roughly(z)) : ulps(value, exactly(z));
    const results = apply(kernels, values);
    let worst = 0;
    let at = 0;
    values.forEach((z, i) => {
      const error = distance(results[i], z);
      if (error <= worst) return; // NaN is not
      worst = error;
      at = z;
    });
    return { bench: 'accuracy', function: name, dtype, tier, max_ulp: rounded(worst), at, samples };
  });
}

/** The distance of a float32 from the true value, in units of the last place that the true value has there. */
function ulps32(value: number, truth: number): number {
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.abs(truth))));
  return Math.abs(value - truth) / 2 ** (exponent - 23);
}
