import { describe, expect, it } from 'vitest';
import { refusal } from '../ask.js';
import { type Json, type JsonObject, numbersFrom, operationCalled, shapeOf, tensorsFor } from '../values.js';

/** A tensor in another layout than ours, as other libraries have it, is the one that the error names. */

const DIMS = { n_x: 3, n_a: 5, n_y: 6, m: 2, T_x: 4, T_da: 4 };

/** The axes of the wrong layout, by their numbers in ours: [1, 2, 0] of x is (m, T_x, n_x). */
type Layouts = Readonly<Record<string, readonly number[]>>;

const ORDERS = [
  [1, 2, 0],
  [2, 1, 0],
  [1, 0, 2],
  [2, 0, 1],
  [0, 2, 1],
];
const each = (name: string): Layouts[] => ORDERS.map((order) => ({ [name]: order }));
const transposed = (...names: string[]): Layouts[] => names.map((name) => ({ [name]: [1, 0] }));
const together = (...names: string[]): Layouts[] => [Object.fromEntries(names.map((name) => [name, [1, 0]]))];

const RNN = transposed('a0', ...['Wax', 'ba', 'Wya', 'by'].map((name) => `parameters/${name}`));
const LSTM = transposed('a0', 'c0', ...['Wf', 'bf', 'Wi', 'Wc', 'Wo', 'bo', 'Wy'].map((name) => `parameters/${name}`));
const ALL_GATES = together('parameters/Wf', 'parameters/Wi', 'parameters/Wc', 'parameters/Wo');

const layouts: [string, Layouts[]][] = [
  ['rnnForward', [...each('x'), ...RNN]],
  ['rnnBackward', [...each('x'), ...each('da'), ...RNN]],
  ['lstmForward', [...each('x'), ...LSTM, ...ALL_GATES, ...together('a0', 'c0')]],
  ['lstmBackward', [...each('x'), ...each('da'), ...each('dc'), ...LSTM, ...ALL_GATES, ...together('a0', 'c0')]],
];

/** Nested arrays with their axes in another order. */
function reordered(value: Json, order: readonly number[]): Json {
  const shape = shapeOf(value);
  const nest = (index: number[]): Json =>
    index.length === shape.length
      ? order.map((_, axis) => index[order.indexOf(axis)]).reduce((inner, i) => (inner as Json[])[i], value)
      : Array.from({ length: shape[order[index.length]] }, (_, i) => nest([...index, i]));
  return nest([]);
}

describe.each(layouts)('%s', (id, wrong) => {
  it.each(wrong.map((one): [string, Layouts] => [JSON.stringify(one), one]))('%s', (_, changes) => {
    const choices = { prediction: true, way: 1, extras: true };
    const request = tensorsFor(operationCalled(id).request, DIMS, numbersFrom(1), choices);
    for (const [path, order] of Object.entries(changes)) {
      const [name, group] = path.split('/').toReversed();
      const holder = group ? (request[group] as JsonObject) : request;
      holder[name] = reordered(holder[name], order);
    }
    const { code, faults } = refusal(id, request);
    expect(code).toBe('shape-mismatch');
    expect(faults.map(({ pointer }) => pointer)).toEqual(Object.keys(changes).map((path) => `/${path}`));
  });
});
