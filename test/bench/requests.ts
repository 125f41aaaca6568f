import { readFileSync } from 'node:fs';
import type { Operation } from '../../src/operations/operation.js';
import type { Sizes } from '../../src/tensor/shapes.js';
import type { GroupMember } from '../../src/tensor/signature.js';
import type { Dtype, Numbers } from '../../src/tensor/tensor.js';
import { numbersFrom, operationCalled, tensorsFor } from '../values.js';

/** The operations that are measured: whole sequences, where the time goes. Backward from inputs: forward and backward. */
export const measured: readonly Operation[] = ['rnnForward', 'rnnBackward', 'lstmForward', 'lstmBackward'].map(
  operationCalled,
);

export const DTYPES: readonly Dtype[] = ['float64', 'float32'];

/** (n_x, n_a, m, T_x) by name. */
const grid: Readonly<Record<string, readonly number[]>> = JSON.parse(
  readFileSync(new URL('grid.json', import.meta.url), 'utf8'),
);

/** From the smallest one up. */
export const sizes: readonly string[] = Object.keys(grid);

export function dimsOf(size: string): Sizes {
  const [n_x, n_a, m, T_x] = grid[size];
  return { n_x, n_a, n_y: Math.max(2, n_x >> 1), m, T_x, T_da: T_x };
}

/** Is it a size that a request is divided between workers for? */
export function isLarge(size: string): boolean {
  return sizes.indexOf(size) >= sizes.indexOf('medium');
}

/** With predictions; backward from inputs, that is forward and backward; without c0 and dc. */
const CHOICES = { prediction: true, way: 1, extras: false };

/** Numbers in ±1 with all 53 bits: with fewer digits they would be quicker to read and write than real ones. */
export function fullNumbersFrom(seed: number): () => number {
  const half = numbersFrom(seed);
  return () => half() + half() * 2 ** -32;
}

export function fillWith(data: Numbers, next: () => number): void {
  for (let i = 0; i < data.length; i++) data[i] = next();
}

/**
 * The body of a request: the same bytes every time, and the same numbers for both types. Weights are uniform in
 * ±1.5 / √n_a, which keeps the gates off their ends, everything else in ±1.
 */
export function requestBody({ request: signature }: Operation, size: string, dtype: Dtype): Uint8Array<ArrayBuffer> {
  const dims = dimsOf(size);
  const next = fullNumbersFrom(1);
  const scale = 1.5 / Math.sqrt(dims.n_a);
  const request = {
    dtype,
    ...tensorsFor(signature, dims, next, CHOICES),
    parameters: tensorsFor(signature.members.parameters as GroupMember, dims, () => next() * scale, CHOICES),
  };
  return new TextEncoder().encode(JSON.stringify(request));
}

/** Requests that differ in digits of their first weight: none has weights that another one had. */
export function withOtherWeights(body: Uint8Array<ArrayBuffer>, count: number): Uint8Array<ArrayBuffer>[] {
  const weights = Buffer.from(body.buffer).indexOf('"parameters"');
  const digits = Buffer.from(body.buffer).indexOf('[[', weights) + '[[-0.12'.length;
  return Array.from({ length: count }, (_, i) => {
    const other = body.slice();
    other.set(new TextEncoder().encode(String(1000 + i)), digits);
    return other;
  });
}
