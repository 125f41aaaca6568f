import { createHash } from 'node:crypto';
import { machineryWith } from '../../src/compute/worker/request.js';
import { chooseKernels } from '../../src/kernels/choose.js';
import type { Tier } from '../../src/kernels/kernels.js';
import type { Operation } from '../../src/operations/operation.js';
import { operations } from '../../src/operations/operations.js';
import type { Sizes } from '../../src/tensor/shapes.js';
import type { Dtype } from '../../src/tensor/tensor.js';
import { askWith, formats } from '../ask.js';
import { fullNumbersFrom } from '../bench/requests.js';
import { type JsonObject, tensorsFor } from '../values.js';

/** A request whose answer is known before it is sent. No two of a catalogue have the same answer. */
export interface Case {
  readonly name: string;
  readonly size: Size;
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body: Uint8Array;
  readonly expected: Expected;
}

/** The whole body of an answer, byte for byte; or of a refusal the code and everything it says of the body. */
export type Expected =
  | { readonly status: 200; readonly body: Uint8Array }
  | { readonly code: string; readonly errors: string };

export type Size = 'tiny' | 'small' | 'medium' | 'large' | 'refused';

/** How many of a hundred requests are of a size: about as much time goes into each. */
export const MIX: Readonly<Record<Size, number>> = { tiny: 60, small: 24, medium: 6, large: 2, refused: 8 };

/** (n_x, n_a, m, T_x). The large ones are cut into blocks and pieces. */
const DIMS: Readonly<Record<Exclude<Size, 'refused'>, readonly number[]>> = {
  tiny: [3, 5, 4, 4],
  small: [16, 32, 2, 24],
  medium: [24, 48, 8, 32],
  large: [48, 128, 48, 48],
};
/** Different requests of a size, for each operation and type. */
const COUNTS: Readonly<Record<keyof typeof DIMS, number>> = {
  tiny: 8,
  small: 3,
  medium: 2,
  large: 1,
};

const DTYPES: readonly Dtype[] = ['float64', 'float32'];

/**
 * Requests of all operations, types and sizes, no two with the same numbers, and requests that must be refused. The
 * answers are computed here, by the same engine on the same kernels as the service.
 *
 * @param tier the kernels that the service says it computes with
 * @param short fewer of them
 */
export function makeCatalogue(tier: Tier, seed: number, short: boolean): Case[] {
  const machinery = machineryWith({ kernels: chooseKernels(tier), formats });
  const known = (size: Size, operation: Operation, request: object | string, name: string): Case => {
    const text = typeof request === 'string' ? request : JSON.stringify(request);
    const outcome = askWith(machinery, operation.id, text);
    const expected = outcome.ok
      ? { status: 200 as const, body: Uint8Array.from(Buffer.concat(outcome.body)) }
      : { code: outcome.code, errors: JSON.stringify(outcome.faults) };
    return { name, size, method: 'POST', path: operation.path, body: new TextEncoder().encode(text), expected };
  };

  const cases: Case[] = [];
  for (const operation of operations) {
    for (const dtype of DTYPES) {
      for (const size of Object.keys(DIMS) as (keyof typeof DIMS)[]) {
        for (let i = 0; i < (short ? 1 : COUNTS[size]); i++) {
          const request = requestFor(operation, size, dtype, seed + cases.length, i);
          cases.push(known(size, operation, request, `${operation.id} ${dtype} ${size} ${i}`));
        }
      }
    }
    cases.push(
      ...refusals(operation, seed).map(([code, request]) =>
        checked(code, known('refused', operation, request, `${operation.id} ${code}`)),
      ),
    );
  }
  const bodies = cases.flatMap(({ expected }) => ('body' in expected ? [digest(expected.body)] : []));
  if (new Set(bodies).size < bodies.length) throw new Error('two requests of the catalogue have the same answer');
  return cases;
}

/** Backward operations are asked from inputs and from caches in turn; forward ones for caches now and then. */
function requestFor(operation: Operation, size: keyof typeof DIMS, dtype: Dtype, seed: number, i: number): JsonObject {
  const [n_x, n_a, m, T_x] = DIMS[size];
  // Sizes differ, too: a mix-up would have another length.
  const dims: Sizes = { n_x: n_x + (i % 3), n_a, n_y: 2 + i, m, T_x: T_x + i, T_da: T_x };
  const scale = 1.5 / Math.sqrt(n_a);
  const next = fullNumbersFrom(seed);
  const tensors = tensorsFor(operation.request, dims, () => next() * scale, {
    prediction: i % 2 === 0,
    way: (i + 1) % 2,
    extras: i % 3 === 0,
  });
  const caches = operation.request.members.caches?.kind === 'choice' && i % 4 === 1;
  return { ...tensors, dtype, ...(caches && { caches: 'inline' }) };
}

/** Requests that are wrong, each in its way, and the code it must be refused with. */
function refusals(operation: Operation, seed: number): (readonly [string, object | string])[] {
  const valid = requestFor(operation, 'tiny', 'float64', seed, 0);
  const text = JSON.stringify(valid);
  const [name] = Object.entries(valid).find(([, value]) => Array.isArray(value)) as [string, unknown];
  const number = /-?\d+\.\d+/;
  return [
    ['invalid-json', text.slice(0, -(1 + (seed % 7)))],
    ['invalid-request', { ...valid, Waax: [[1]] }],
    ['invalid-request', { ...valid, [name]: undefined }],
    ['invalid-tensor', text.replace(number, 'null')],
    ['invalid-tensor', text.replace(number, '1e999')],
    ['shape-mismatch', { ...valid, [name]: [[1, 2, 3, 4, 5, 6, 7]] }],
  ];
}

/** The oracle is not taken at its word: what must be refused must be refused for the reason it was made for. */
function checked(code: string, one: Case): Case {
  if (!('code' in one.expected) || one.expected.code !== code) throw new Error(`${one.name} is not refused like that`);
  return one;
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
