import { Faults } from './refusal.js';
import {
  type AnyTensor,
  type Axis,
  batchAxis,
  type FlatTensor,
  formOf,
  symbolicShape,
  type TensorMember,
  type Term,
  tensorAt,
  timeAxis,
  type Values,
} from './signature.js';
import { indexAt, rowMajor, type Shape } from './tensor.js';

/** What the symbols stand for in one request: n_a = 5, … */
export type Sizes = Readonly<Record<string, number>>;

interface Binding {
  readonly value: number;
  /** Pointer of the tensor the value was read off. */
  readonly from: string;
}

/** A tensor of a request beside its description. */
interface Placed {
  readonly pointer: string;
  readonly member: TensorMember;
  readonly shape: Shape;
}

/** The tensors of a signature that a request or an answer has. */
export function* tensorsIn(
  signature: readonly FlatTensor[],
  values: Values,
): Generator<FlatTensor & { readonly tensor: AnyTensor }> {
  for (const one of signature) {
    const tensor = tensorAt(values, one);
    if (tensor) yield { ...one, member: formOf(one.member, tensor.shape.length), tensor };
  }
}

/**
 * Reads the symbols off the shapes. Where tensors contradict each other, the ones that contradict most others are wrong;
 * of two that only contradict each other, the later one.
 *
 * @throws Refusal shape-mismatch, both sides named
 */
export function bindSymbols(signature: readonly FlatTensor[], values: Values): Sizes {
  const faults = new Faults();
  const all = [...tensorsIn(signature, values)].map(({ pointer, member, tensor: { shape } }): Placed => {
    return { pointer, member, shape };
  });
  const placed = all.filter(({ pointer, member, shape }) => {
    const rank = member.axes.length;
    if (shape.length === rank) return true;
    const count = `${rank} ${rank === 1 ? 'dimension' : 'dimensions'}`;
    const other = member.or ? `, and ${symbolicShape(member.or)} has ${member.or.axes.length}` : '';
    faults.add(
      pointer,
      `${pointer} has shape (${shape.join(', ')}), but ${symbolicShape(member)} has ${count}${other}`,
    );
    return false;
  });

  let bindings = bind(placed);
  if (!placed.every((one) => fits(one, bindings))) {
    const agreed = agreeing(placed);
    bindings = bind(placed, bind(agreed));
  }
  for (const one of placed) compareWithSymbols(one, bindings, faults);
  // A shape that is wrong limits no other.
  if (faults.isEmpty) for (const one of placed) compareWithLimits(one, bindings, faults);
  faults.refuse('shape-mismatch');
  return Object.fromEntries([...bindings].map(([symbol, { value }]) => [symbol, value]));
}

type Bindings = ReadonlyMap<string, Binding>;

/**
 * The symbols as the first tensor has them that tells them, and in sums only where none has them alone.
 *
 * @param known what they are if that is known already
 */
function bind(placed: readonly Placed[], known?: Bindings): Bindings {
  const bindings = new Map(known);
  const add = (symbol: string, value: number, from: string) => {
    if (!bindings.has(symbol) && isLength(value)) bindings.set(symbol, { value, from });
  };
  for (const { pointer, member, shape } of placed) {
    for (const [symbol, value] of alone(member, shape)) add(symbol, value, pointer);
  }
  for (const { pointer, member, shape } of placed) {
    for (const [symbol, value] of inSums(member, shape)) add(symbol, value, pointer);
  }
  return bindings;
}

function isLength(value: number): boolean {
  return value > 0 && Number.isInteger(value);
}

type Claim = readonly [symbol: string, value: number];

/** What the axes of a single symbol say. */
function alone({ axes }: TensorMember, shape: Shape): Claim[] {
  return axes.flatMap(({ terms: [{ times, symbol }, ...more] }, axis): Claim[] => {
    return more.length > 0 || symbol === undefined ? [] : [[symbol, shape[axis] / times]];
  });
}

/** What the axes of sums say: (n_a, n_a + n_x) = (5, 8), that n_x = 3. */
function inSums(member: TensorMember, shape: Shape): Claim[] {
  const known = new Map(alone(member, shape));
  return member.axes.flatMap(({ terms }, axis): Claim[] => {
    const unknown = terms.filter(({ symbol }) => symbol !== undefined && !known.has(symbol));
    if (terms.length === 1 || unknown.length !== 1) return [];
    const [{ times, symbol = '' }] = unknown;
    const others = terms.filter((term) => term !== unknown[0]);
    const rest = lengthOf(others, (symbol) => known.get(symbol)) ?? 0;
    return [[symbol, (shape[axis] - rest) / times]];
  });
}

function fits({ member, shape }: Placed, bindings: Bindings): boolean {
  return member.axes.every(({ terms }, axis) => {
    const expected = lengthOf(terms, (symbol) => bindings.get(symbol)?.value);
    return expected === undefined || expected === shape[axis];
  });
}

/** Those that are left when, one by one, the tensor that contradicts most others is taken away. */
function agreeing(placed: readonly Placed[]): readonly Placed[] {
  const others = (one: Placed) => placed.filter((other) => other !== one);
  const counts = placed.map((one) => others(one).filter((other) => contradict(one, other)).length);
  const most = Math.max(...counts);
  if (most === 0) return placed;
  const suspects = placed.filter((_, i) => counts[i] === most);
  // Where each is as likely: the one whose axes, in another order, would contradict nobody.
  const turned = suspects.filter((one) =>
    reorderings(one).some((way) => others(one).every((other) => !contradict(way, other))),
  );
  return agreeing(others(turned.length === 1 ? turned[0] : suspects[suspects.length - 1]));
}

