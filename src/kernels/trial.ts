import type { Build, Kernels, Rows } from './kernels.js';
import { argumentsOf, call, type KernelName, kernelNames, operandsOf } from './list.js';
import { reference } from './reference.js';

/** What every build has to pass before it computes for anyone. */

/** No size is a multiple of a vector: whole panels, their edges and odd rows are all walked through. */
const SIZES = { m: 7, p: 19, q: 17 };

/** Differences from the plain build that come from another order of rounding alone, for results around 1. */
const TOLERANCES = { float64: 1e-13, float32: 1e-4 };

/** Computes something small with every kernel, in both types of numbers. What is wrong with it, if anything? */
export function faultOf(build: Build): string | undefined {
  for (const dtype of ['float64', 'float32'] as const) {
    for (const name of kernelNames) {
      const [actual, expected] = [resultsOf(build[dtype], name), resultsOf(reference[dtype], name)];
      const wrong = actual.findIndex((value, i) => !(Math.abs(value - expected[i]) <= TOLERANCES[dtype]));
      if (wrong >= 0) return `${name} gives ${actual[wrong]} in ${dtype} where it must give ${expected[wrong]}`;
    }
  }
  return undefined;
}

/** All numbers that a kernel was called with, after the call. */
function resultsOf(kernels: Kernels, name: KernelName): number[] {
  const { m, p, q } = SIZES;
  const most = kernels.elementsFor(Math.max(m * p, m * q, p * q));
  const allocate = kernels.reserve(argumentsOf(name).length * most + kernels.elementsForFactor(p, q));
  const arrays: Rows[] = [];
  const operands = operandsOf(kernels, name, SIZES, (length) => {
    const data = allocate(length);
    for (let i = 0; i < length; i++) data[i] = Math.sin(i * i + arrays.length);
    const array = { data, offset: 0, length };
    arrays.push(array);
    return array;
  });
  call(kernels, name, operands);
  return arrays.flatMap(({ data }) => [...data]);
}
