import type { Storage } from '../compute/messages.js';
import { cachesIn, storesCaches } from '../compute/stored.js';
import { longestText, type Segment, segmentsOf } from '../formats/json/writer.js';
import { binaryLength, binarySegments } from '../formats/safetensors.js';
import type { Build, Kernels } from '../kernels/kernels.js';
import type { Operation } from '../operations/operation.js';
import { Refusal } from '../tensor/refusal.js';
import { bindDims, type Dims, shapeIn, stridesFor, tensorsIn } from '../tensor/shapes.js';
import {
  type GroupMember,
  hasBatchAxis,
  isFactor,
  pointerTo,
  type TensorMember,
  timeAxis,
  type Value,
  type Values,
} from '../tensor/signature.js';
import { arrayOf, type Dtype, elements, type Numbers, reverseAxes, type Shape, type Tensor } from '../tensor/tensor.js';

/** A request as it was read, and what its letters stand for. */
export interface Request {
  readonly operation: Operation;
  /** Tensors are row-major. */
  readonly values: Values;
  readonly dims: Dims;
  readonly dtype: Dtype;
  /** What its answer says of stored caches, if they are asked for. */
  readonly storage?: Storage | undefined;
}

/** A tensor that a request needs beside its own. */
export interface Wanted {
  readonly name: string;
  /** Where it is in the answer; an intermediate result: where it would be in the answer of the forward operation. */
  readonly pointer: string;
  readonly member: TensorMember;
  readonly shape: Shape;
  /** Is it sent to the caller? Else it is what the forward pass leaves to the backward pass, or room to work in. */
  readonly role: 'answer' | 'forward' | 'scratch';
}

/** A tensor that an operation has computed. */
export interface Computed extends Wanted {
  readonly tensor: Tensor;
}

/** The values of one request where the kernels work, void with the next one. */
export interface Workspace {
  readonly request: Values;
  readonly answer: Values;
  readonly scratch: Values;
  /** In the order they are checked for numbers that are not finite. */
  readonly computed: readonly Computed[];
  /** The same by key. */
  readonly tensors: ReadonlyMap<string, Tensor>;
}

/** What one request takes, known from its letters before anything is computed. */
export interface Need {
  readonly wanted: ReadonlyMap<string, Wanted>;
  /** Numbers that the kernels reserve for it. */
  readonly numbers: number;
  /** The longest that the answer's text can be, in bytes. */
  readonly text: number;
  /** What its stored caches are, in bytes. */
  readonly stored: number;
  /** All of it in bytes, with the request as it was read. */
  readonly bytes: number;
  /** What each further block of the batch needs again: the weights, their panels and their gradients, in bytes. */
  readonly bytesOfBlock: number;
}

/** A request that can be computed, where it may take what it needs. */
export interface Examined {
  readonly request: Request;
  readonly need: Need;
  /** The request is served: what was found out is kept for others with the same shapes. */
  accept(): void;
}

/** Needs of requests that were served: most callers send the same shapes again and again. */
const known = new WeakMap<Build, Map<string, { readonly dims: Dims; readonly need: Need }>>();
const MOST_KNOWN = 256;

/**
 * Reads the letters off the shapes of a request, and says what it needs.
 *
 * @throws Refusal shape-mismatch
 */
export function examine(build: Build, operation: Operation, values: Values, storage?: Storage): Examined {
  const ofBuild = known.get(build) ?? new Map();
  known.set(build, ofBuild);
  const dtype = values.dtype as Dtype;
  const key = `${operation.id} ${shapesIn(values)}`;
  const before = ofBuild.get(key);
  if (before) {
    return { request: { operation, values, dims: before.dims, dtype, storage }, need: before.need, accept() {} };
  }

  const dims = bindDims(operation.request, values);
  const request = { operation, values, dims, dtype, storage };
  const need = needOf(build, request);
  return {
    request,
    need,
    accept() {
      if (ofBuild.size === MOST_KNOWN) ofBuild.clear();
      ofBuild.set(key, { dims, need });
    },
  };
}

/** All that the need of a request follows from: its members, their shapes and its choices. */
function shapesIn(values: Values): string {
  let text = '';
  for (const name in values) {
    const value = values[name];
    if (typeof value === 'string') text += `${name}=${value} `;
    else if (typeof value !== 'object')
      continue; // a number says how to compute, not how much
    else if (Array.isArray(value.shape)) text += `${name}(${value.shape}) `;
    else text += `${name}{${shapesIn(value as Values)}} `;
  }
  return text;
}