/** Do two tensors say different things about a symbol? */
function contradict(one: Placed, other: Placed): boolean {
  const claims = claimsOf(other);
  return claimsOf(one).some(([symbol, value]) => claims.some((claim) => claim[0] === symbol && claim[1] !== value));
}

function claimsOf({ member, shape }: Placed): Claim[] {
  return [...alone(member, shape), ...inSums(member, shape)];
}

/** The tensor with its axes in every order. */
function reorderings(one: Placed): Placed[] {
  return ordersOf(one.shape).map((shape) => ({ ...one, shape }));
}

function ordersOf(shape: Shape): Shape[] {
  if (shape.length < 2) return [shape];
  return shape.flatMap((n, axis) => ordersOf(shape.toSpliced(axis, 1)).map((rest) => [n, ...rest]));
}

function compareWithSymbols({ pointer, member, shape }: Placed, bindings: Bindings, faults: Faults): void {
  const expected = member.axes.map(({ terms }) => lengthOf(terms, (symbol) => bindings.get(symbol)?.value));
  const wrong = member.axes.filter((_, axis) => expected[axis] !== shape[axis]);
  if (wrong.length === 0) return;
  const shown = expected.map((value, axis) => value ?? member.axes[axis].text).join(', ');
  const reasons = explain(wrong, bindings);
  faults.add(
    pointer,
    `${pointer} has shape (${shape.join(', ')}), but ${symbolicShape(member)} is (${shown})${reasons}`,
  );
}

function compareWithLimits({ pointer, member, shape }: Placed, bindings: Bindings, faults: Faults): void {
  member.axes.forEach(({ text, atMost }, axis) => {
    const most = atMost === undefined ? undefined : bindings.get(atMost);
    if (most === undefined || shape[axis] <= most.value) return;
    faults.add(
      pointer,
      `${pointer} has shape (${shape.join(', ')}), but ${text} = ${shape[axis]} is more than ${atMost} = ${most.value} from ${most.from}`,
    );
  });
}

/** The length of an axis, or undefined where a symbol in it has no value. */
function lengthOf(terms: readonly Term[], lookUp: (symbol: string) => number | undefined): number | undefined {
  let length = 0;
  for (const { times, symbol } of terms) {
    const value = symbol === undefined ? 1 : lookUp(symbol);
    if (value === undefined) return undefined;
    length += times * value;
  }
  return length;
}

/** ": n_a = 5 from /a0, n_x = 3 from /x" */
function explain(axes: readonly Axis[], bindings: Bindings): string {
  const symbols = new Set(axes.flatMap(({ terms }) => terms.map(({ symbol }) => symbol ?? '')));
  const reasons = [...symbols].flatMap((symbol) => {
    const binding = bindings.get(symbol);
    return binding ? [`${symbol} = ${binding.value} from ${binding.from}`] : [];
  });
  return reasons.length === 0 ? '' : `: ${reasons.join(', ')}`;
}

/**
 * Checks that numbers are in the ranges of their signature.
 *
 * @throws Refusal invalid-tensor that names the first number of each tensor that is not
 */
export function checkRanges(signature: readonly FlatTensor[], values: Values, sizes: Sizes): void {
  const faults = new Faults();
  for (const { pointer, member, tensor } of tensorsIn(signature, values)) {
    if (!member.range) continue;
    const { least, to, isWithin } = member.range;
    const most = to === undefined ? Number.POSITIVE_INFINITY : isWithin ? sizes[to] : sizes[to] - 1;
    const wrong = tensor.data.findIndex((value) => value < least || value > most);
    if (wrong < 0) continue;
    const at = `${pointer}/${indexAt(tensor, wrong).join('/')}`;
    const end = isWithin ? `${to} = ${most}` : `${to} − 1 = ${most}`;
    const range = to === undefined ? `at least ${least}` : `from ${least} to ${end}`;
    faults.add(at, `${at} is ${tensor.data[wrong]}, but must be ${range}`);
  }
  faults.refuse('invalid-tensor');
}

/** The shape of a tensor in this request, or undefined where a symbol in it has no value: then it does not exist. */
export function shapeIn(sizes: Sizes, member: TensorMember): Shape | undefined {
  const shape: number[] = [];
  for (const { terms } of member.axes) {
    const length = lengthOf(terms, (symbol) => sizes[symbol]);
    if (length === undefined) return undefined;
    shape.push(length);
  }
  return shape;
}

/** Does a tensor lie as the engine walks through it? Those without examples and time steps lie as they are written. */
export function isArranged(member: TensorMember): boolean {
  return member.numbers === 'real' && (batchAxis(member) >= 0 || timeAxis(member) >= 0);
}

/**
 * Where the elements of a tensor lie: time steps are the slowest axis, then come the others as they are written but the
 * last, then examples, and the last one, its features, is contiguous. (n, m, T) lies as (T, m, n).
 */
export function stridesFor(member: TensorMember, shape: Shape): readonly number[] {
  if (!isArranged(member)) return rowMajor(shape);
  const [time, batch] = [timeAxis(member), batchAxis(member)];
  const others = shape.map((_, axis) => axis).filter((axis) => axis !== time && axis !== batch);
  const fastestFirst = [...others.slice(-1), batch, ...others.slice(0, -1).reverse(), time].filter((axis) => axis >= 0);
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (const axis of fastestFirst) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}
