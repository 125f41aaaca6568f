import type { Kernels } from '../kernels/kernels.js';
import type { Operation } from '../operations/operation.js';
import { longestJson } from '../tensor/json-writer.js';
import { Refusal } from '../tensor/refusal.js';
import { type Dims, shapeIn, stridesFor, tensorsIn } from '../tensor/shapes.js';
import {
  type GroupMember,
  hasBatchAxis,
  pointerTo,
  type TensorMember,
  timeAxis,
  type Value,
  type Values,
} from '../tensor/signature.js';
import { elements, reverseAxes, type Shape, type Tensor } from '../tensor/tensor.js';

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
  /** Is it sent to the caller? Else it is what the forward pass leaves to the backward pass, or room to work in. */
  readonly role: 'answer' | 'forward' | 'scratch';
}

export interface Computed extends Wanted {
  readonly tensor: Tensor;
}

const BYTES = Float64Array.BYTES_PER_ELEMENT;
const NOTHING = new Float64Array(0);

/**
 * Plans the memory of a request from its letters, refuses what is over the limit, and only then reserves it: one
 * piece of the kernels' memory, which holds the request's tensors too.
 *
 * @param request as it was read, row-major; it is copied to where the kernels work
 * @param limit bytes that one request may take: its tensors, what is computed from them, and the answer's text
 * @throws Refusal work-too-large
 */
export function reserve(
  kernels: Kernels,
  operation: Operation,
  request: Values,
  dimsOfRequest: Dims,
  limit: number,
): Workspace {
  const dims = { ...dimsOfRequest, ...operation.letters(dimsOfRequest) };
  const plan = { operation, request, dimsOfRequest, dims };
  const wanted = new Map<string, Wanted>();
  collect(plan, operation.scratch, undefined, wanted);
  collect(plan, operation.answer, '', wanted);

  let numbers = 0; // what is computed with
  for (const { shape } of wanted.values()) numbers += kernels.elementsFor(elements(shape));
  let read = 0; // the request as it was read
  for (const { member, tensor } of tensorsIn(operation.request, request)) {
    read += tensor.data.length;
    numbers += kernels.elementsFor(tensor.data.length);
    if (isFactor(member)) numbers += kernels.elementsForFactor(tensor.shape[0], tensor.shape[1]);
  }
  const planned = new Map([...wanted].map(([key, { shape }]) => [key, { shape, strides: [], data: NOTHING }]));
  const text = longestJson(operation.answer, fill(plan, operation.answer, planned));
  const bytes = (numbers + read) * BYTES + text;
  if (bytes > limit) {
    const detail = `the tensors of this request, what is computed from them and the text of the answer can take ${bytes} bytes, but the limit is ${limit} bytes`;
    throw new Refusal('work-too-large', [{ pointer: '', detail }]);
  }

  const allocate = kernels.reserve(numbers);
  const tensors = new Map<string, Tensor>();
  for (const [key, { member, shape }] of wanted) {
    tensors.set(key, { shape, strides: stridesFor(member, shape), data: allocate(elements(shape)) });
  }
  const arranged = arrange(operation.request, request, allocate);
  const arrangedPlan = { ...plan, request: arranged };
  return {
    request: arranged,
    answer: fill(arrangedPlan, operation.answer, tensors),
    scratch: fill(arrangedPlan, operation.scratch, tensors),
    computed: [...wanted].map(([key, one]) => ({ ...one, tensor: tensors.get(key) as Tensor })),
  };
}

/** Is the tensor a matrix that activations are multiplied with? */
function isFactor(member: TensorMember): boolean {
  return member.dims.length === 2 && !hasBatchAxis(member);
}

/** What the memory of a request depends on. */
interface Plan {
  readonly operation: Operation;
  readonly request: Values;
  readonly dimsOfRequest: Dims;
  /** Those, and the letters that the operation adds for its scratch. */
  readonly dims: Dims;
}

/** Does a member of the answer or the scratch exist for this request? */
function exists({ operation, request }: Plan, name: string): boolean {
  return operation.when[name]?.(request) ?? true;
}

/** One name with one shape is one tensor. */
function keyOf(name: string, shape: Shape): string {
  return `${name} ${shape.join(' ')}`;
}

/** The group of the request that an answer repeats, if there is one. (`caches` is an option of a request, too.) */
function repeatedGroup({ operation, request }: Plan, name: string): Values | undefined {
  return operation.request.members[name]?.kind === 'group' ? (request[name] as Values | undefined) : undefined;
}

/** The tensor of the request that an answer repeats, if there is one. */
function repeated({ request }: Plan, name: string, shape: Shape): Tensor | undefined {
  const value = request[name] as Tensor | undefined;
  return value?.shape !== undefined && keyOf(name, value.shape) === keyOf(name, shape) ? value : undefined;
}

/**
 * Adds the tensors of a group that are not the request's to `wanted`.
 *
 * @param parent pointer of the group in the answer; undefined: it is not part of the answer
 */
function collect(plan: Plan, signature: GroupMember, parent: string | undefined, wanted: Map<string, Wanted>): void {
  for (const [name, member] of Object.entries(signature.members)) {
    if (!exists(plan, name)) continue;
    if (member.kind === 'group' && !repeatedGroup(plan, name)) {
      collect(plan, member, parent === undefined ? parent : pointerTo(parent, name), wanted);
    }
    if (member.kind !== 'tensor') continue;
    const shape = shapeIn(plan.dims, member);
    if (shape === undefined || repeated(plan, name, shape)) continue;
    const key = keyOf(name, shape);
    if (wanted.get(key)?.role === 'answer') continue;
    // What the forward pass leaves has a time axis, and not only the time steps of a chunk.
    const isForward = timeAxis(member) >= 0 && shapeIn(plan.dimsOfRequest, member) !== undefined;
    const role = parent !== undefined ? 'answer' : isForward ? 'forward' : 'scratch';
    wanted.set(key, { name, pointer: pointerTo(parent ?? '', name), member, shape, role });
  }
}

/** The values of a group: the request's own where they are repeated, else the tensors made for them. */
function fill(plan: Plan, signature: GroupMember, tensors: ReadonlyMap<string, Tensor>): Values {
  const values: Record<string, Value | undefined> = {};
  for (const [name, member] of Object.entries(signature.members)) {
    if (!exists(plan, name)) continue;
    if (member.kind === 'group') values[name] = repeatedGroup(plan, name) ?? fill(plan, member, tensors);
    if (member.kind !== 'tensor') continue;
    const shape = shapeIn(plan.dims, member);
    if (shape) values[name] = repeated(plan, name, shape) ?? tensors.get(keyOf(name, shape));
  }
  return values;
}

/** The request with every tensor where the kernels work, laid out as the engine works on it. */
function arrange(signature: GroupMember, values: Values, allocate: (length: number) => Float64Array): Values {
  const arranged: Record<string, Value | undefined> = {};
  for (const [name, member] of Object.entries(signature.members)) {
    const value = values[name];
    if (value === undefined) continue;
    if (member.kind === 'group') arranged[name] = arrange(member, value as Values, allocate);
    else if (member.kind === 'tensor') {
      const { shape, data } = value as Tensor;
      const tensor = { shape, strides: stridesFor(member, shape), data: allocate(data.length) };
      if (hasBatchAxis(member)) reverseAxes(tensor.data, data, shape);
      else tensor.data.set(data);
      arranged[name] = tensor;
    } else arranged[name] = value;
  }
  return arranged;
}