export function needOf(build: Build, request: Request): Need {
  const { operation, values, dtype } = request;
  const kernels = build[dtype];
  const wanted = wantedBy(request);
  let numbers = 0; // what is computed with
  let again = 0; // and of that, what does not become less with fewer examples
  for (const { member, shape } of wanted.values()) {
    numbers += kernels.elementsFor(elements(shape));
    if (!hasBatchAxis(member)) again += 2 * kernels.elementsFor(elements(shape));
  }
  let read = 0; // the request as it was read
  for (const { member, tensor } of tensorsIn(operation.request, values)) {
    read += tensor.data.length;
    if (hasBatchAxis(member)) numbers += kernels.elementsFor(tensor.data.length);
    else {
      const [rows, columns] = tensor.shape;
      const panels = isFactor(member) ? kernels.elementsForFactor(rows, columns) : 0;
      numbers += panels;
      again += panels + tensor.data.length;
    }
  }
  const tensors = planned(request, wanted);
  const text = longestText(textSegments(request, tensors));
  const stored = binaryLength(storedSegments(request, tensors));
  const { BYTES_PER_ELEMENT: size } = arrayOf[dtype];
  return { wanted, numbers, text, stored, bytes: (numbers + read) * size + text + stored, bytesOfBlock: again * size };
}

/** The tensors that are wanted, still without numbers. */
export function planned({ dtype }: Request, wanted: ReadonlyMap<string, Wanted>): ReadonlyMap<string, Tensor> {
  const data = new arrayOf[dtype](0);
  return new Map([...wanted].map(([key, { shape }]) => [key, { shape, strides: [], data }]));
}

/**
 * @param bytes that the request takes, with what its blocks need again
 * @throws Refusal work-too-large where they are more than it may take
 */
export function refuseTooLarge(bytes: number, limit: number): void {
  if (bytes <= limit) return;
  const detail = `the tensors of this request, what is computed from them and the text of the answer can take ${bytes} bytes, but the limit is ${limit} bytes`;
  throw new Refusal('work-too-large', [{ pointer: '', detail }]);
}

/** @throws Refusal work-too-large where a request asks for more arithmetic than it may */
export function refuseTooMuchWork(flops: number, limit: number): void {
  if (flops <= limit) return;
  const detail = `this request takes ${flops} multiplications and additions, but the limit is ${limit}`;
  throw new Refusal('work-too-large', [{ pointer: '', detail }]);
}

/** @throws Refusal work-too-large where the caches of a request are too large to be stored */
export function refuseTooLargeToStore({ stored }: Need, { storage }: Request): void {
  if (storage === undefined || stored <= storage.limit) return;
  const detail = `the caches of this request are ${stored} bytes, but ${storage.limit} may be stored`;
  throw new Refusal('work-too-large', [{ pointer: '/caches', detail }]);
}

/** Reserves the memory of a request in one piece, and puts the request's tensors there as the engine works on them. */
export function reserve(kernels: Kernels, request: Request, { wanted, numbers }: Need): Workspace {
  const { operation, values } = request;
  const allocate = kernels.reserve(numbers);
  const tensors = new Map<string, Tensor>();
  for (const [key, { member, shape }] of wanted) {
    tensors.set(key, { shape, strides: stridesFor(member, shape), data: allocate(elements(shape)) });
  }
  const arranged = { ...request, values: arrange(operation.request, values, allocate) };
  return {
    request: arranged.values,
    answer: fill(arranged, operation.answer, tensors),
    scratch: fill(arranged, operation.scratch, tensors),
    computed: [...wanted].map(([key, one]) => ({ ...one, tensor: tensors.get(key) as Tensor })),
    tensors,
  };
}

/** The answer of a request: what it repeats of the request as it was read, and what is computed. */
export function answerOf(request: Request, computed: ReadonlyMap<string, Tensor>): Values {
  return fill(request, request.operation.answer, computed);
}

/** The text of the answer: all of it but caches that are stored. */
export function textSegments(request: Request, computed: ReadonlyMap<string, Tensor>): Segment[] {
  const answer = answerOf(request, computed);
  const written = storesCaches(request.values) ? { ...answer, caches: undefined } : answer;
  return segmentsOf(request.operation.answer, written);
}

