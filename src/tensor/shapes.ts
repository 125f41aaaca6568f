import { Faults } from './refusal.js';
import {
  type Dim,
  type GroupMember,
  hasBatchAxis,
  pointerTo,
  symbolicShape,
  type TensorMember,
  type Values,
} from './signature.js';
import { rowMajor, type Shape, type Tensor, timeMajor } from './tensor.js';

/** What the letters stand for in one request: n_a = 5, … */
export type Dims = Readonly<Record<string, number>>;

interface Binding {
  readonly value: number;
  /** Pointer of the tensor the value was read off. */
  readonly from: string;
}

/** A tensor of a request beside its description. */
export interface Placed {
  readonly pointer: string;
  readonly member: TensorMember;
  readonly tensor: Tensor;
}

/**
 * Reads the letters off the shapes. Where tensors contradict each other, the ones that contradict most others are wrong;
 * of two that only contradict each other, the later one.
 *
 * @throws Refusal shape-mismatch, both sides named
 */
export function bindDims(signature: GroupMember, values: Values): Dims {
  const faults = new Faults();
  const placed = [...tensorsIn(signature, values)].filter(({ pointer, member, tensor: { shape } }) => {
    if (shape.length === member.dims.length) return true;
    const count = `${member.dims.length} ${member.dims.length === 1 ? 'dimension' : 'dimensions'}`;
    faults.add(pointer, `${pointer} has shape (${shape.join(', ')}), but ${symbolicShape(member)} has ${count}`);
    return false;
  });

  let bindings = bind(placed);
  if (!placed.every((one) => fits(one, bindings))) {
    const agreed = agreeing(placed);
    bindings = bind(placed, bind(agreed));
  }
  for (const one of placed) compareWithLetters(one, bindings, faults);
  // A shape that is wrong limits no other.
  if (faults.isEmpty) for (const one of placed) compareWithLimits(one, bindings, faults);
  faults.refuse('shape-mismatch');
  return Object.fromEntries([...bindings].map(([letter, { value }]) => [letter, value]));
}

type Bindings = ReadonlyMap<string, Binding>;

/**
 * The letters as the first tensor has them that tells them, and in sums only where none has them alone.
 *
 * @param known what they are if that is known already
 */
function bind(placed: readonly Placed[], known?: Bindings): Bindings {
  const bindings = new Map(known);
  const add = (letter: string, value: number, from: string) => {
    if (!bindings.has(letter) && value > 0) bindings.set(letter, { value, from });
  };
  for (const { pointer, member, tensor } of placed) {
    for (const [letter, value] of alone(member, tensor.shape)) add(letter, value, pointer);
  }
  for (const { pointer, member, tensor } of placed) {
    for (const [letter, value] of inSums(member, tensor.shape)) add(letter, value, pointer);
  }
  return bindings;
}

type Claim = readonly [letter: string, value: number];

/** What the axes of a single letter say. */
function alone({ dims }: TensorMember, shape: Shape): Claim[] {
  return dims.flatMap(({ terms: [letter, ...more] }, axis): Claim[] => {
    return more.length > 0 || typeof letter === 'number' ? [] : [[letter, shape[axis]]];
  });
}

/** What the axes of sums say: (n_a, n_a + n_x) = (5, 8), that n_x = 3. */
function inSums(member: TensorMember, shape: Shape): Claim[] {
  const known = new Map(alone(member, shape));
  return member.dims.flatMap(({ terms }, axis): Claim[] => {
    const unknown = terms.filter((term) => typeof term === 'string' && !known.has(term)) as string[];
    if (terms.length === 1 || unknown.length !== 1) return [];
    const rest =
      lengthOf(
        terms.filter((term) => term !== unknown[0]),
        (letter) => known.get(letter),
      ) ?? 0;
    return [[unknown[0], shape[axis] - rest]];
  });
}

