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
 * Reads the letters off the shapes, in the order of the signature: the first tensor with an axis that is a single
 * letter says what the letter is, and all others must agree.
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

  const bindings = new Map<string, Binding>();
  for (const {
    pointer,
    member,
    tensor: { shape },
  } of placed) {
    member.dims.forEach(({ terms: [letter, ...more] }, axis) => {
      if (more.length > 0 || typeof letter === 'number' || bindings.has(letter)) return;
      bindings.set(letter, { value: shape[axis], from: pointer });
    });
  }

  for (const {
    pointer,
    member,
    tensor: { shape },
  } of placed) {
    const expected = member.dims.map((dim) => lengthOf(dim, (letter) => bindings.get(letter)?.value));
    const wrong = member.dims.filter((_, axis) => expected[axis] !== undefined && expected[axis] !== shape[axis]);
    if (wrong.length > 0) {
      const shown = expected.map((value, axis) => value ?? member.dims[axis].text).join(', ');
      const reasons = explain(wrong, bindings);
      faults.add(
        pointer,
        `${pointer} has shape (${shape.join(', ')}), but ${symbolicShape(member)} is (${shown})${reasons}`,
      );
    }
    member.dims.forEach(({ text, atMost }, axis) => {
      const most = atMost === undefined ? undefined : bindings.get(atMost);
      if (most === undefined || shape[axis] <= most.value) return;
      faults.add(
        pointer,
        `${pointer} has shape (${shape.join(', ')}), but ${text} = ${shape[axis]} is more than ${atMost} = ${most.value} from ${most.from}`,
      );
    });
  }
  faults.refuse('shape-mismatch');
  return Object.fromEntries([...bindings].map(([letter, { value }]) => [letter, value]));
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
function lengthOf({ terms }: Dim, lookUp: (letter: string) => number | undefined): number | undefined {
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
    const length = lengthOf(dim, (letter) => dims[letter]);
    if (length === undefined) return undefined;
    shape.push(length);
  }
  return shape;
}

/** Where the elements of a tensor lie: time-major if it has a batch axis, else as they are written. */
export function stridesFor(member: TensorMember, shape: Shape): number[] {
  return hasBatchAxis(member) ? timeMajor(shape) : rowMajor(shape);
}
