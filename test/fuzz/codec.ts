import { inspect } from 'node:util';
import { KnownWeights } from '../../src/compute/worker/known-weights.js';
import { type JsonCodec, loadJsonCodec } from '../../src/formats/json/codec.js';
import { readJson } from '../../src/formats/json/reader.js';
import { reference } from '../../src/kernels/reference.js';
import { Refusal } from '../../src/tensor/refusal.js';
import { choice, group, integer, optional, type Values } from '../../src/tensor/signature.js';
import type { Dtype } from '../../src/tensor/tensor.js';
import { tensor } from '../symbols.js';

export const DTYPES: readonly Dtype[] = ['float64', 'float32'];

/** A signature with everything that one can hold. */
const signatureOf = (otherwise: Dtype) =>
  group('Request', 'a request', {
    x: tensor('n_x', 'a vector'),
    y: optional(tensor('n_x m T', 'a tensor')),
    parameters: optional(
      group('Parameters', 'weights', { W: tensor('n_a n_x', 'weights'), b: optional(tensor('n_a 1', 'bias')) }),
    ),
    mode: choice('Choice', ['plain', 'fancy'], 'plain', 'how'),
    steps: integer(1, 'how many'),
    dtype: choice('Dtype', DTYPES, otherwise, 'type of all numbers'),
  });

export const signatures = { float64: signatureOf('float64'), float32: signatureOf('float32') };

/** What a reader makes of a body: values, or a refusal. Any other exception is a fault of the reader. */
export type Read = { readonly values: Values } | { readonly code: string; readonly faults: readonly object[] };

function readBy(bytes: Uint8Array, dtype: Dtype, codec?: JsonCodec, known?: KnownWeights): Read {
  const look = known?.look();
  try {
    const values = readJson(bytes, signatures[dtype], codec, look);
    look?.accept(values.dtype as Dtype);
    return { values };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { code: error.code, faults: error.faults };
  }
}

const codec = loadJsonCodec();
/** Remembers the weights of all bodies that it has read. */
const memory = new KnownWeights(2 ** 20, reference);

/**
 * Reads a body on all roads: the plain one, the fast one, and the fast one that remembers weights, twice.
 *
 * @param dtype what numbers are read to if the body does not say
 * @throws Error if they do not come to the same result, to the last bit
 */
export function readOnAllRoads(bytes: Uint8Array, dtype: Dtype): Read {
  const plain = readBy(bytes, dtype);
  const expected = exactly(plain);
  const roads = [
    ['fast', undefined],
    ['remembering', memory],
    ['remembering again', memory],
  ] as const;
  for (const [road, known] of roads) {
    const found = exactly(readBy(bytes, dtype, codec, known));
    if (found !== expected) throw new Error(`the ${road} road reads ${found}\nbut the plain one ${expected}`);
  }
  return plain;
}

/** A text that differs where values differ in any bit of any number, or in anything of a refusal. */
function exactly(read: Read): string {
  return inspect(read, { depth: 10, maxArrayLength: null, maxStringLength: null, sorted: true });
}