/** The bytes of caches that are stored, or none. */
export function storedSegments(request: Request, computed: ReadonlyMap<string, Tensor>): Segment[] {
  if (!storesCaches(request.values)) return [];
  const { caches } = answerOf(request, computed);
  return binarySegments(cachesIn(request.operation.answer), caches as Values, request.dtype);
}

/** All letters of a request: those of its shapes, and those that the operation adds for its scratch. */
function lettersOf({ operation, dims }: Request): Dims {
  return { ...dims, ...operation.letters(dims) };
}

/** Does a member of the answer or the scratch exist for this request? */
function exists({ operation, values }: Request, name: string): boolean {
  return operation.when[name]?.(values) ?? true;
}

/** One name with one shape is one tensor. */
function keyOf({ name, shape }: { name: string; shape: Shape }): string {
  return `${name} ${shape.join(' ')}`;
}

/** The group of the request that an answer repeats, if there is one. (`caches` is an option of a request, too.) */
function repeatedGroup({ operation, values }: Request, name: string): Values | undefined {
  return operation.request.members[name]?.kind === 'group' ? (values[name] as Values | undefined) : undefined;
}

/** The tensor of the request that an answer repeats, if there is one. */
function repeated({ values }: Request, name: string, shape: Shape): Tensor | undefined {
  const value = values[name] as Tensor | undefined;
  return value?.shape?.join() === shape.join() ? value : undefined;
}

/** The tensors that a request needs beside its own, by key. */
function wantedBy(request: Request): ReadonlyMap<string, Wanted> {
  const letters = lettersOf(request);
  const wanted = new Map<string, Wanted>();
  /** @param parent pointer of the group in the answer; undefined: it is not part of the answer */
  const collect = (signature: GroupMember, parent: string | undefined): void => {
    for (const [name, member] of Object.entries(signature.members)) {
      if (!exists(request, name)) continue;
      if (member.kind === 'group' && !repeatedGroup(request, name)) {
        collect(member, parent === undefined ? parent : pointerTo(parent, name));
      }
      if (member.kind !== 'tensor') continue;
      const shape = shapeIn(letters, member);
      if (shape === undefined || repeated(request, name, shape)) continue;
      const key = keyOf({ name, shape });
      if (wanted.get(key)?.role === 'answer') continue;
      wanted.delete(key); // the answer's tensors are in the order of the answer, also one that is scratch as well
      // What the forward pass leaves has a time axis, and not only the time steps of a chunk.
      const isForward = timeAxis(member) >= 0 && shapeIn(request.dims, member) !== undefined;
      const role = parent !== undefined ? 'answer' : isForward ? 'forward' : 'scratch';
      wanted.set(key, { name, pointer: pointerTo(parent ?? '', name), member, shape, role });
    }
  };
  collect(request.operation.scratch, undefined);
  collect(request.operation.answer, '');
  return wanted;
}

/** The values of a group: the request's own where they are repeated, else the tensors made for them. */
function fill(request: Request, signature: GroupMember, tensors: ReadonlyMap<string, Tensor>): Values {
  const letters = lettersOf(request);
  const fillGroup = ({ members }: GroupMember): Values => {
    const values: Record<string, Value | undefined> = {};
    for (const [name, member] of Object.entries(members)) {
      if (!exists(request, name)) continue;
      if (member.kind === 'text') values[name] = request.storage?.[name as keyof Storage];
      if (member.kind === 'group') values[name] = repeatedGroup(request, name) ?? fillGroup(member);
      if (member.kind !== 'tensor') continue;
      const shape = shapeIn(letters, member);
      if (shape) values[name] = repeated(request, name, shape) ?? tensors.get(keyOf({ name, shape }));
    }
    return values;
  };
  return fillGroup(signature);
}

/** The request as the engine works on it: tensors of the batch move to where the kernels work, weights stay. */
function arrange(signature: GroupMember, values: Values, allocate: (length: number) => Numbers): Values {
  const arranged: Record<string, Value | undefined> = {};
  for (const [name, member] of Object.entries(signature.members)) {
    const value = values[name];
    if (value === undefined) continue;
    arranged[name] = value;
    if (member.kind === 'group') arranged[name] = arrange(member, value as Values, allocate);
    if (member.kind !== 'tensor' || !hasBatchAxis(member)) continue;
    const { shape, data } = value as Tensor;
    const tensor = { shape, strides: stridesFor(member, shape), data: allocate(data.length) };
    reverseAxes(tensor.data, data, shape);
    arranged[name] = tensor;
  }
  return arranged;
}
