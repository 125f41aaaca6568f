import { readFileSync } from 'node:fs';
import type { Operation } from '../../src/operations/operation.js';
import type { Dims } from '../../src/tensor/shapes.js';
import type { GroupMember } from '../../src/tensor/signature.js';
import { numbersFrom, operationCalled, tensorsFor } from '../values.js';

/** The operations that are measured: whole sequences, where the time goes. */
export const measured: readonly Operation[] = ['rnnForward', 'rnnBackward', 'lstmForward', 'lstmBackward'].map(
  operationCalled,
);

/** (n_x, n_a, m, T_x) by name. */
const grid: Readonly<Record<string, readonly number[]>> = JSON.parse(
  readFileSync(new URL('grid.json', import.meta.url), 'utf8'),
);

export const sizes: readonly string[] = Object.keys(grid);

export function dimsOf(size: string): Dims {
  const [n_x, n_a, m, T_x] = grid[size];
  return { n_x, n_a, n_y: Math.max(2, n_x >> 1), m, T_x, T_da: T_x };
}

/** With predictions; backward from inputs, that is forward and backward; without c0 and dc. */
const CHOICES = { prediction: true, way: 1, extras: false };

/**
 * The body of a request: the same bytes every time. Weights are uniform in ±1.5 / √n_a, which keeps the gates
 * off their ends, everything else in ±1.
 */
export function requestBody({ request: signature }: Operation, size: string): Uint8Array<ArrayBuffer> {
  const dims = dimsOf(size);
  const half = numbersFrom(1);
  // Two draws fill all 53 bits: numbers with fewer digits would be quicker to read and write than real ones.
  const next = () => half() + half() * 2 ** -32;
  const scale = 1.5 / Math.sqrt(dims.n_a);
  const request = {
    ...tensorsFor(signature, dims, next, CHOICES),
    parameters: tensorsFor(signature.members.parameters as GroupMember, dims, () => next() * scale, CHOICES),
  };
  return new TextEncoder().encode(JSON.stringify(request));
}
