import type { Operation } from '../operations/operation.js';
import { Refusal } from '../tensor/refusal.js';
import { type Dims, shapeIn, stridesFor, zeros } from '../tensor/shapes.js';
import {
  type GroupMember,
  hasBatchAxis,
  pointerTo,
  type TensorMember,
  type Value,
  type Values,
} from '../tensor/signature.js';
import { elements, type Shape, scatter, type Tensor } from '../tensor/tensor.js';

/** All memory of one request: known from its shapes before anything is computed. */
export interface Workspace {
  readonly request: Values;
  readonly answer: Values;
  readonly scratch: Values;
  /** The tensors that the operation computes, in the order they are checked for numbers that are not finite. */
  readonly computed: readonly Computed[];
}

/** A tensor that a request needs beside its own. */
interface Wanted {
  readonly name: string;
  /** Where it is in the answer; an intermediate result: where it would be in the answer of the forward operation. */
  readonly pointer: string;
  readonly member: TensorMember;
  readonly shape: Shape;
  /** Is it sent to the caller, or an intermediate result? */
  readonly answered: boolean;
}

export interface Computed extends Wanted {
  readonly tensor: Tensor;
}

const BYTES = Float64Array.BYTES_PER_ELEMENT;

/**
 * Plans the memory of a request from its letters, refuses what is over the limit, and only then reserves it.
 *
 * @param limit bytes that the tensors of one request may take: its own, the answer's, and those worked in
 * @throws Refusal work-too-large
 */
export function reserve(operation: Operation, request: Values, dims: Dims, limit: number): Workspace {
  const wanted = new Map<string, Wanted>();
  collect(operation, operation.scratch, request, dims, undefined, wanted);
  collect(operation, operation.answer, request, dims, '', wanted);
  let bytes = bytesOf(operation.request, request);
  for (const { shape } of wanted.values()) bytes += elements(shape) * BYTES;
  if (bytes > limit) {
    const detail = `the tensors of this request, its answer and what is computed between take ${bytes} bytes, but the limit is ${limit} bytes`;
    throw new Refusal('work-too-large', [{ pointer: '', detail }]);
  }

  const tensors = new Map<string, Tensor>();
  for (const [key, { member, shape }] of wanted) tensors.set(key, zeros(member, shape));
  const arranged = arrange(operation.request, request);
  return {
    request: arranged,
    answer: fill(operation, operation.answer, arranged, dims, tensors),
    scratch: fill(operation, operation.scratch, arranged, dims, tensors),
    computed: [...wanted].map(([key, one]) => ({ ...one, tensor: tensors.get(key) as Tensor })),
  };
}

/** Does a member of the answer or the scratch exist for this request? */
function exists(operation: Operation, name: string, request: Values): boolean {
  return operation.when[name]?.(request) ?? true;
}

/** One name with one shape is one tensor. */
function keyOf(name: string, shape: Shape): string {
  return `${name} ${shape.join(' ')}`;
}

/** The group of the request that an answer repeats, if there is one. (`caches` is an option of a request, too.) */
function repeatedGroup(operation: Operation, request: Values, name: string): Values | undefined {
  return operation.request.members[name]?.kind === 'group' ? (request[name] as Values | undefined) : undefined;
}

/** The tensor of the request that an answer repeats, if there is one. */
function repeated(request: Values, name: string, shape: Shape): Tensor | undefined {
  const value = request[name] as Tensor | undefined;
  return value?.shape !== undefined && keyOf(name, value.shape) === keyOf(name, shape) ? value : undefined;
}

/** @param parent pointer of the group in the answer; undefined: it is not part of the answer */
function collect(
  operation: Operation,
  signature: GroupMember,
  request: Values,
  dims: Dims,
  parent: string | undefined,
  wanted: Map<string, Wanted>,
): void {
  for (const [name, member] of Object.entries(signature.members)) {
    if (!exists(operation, name, request)) continue;
    if (member.kind === 'group' && !repeatedGroup(operation, request, name)) {
      collect(operation, member, request, dims, parent === undefined ? parent : pointerTo(parent, name), wanted);
    }
    if (member.kind !== 'tensor') continue;
    const shape = shapeIn(dims, member);
    if (shape === undefined || repeated(request, name, shape)) continue;
    const key = keyOf(name, shape);
    const known = wanted.get(key);
    if (known?.answered) continue;
    wanted.set(key, { name, pointer: pointerTo(parent ?? '', name), member, shape, answered: parent !== undefined });
  }
}

function fill(
  operation: Operation,
  signature: GroupMember,
  request: Values,
  dims: Dims,
  tensors: ReadonlyMap<string, Tensor>,
): Values {
  const values: Record<string, Value | undefined> = {};
  for (const [name, member] of Object.entries(signature.members)) {
    if (!exists(operation, name, request)) continue;
    if (member.kind === 'group') {
      values[name] = repeatedGroup(operation, request, name) ?? fill(operation, member, request, dims, tensors);
    }
    if (member.kind !== 'tensor') continue;
    const shape = shapeIn(dims, member);
    if (shape) values[name] = repeated(request, name, shape) ?? tensors.get(keyOf(name, shape));
  }
  return values;
}

/** The request with every tensor laid out as the engine works on it. */
function arrange(signature: GroupMember, values: Values): Values {
  const arranged: Record<string, Value | undefined> = {};
  for (const [name, member] of Object.entries(signature.members)) {
    const value = values[name];
    if (value === undefined) continue;
    if (member.kind === 'group') arranged[name] = arrange(member, value as Values);
    else if (member.kind === 'tensor' && hasBatchAxis(member)) arranged[name] = transposed(member, value as Tensor);
    else arranged[name] = value;
  }
  return arranged;
}

function transposed(member: TensorMember, { shape, data }: Tensor): Tensor {
  const tensor = { shape, strides: stridesFor(member, shape), data: new Float64Array(data.length) };
  scatter(tensor.data, data, shape, tensor.strides);
  return tensor;
}

function bytesOf(signature: GroupMember, values: Values): number {
  let bytes = 0;
  for (const [name, member] of Object.entries(signature.members)) {
    const value = values[name];
    if (value === undefined) continue;
    // A tensor with a batch axis is there twice: as it was read, and as the engine works on it.
    if (member.kind === 'tensor') bytes += (value as Tensor).data.length * BYTES * (hasBatchAxis(member) ? 2 : 1);
    if (member.kind === 'group') bytes += bytesOf(member, value as Values);
  }
  return bytes;
}
