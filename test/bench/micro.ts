import { chunkSteps } from '../../src/engine/chunk.js';
import type { Kernels, Matrix, Rows } from '../../src/kernels/kernels.js';
import { numbersFrom } from '../values.js';
import { type Variant, variantsOf } from './builds.js';
import { type Part, type Plan, report } from './part.js';
import { dimsOf, fillWith, sizes } from './requests.js';
import { rounded, type Spread, sumOf, taken } from './statistics.js';
import { measureInTurns, type Subject, timedOften } from './turns.js';

/** The matrix products alone, of the shapes that requests of the grid need. */
export const micro: Part = {
  what: 'matrix products, in GFLOP/s, and the best of them as the best tile',
  seconds: 0.2,
  async measure(plan) {
    const products = productsFor(plan);
    const spreads = measureInTurns(products, plan.seconds);
    const figures = products.map((product, i) => figure(product, spreads[i]));
    const best = variantsOf(plan).map((variant) => bestFigure(figures, variant));
    return [
      report('Matrix products: m rows, W (p, q)', figures, {
        kernel: (f) => f.kernel,
        m: (f) => f.m,
        p: (f) => f.p,
        q: (f) => f.q,
        dtype: (f) => f.dtype,
        tier: (f) => f.tier,
        'median µs': (f) => f.median_us,
        'p10 µs': (f) => f.p10_us,
        'p90 µs': (f) => f.p90_us,
        'GFLOP/s': (f) => f.gflops,
      }),
      report('Best tile', best, {
        dtype: (f) => f.dtype,
        tier: (f) => f.tier,
        'GFLOP/s': (f) => f.gflops,
        kernel: (f) => f.kernel,
        'm, p, q': (f) => `${f.m}, ${f.p}, ${f.q}`,
      }),
    ];
  },
};

const KERNELS = ['addProduct', 'addTransposedProduct', 'addOuterProducts'] as const;

/** m rows, and a matrix W (p, q). */
interface Shape {
  readonly m: number;
  readonly p: number;
  readonly q: number;
}

/** One kernel on one shape. */
export interface Product extends Subject, Shape {
  readonly variant: Variant;
  readonly kernel: (typeof KERNELS)[number];
  /** Multiplications and additions of one run. */
  readonly flops: number;
  checksum: number;
}

/** A step of the recurrence, and what the input gives to a chunk of time steps; without doubles. */
function shapesFor(names: readonly string[]): Shape[] {
  const shapes = names.flatMap((size) => {
    const { n_x, n_a, m, T_x } = dimsOf(size);
    return [
      { m, p: n_a, q: n_a },
      { m: m * chunkSteps(m, T_x), p: n_a, q: n_x },
    ];
  });
  return [...new Map(shapes.map((shape) => [Object.values(shape).join(), shape])).values()];
}

function productsFor(plan: Plan): Product[] {
  return shapesFor(plan.sizes ?? sizes).flatMap((shape) =>
    KERNELS.flatMap((kernel) => variantsOf(plan).map((variant) => productOf(variant, kernel, shape))),
  );
}

function productOf(variant: Variant, kernel: Product['kernel'], { m, p, q }: Shape): Product {
  let work: () => Rows;
  const product: Product = {
    variant,
    kernel,
    m,
    p,
    q,
    flops: 2 * m * p * q,
    checksum: Number.NaN,
    begin() {
      work = prepare(variant.kernels, kernel, { m, p, q });
      const { data, offset, length } = work();
      product.checksum = sumOf(data.subarray(offset, offset + length));
    },
    run: timedOften(() => work()),
  };
  return product;
}

/** Lays operands out where the kernels work. What comes back runs the kernel once and gives its output. */
function prepare(kernels: Kernels, kernel: Product['kernel'], { m, p, q }: Shape): () => Rows {
  const lengths = [p * q, m * p, m * q, p * q, m * p, m * q];
  const elements = lengths.reduce((sum, n) => sum + kernels.elementsFor(n), kernels.elementsForFactor(p, q));
  const allocate = kernels.reserve(elements);
  const next = numbersFrom(1);
  const [w, z, v, dW, outOfProduct, outOfTransposed] = lengths.map((length): Rows => {
    return { data: allocate(length), offset: 0, length };
  });
  for (const { data } of [w, z, v]) fillWith(data, next);
  const matrix = ({ data, offset }: Rows): Matrix => ({ data, offset, rows: p, columns: q, stride: q });
  const W = kernels.factor(matrix(w));
  return {
    addProduct: () => {
      kernels.addProduct(outOfProduct, W, v);
      return outOfProduct;
    },
    addTransposedProduct: () => {
      kernels.addTransposedProduct(outOfTransposed, W, z);
      return outOfTransposed;
    },
    addOuterProducts: () => {
      kernels.addOuterProducts(matrix(dW), z, v);
      return dW;
    },
  }[kernel];
}

/** Of each of these variants the product that is fastest in a short trial. */
export function bestProducts(variants: readonly Variant[], seconds: number): Product[] {
  const shapes = shapesFor(['medium', 'large']);
  return variants.map((variant) => {
    const products = shapes.flatMap((shape) => KERNELS.map((kernel) => productOf(variant, kernel, shape)));
    const spreads = measureInTurns(products, seconds);
    const speeds = products.map(({ flops }, i) => flops / spreads[i].median);
    return products[speeds.indexOf(Math.max(...speeds))];
  });
}

/** GFLOP/s from milliseconds. */
export function gflops(flops: number, ms: number): number {
  return rounded(flops / ms / 1e6);
}

function figure({ kernel, m, p, q, variant, flops, checksum }: Product, ms: Spread) {
  return {
    bench: 'micro',
    kernel,
    m,
    p,
    q,
    dtype: variant.dtype,
    tier: variant.tier,
    ...taken(ms, 'us', 1e3),
    gflops: gflops(flops, ms.median),
    checksum,
  };
}

function bestFigure(figures: readonly ReturnType<typeof figure>[], { tier, dtype }: Variant) {
  const [best] = figures
    .filter((one) => one.tier === tier && one.dtype === dtype)
    .toSorted((one, other) => other.gflops - one.gflops);
  const { kernel, m, p, q } = best;
  return { bench: 'micro-best', dtype, tier, gflops: best.gflops, kernel, m, p, q };
}
