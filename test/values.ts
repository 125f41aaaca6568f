import fc from 'fast-check';
import type { Operation } from '../src/operations/operation.js';
import { operations } from '../src/operations/operations.js';
import type { Sizes } from '../src/tensor/shapes.js';
import { shapeIn } from '../src/tensor/shapes.js';
import type { GroupMember, Range, TensorMember } from '../src/tensor/signature.js';
import type { Dtype } from '../src/tensor/tensor.js';

/** JSON values of requests, made from the table of operations: for every test that needs requests of any shape. */

export type Json = number | string | boolean | null | Json[] | { [name: string]: Json };
export type JsonObject = { [name: string]: Json };

export function operationCalled(id: string): Operation {
  const found = operations.find((operation) => operation.id === id);
  if (!found) throw new Error(`no operation is called ${id}`);
  return found;
}

/** Every symbol, small; T_da may be shorter than T_x. */
export const dimsArbitrary: fc.Arbitrary<Sizes> = fc
  .record({
    n_x: fc.integer({ min: 1, max: 4 }),
    n_a: fc.integer({ min: 1, max: 4 }),
    n_y: fc.integer({ min: 1, max: 3 }),
    // A large batch now and then: its sequences are worked on in several chunks of time steps.
    m: fc.oneof(
      { weight: 9, arbitrary: fc.integer({ min: 1, max: 3 }) },
      { weight: 1, arbitrary: fc.constantFrom(70, 150) },
    ),
    T_x: fc.integer({ min: 1, max: 5 }),
    shorter: fc.integer({ min: 0, max: 4 }),
  })
  .map(({ shorter, ...dims }) => ({ ...dims, T_da: Math.max(1, dims.T_x - shorter) }));

/** The same, with a value for each symbol that only this signature has. */
export function dimsArbitraryFor(group: GroupMember): fc.Arbitrary<Sizes> {
  const own = Object.fromEntries([...symbolsOf(group)].map((symbol) => [symbol, fc.integer({ min: 1, max: 4 })]));
  return fc.tuple(fc.record(own), dimsArbitrary).map(([symbols, dims]) => ({ ...symbols, ...dims }));
}

export function symbolsOf(group: GroupMember): Set<string> {
  const symbols = Object.values(group.members).flatMap((member) => {
    if (member.kind === 'group') return [...symbolsOf(member)];
    return member.kind === 'tensor' ? member.axes.flatMap(({ terms }) => terms.map(({ symbol }) => symbol)) : [];
  });
  return new Set(symbols.filter((symbol) => symbol !== undefined));
}

/** A source of numbers: the same seed gives the same numbers. */
export function numbersFrom(seed: number, scale = 1): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1) * scale;
  };
}

export interface Choices {
  /** With Wya/by (or Wy/by)? */
  readonly prediction: boolean;
  /** Which way of a request that can be given in several. */
  readonly way: number;
  /** With the members that may be left out (c0, dc)? */
  readonly extras: boolean;
  /** With examples of different lengths? */
  readonly ragged?: boolean;
  /** With indices for one-hot inputs and targets? */
  readonly indices?: boolean;
}

export const choicesArbitrary: fc.Arbitrary<Choices> = fc.record({
  prediction: fc.boolean(),
  way: fc.integer({ min: 0, max: 1 }),
  extras: fc.boolean(),
  ragged: fc.boolean(),
  indices: fc.boolean(),
});

/** The tensors of a group: nested arrays of the right shapes, without options. */
export function tensorsFor(group: GroupMember, dims: Sizes, next: () => number, asked: Choices): JsonObject {
  // A loss is always one of the predictions.
  const choices = group.members.loss ? { ...asked, prediction: true } : asked;
  const values: JsonObject = {};
  for (const [name, member] of Object.entries(group.members)) {
    if (!isTaken(group, name, choices)) continue;
    if (member.kind === 'group') values[name] = tensorsFor(member, dims, next, choices);
    if (member.kind === 'tensor') values[name] = nested((choices.indices && member.or) || member, dims, next);
    if (member.kind === 'choice' && !member.optional) values[name] = member.choices[0];
  }
  // The bias that only a GRU has whose reset gate acts after the product.
  if (group.members.reset && holds(values, 'bca')) values.reset = 'after';
  return values;
}