function fits({ member, tensor: { shape } }: Placed, bindings: Bindings): boolean {
  return member.dims.every(({ terms }, axis) => {
    const expected = lengthOf(terms, (letter) => bindings.get(letter)?.value);
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

/** Do two tensors say different things about a letter? */
function contradict(one: Placed, other: Placed): boolean {
  const claims = claimsOf(other);
  return claimsOf(one).some(([letter, value]) => claims.some((claim) => claim[0] === letter && claim[1] !== value));
}

function claimsOf({ member, tensor: { shape } }: Placed): Claim[] {
  return [...alone(member, shape), ...inSums(member, shape)];
}

/** The tensor with its axes in every order. */
function reorderings(one: Placed): Placed[] {
  return ordersOf(one.tensor.shape).map((shape) => ({ ...one, tensor: { ...one.tensor, shape } }));
}

function ordersOf(shape: Shape): Shape[] {
  if (shape.length < 2) return [shape];
  return shape.flatMap((n, axis) => ordersOf(shape.toSpliced(axis, 1)).map((rest) => [n, ...rest]));
}

function compareWithLetters({ pointer, member, tensor: { shape } }: Placed, bindings: Bindings, faults: Faults): void {
  const expected = member.dims.map(({ terms }) => lengthOf(terms, (letter) => bindings.get(letter)?.value));
  const wrong = member.dims.filter((_, axis) => expected[axis] !== undefined && expected[axis] !== shape[axis]);
  if (wrong.length === 0) return;
  const shown = expected.map((value, axis) => value ?? member.dims[axis].text).join(', ');
  const reasons = explain(wrong, bindings);
  faults.add(
    pointer,
    `${pointer} has shape (${shape.join(', ')}), but ${symbolicShape(member)} is (${shown})${reasons}`,
  );
}

function compareWithLimits({ pointer, member, tensor: { shape } }: Placed, bindings: Bindings, faults: Faults): void {
  member.dims.forEach(({ text, atMost }, axis) => {
    const most = atMost === undefined ? undefined : bindings.get(atMost);
    if (most === undefined || shape[axis] <= most.value) return;
    faults.add(
      pointer,
      `${pointer} has shape (${shape.join(', ')}), but ${text} = ${shape[axis]} is more than ${atMost} = ${most.value} from ${most.from}`,
    );
  });
}

/** The tensors that a request or an answer has, in the order of its signature. */
export function* tensorsIn(signature: GroupMember, values: Values, parent = ''): Generator<Placed> {
  for (const [name, member] of Object.entries(signature.members)) {
    const value = values[name];
    const pointer = pointerTo(parent, name);
    if (value === undefined) continue;
    if (member.kind === 'tensor') yield { pointer, member, tensor: value as Tensor };
    if (member.kind === 'group') yield* tensorsIn(member, value as Values, pointer);
  }
}

/** The length of an axis, or undefined where a letter in it has no value. */
function lengthOf(terms: Dim['terms'], lookUp: (letter: string) => number | undefined): number | undefined {
  let length = 0;
  for (const term of terms) {
    const value = typeof term === 'number' ? term : lookUp(term);
    if (value === undefined) return undefined;
    length += value;
  }
  return length;
}

/** ": n_a = 5 from /a0, n_x = 3 from /x" */
function explain(dims: readonly Dim[], bindings: ReadonlyMap<string, Binding>): string {
  const letters = new Set(dims.flatMap(({ terms }) => terms.filter((term) => typeof term === 'string')));
  const reasons = [...letters].flatMap((letter) => {
    const binding = bindings.get(letter);
    return binding ? [`${letter} = ${binding.value} from ${binding.from}`] : [];
  });
  return reasons.length === 0 ? '' : `: ${reasons.join(', ')}`;
}

/** The shape of a tensor in this request, or undefined where a letter in it has no value: then it does not exist. */
export function shapeIn(dims: Dims, member: TensorMember): Shape | undefined {
  const shape: number[] = [];
  for (const dim of member.dims) {
    const length = lengthOf(dim.terms, (letter) => dims[letter]);
    if (length === undefined) return undefined;
    shape.push(length);
  }
  return shape;
}

/** Where the elements of a tensor lie: time-major if it has a batch axis, else as they are written. */
export function stridesFor(member: TensorMember, shape: Shape): number[] {
  return hasBatchAxis(member) ? timeMajor(shape) : rowMajor(shape);
}
