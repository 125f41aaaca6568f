import { type Kernels, type Matrix, TIERS, type Tier } from './kernels.js';
import { reference } from './reference.js';
import { loadSimd } from './simd.js';

/** What a person may ask for: one tier, or the fastest that this runtime has and that computes what it should. */
export const CHOICES = ['auto', ...TIERS] as const;
export type Choice = (typeof CHOICES)[number];

/** A tier that was asked for by name cannot be used here. */
export class KernelsUnavailable extends Error {
  override readonly name = 'KernelsUnavailable';
}

/**
 * The kernels to compute with.
 *
 * @throws KernelsUnavailable where a tier is asked for by name: never a silent replacement
 */
export function chooseKernels(choice: Choice): Kernels {
  if (choice !== 'auto') return load(choice);
  for (const tier of [...TIERS].reverse()) {
    try {
      return load(tier);
    } catch {
      // This runtime does not have it: the next slower one.
    }
  }
  return reference;
}

function load(tier: Tier): Kernels {
  if (tier === 'scalar') return reference;
  let kernels: Kernels;
  try {
    kernels = loadSimd(tier);
  } catch (error) {
    throw new KernelsUnavailable(
      `KERNELS=${tier} cannot be used in Node ${process.version}: ${(error as Error).message}`,
    );
  }
  check(kernels);
  return kernels;
}

/** Computes something small with every kernel and compares it with the plain build. */
function check(kernels: Kernels): void {
  const [actual, expected] = [trial(kernels), trial(reference)];
  const wrong = actual.findIndex((value, i) => !(Math.abs(value - expected[i]) <= 1e-13));
  if (wrong >= 0) {
    throw new KernelsUnavailable(
      `the kernels of tier ${kernels.tier} compute ${actual[wrong]} where it must be ${expected[wrong]}`,
    );
  }
}

function trial(kernels: Kernels): number[] {
  // No size is a multiple of a vector: whole panels, their edges and an odd row are all walked through.
  const [m, p, q] = [3, 11, 9];
  const sizes = [m * p, m * p, m * q, m * q, p * q, p * q, p];
  const total = sizes.reduce((sum, size) => sum + kernels.elementsFor(size), kernels.elementsForFactor(p, q));
  const allocate = kernels.reserve(total);
  const [z, a, v, back, w, dw, b] = sizes.map((size, seed) => {
    const numbers = allocate(size);
    for (let i = 0; i < size; i++) numbers[i] = Math.sin(i * i + seed);
    return numbers;
  });
  const matrix = (data: Float64Array): Matrix => ({ data, offset: 0, rows: p, columns: q, stride: q });

  const W = kernels.factor(matrix(w));
  kernels.addProduct(z, W, v);
  kernels.addTransposedProduct(back, W, z);
  kernels.addOuterProducts(matrix(dw), z, v);
  kernels.addRows(b, z);
  kernels.fillRows(a, b);
  kernels.tanh(a);
  kernels.sigmoid(z);
  kernels.softmaxRows(back, q);
  return [...z, ...a, ...back, ...dw, ...b];
}