/** Has an object, or one in it, a member of this name? */
function holds(values: JsonObject, name: string): boolean {
  return Object.entries(values).some(([key, value]) => {
    return key === name || (typeof value === 'object' && !Array.isArray(value) && holds(value as JsonObject, name));
  });
}

function isTaken(group: GroupMember, name: string, { prediction, way, extras, ragged, indices }: Choices): boolean {
  if (group.together.some((names) => names.includes(name))) return prediction;
  const isIn = (one: string) => isTaken({ ...group, standIns: {} }, one, { prediction, way, extras });
  for (const [one, standIn] of Object.entries(group.standIns)) {
    const isEither = group.either.length === 0 || isIn(one);
    if (name === one) return isEither && !indices;
    if (name === standIn) return isEither && indices === true;
  }
  // Caches have their own, and other ones are refused.
  if (name === 'lengths') return ragged === true && !(group.members.caches?.kind === 'group' && isIn('caches'));
  // A cache_id is none of the ways here: what it names must have been stored before.
  const withTensors = group.either.filter(({ need }) => need.every((one) => group.members[one].kind !== 'text'));
  if (group.members[name].kind === 'text') return false;
  const ways = withTensors.map(({ need, may = [] }) => ({ need, all: [...need, ...may] }));
  if (ways.some(({ all }) => all.includes(name))) {
    const { need, all } = ways[way % ways.length];
    return need.includes(name) || (extras && all.includes(name));
  }
  return extras || !group.members[name].optional;
}

export function nested(member: TensorMember, dims: Sizes, next: () => Json): Json {
  const shape = shapeIn(dims, member) ?? [];
  if (member.range) return nested({ ...member, range: undefined }, dims, inRange(member, member.range, dims, next));
  const nest = (axis: number): Json =>
    axis === shape.length ? next() : Array.from({ length: shape[axis] }, () => nest(axis + 1));
  return nest(0);
}

/** Numbers in a range, of what may be any number. */
function inRange({ numbers }: TensorMember, { least, to, isWithin }: Range, dims: Sizes, next: () => Json): () => Json {
  return () => {
    const any = Math.abs(next() as number);
    if (to === undefined) return least + any;
    const count = dims[to] - least + (isWithin ? 1 : 0);
    return numbers === 'whole' ? least + (Math.floor(any * 1000) % count) : least + any;
  };
}

/** The shape of nested arrays, by their first elements. */
export function shapeOf(value: Json): number[] {
  return Array.isArray(value) ? [value.length, ...shapeOf(value[0])] : [];
}

/** All numbers of nested arrays in row-major order. */
export function flat(value: Json): number[] {
  if (typeof value !== 'object' || value === null) return [value as number];
  return (Array.isArray(value) ? value : Object.values(value)).flatMap(flat);
}

/** The sum of the products of equal positions: ⟨one, other⟩. */
export function inner(one: Json, other: Json): number {
  const [a, b] = [flat(one), flat(other)];
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

export function largestIn(tensor: Json): number {
  return flat(tensor).reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
}

/**
 * Does a tensor agree with another one, up to a share of the other's largest magnitude?
 *
 * @param least the magnitude to measure with where the tensor's own is smaller: that of what it is a part of
 */
export function expectClose(name: string, actual: Json, expected: Json, dtype: Dtype, least = 0): void {
  const [relative, absolute] = CLOSE[dtype];
  if (shapeOf(actual).join() !== shapeOf(expected).join()) {
    throw new Error(`${name} is of shape (${shapeOf(actual)}), but must be of shape (${shapeOf(expected)})`);
  }
  const [a, b] = [flat(actual), flat(expected)];
  const error = b.reduce((max, value, i) => Math.max(max, Math.abs(a[i] - value)), 0);
  const bound = relative * Math.max(least, largestIn(expected)) + absolute;
  if (!(error <= bound))
    throw new Error(`the largest error of ${name} is ${error}, but must not be more than ${bound}`);
}

/** Share of the largest magnitude, and what is added for tensors that are nearly zero. */
const CLOSE = { float64: [1e-10, 1e-12], float32: [1e-5, 1e-7] } as const;

/** The same for all tensors in an object and the objects in it. */
export function expectAllClose(actual: JsonObject, expected: JsonObject, dtype: Dtype, least = 0): void {
  for (const [name, value] of Object.entries(expected)) {
    if (Array.isArray(value)) expectClose(name, actual[name], value, dtype, least);
    else expectAllClose(actual[name] as JsonObject, value as JsonObject, dtype, least);
  }
}
