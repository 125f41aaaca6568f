import { describe, expect, it } from 'vitest';
import { interruptible } from '../../src/kernels/interruptible.js';
import type { Build, Rows } from '../../src/kernels/kernels.js';
import { argumentsOf, call, type KernelName, kernelNames, operandsOf } from '../../src/kernels/list.js';
import { builds } from './builds.js';

const SIZES = { m: 7, p: 9, q: 5 };
const products: readonly KernelName[] = ['addProduct', 'addTransposedProduct', 'addOuterProducts'];

/** All numbers that a kernel was called with, after the call. */
function resultsOf(build: Build, name: KernelName): number[] {
  const kernels = build.float64;
  const allocate = kernels.reserve(20 * kernels.elementsFor(100) + kernels.elementsForFactor(SIZES.p, SIZES.q));
  const arrays: Rows[] = [];
  const operands = operandsOf(kernels, name, SIZES, (length) => {
    const data = allocate(length);
    for (let i = 0; i < length; i++) data[i] = Math.sin(1 + i * i + arrays.length);
    arrays.push({ data, offset: 0, length });
    return arrays[arrays.length - 1];
  });
  call(kernels, name, operands);
  return arrays.flatMap(({ data }) => [...data]);
}

describe.each(builds)('$tier', (build) => {
  /** How often the checkpoint is called when no more than `most` multiplications may be between two. */
  const checkpoints = (name: KernelName, most?: number): number => {
    let calls = 0;
    const counting = interruptible(build, () => calls++, most);
    expect(resultsOf(counting, name)).toEqual(resultsOf(build, name));
    return calls;
  };

  it.each(products)('%s is cut over the examples, and gives the same bits', (name) => {
    const { m, p, q } = SIZES;
    expect(checkpoints(name)).toBe(1);
    expect(checkpoints(name, m * p * q)).toBe(1);
    expect(checkpoints(name, m * p * q - 1)).toBe(2);
    expect(checkpoints(name, 3 * p * q)).toBe(3);
    expect(checkpoints(name, p * q)).toBe(m);
    expect(checkpoints(name, 1)).toBe(m);
  });

  it('every kernel with a matrix is a product, and the others are called as they are', () => {
    const withMatrix = kernelNames.filter((name) =>
      argumentsOf(name).some(({ is }) => is === 'matrix' || is === 'factor'),
    );
    expect(withMatrix).toEqual(products);
    for (const name of kernelNames.filter((one) => !products.includes(one))) expect(checkpoints(name, 1)).toBe(0);
  });

  it('an exception of the checkpoint ends the product before it is done', () => {
    const stopping = interruptible(
      build,
      () => {
        throw new Error('stopped');
      },
      1,
    );
    for (const name of products) expect(() => resultsOf(stopping, name)).toThrow('stopped');
  });
});
