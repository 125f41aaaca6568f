import { type FormatName, type Formats, longestOf, type Slice } from '../formats/format.js';
import type { Build } from '../kernels/kernels.js';
import { groupOf, type Operation } from '../operations/operation.js';
import { Faults } from '../tensor/refusal.js';
import { bindSymbols, checkRanges, isArranged, type Sizes, tensorsIn } from '../tensor/shapes.js';
import { type AnyTensor, hasBatchAxis, isNames, type Values } from '../tensor/signature.js';
import { arrayOf, type Dtype, elements } from '../tensor/tensor.js';
import { listed } from '../tensor/words.js';
import { type Members, membersOf, valuesOf } from './members.js';
import { depositOf, type Request, type Storage } from './request.js';

/** The memory plan of a request. It follows from the sizes, before anything is computed. */
export interface Plan extends Members {
  /** Multiplications and additions of its matrix products. */
  readonly flops: number;
  /** Numbers that the kernels reserve room for. */
  readonly numbers: number;
  /** The most bytes that each output can have. */
  readonly outputBytes: Readonly<Record<Destination, number>>;
  /** Bytes that the request takes altogether, including its own tensors. */
  readonly bytes: number;
  /** Bytes that each further block of the batch needs again: weights, their panels and their gradients. */
  readonly bytesOfBlock: number;
}

/** Where an output goes: to the caller, or into a store. */
export type Destination = 'caller' | 'store';

/** One of the outputs of a request: bytes of one format for one destination. */
export interface Output {
  readonly destination: Destination;
  readonly format: FormatName;
  readonly slices: readonly Slice[];
}

/** Plans the memory of a request. */
export function planOf(build: Build, request: Request, formats: Formats): Plan {
  const { operation, values, sizes, dtype } = request;
  const kernels = build[dtype];
  const members = membersOf(request);
  let numbers = 0; // in the memory of the kernels
  let again = 0; // numbers that do not become fewer with fewer examples
  for (const { member, shape } of members.planned) {
    numbers += kernels.elementsFor(elements(shape));
    if (!hasBatchAxis(member)) again += 2 * kernels.elementsFor(elements(shape));
  }
  let read = 0; // numbers of the request itself
  for (const { member, tensor } of tensorsIn(operation.tensors.request, values)) {
    read += tensor.data.length;
    if (isArranged(member)) numbers += kernels.elementsFor(tensor.data.length);
    else if (!hasBatchAxis(member)) {
      const [rows, columns] = tensor.shape;
      const panels = member.isFactor ? kernels.elementsForFactor(rows, columns) : 0;
      numbers += panels;
      again += panels + tensor.data.length;
    }
  }
  const outputBytes = { caller: 0, store: 0 };
  for (const { destination, format, slices } of outputsOf(
    request,
    members,
    withoutNumbers(request, members),
    formats,
  )) {
    outputBytes[destination] = longestOf(formats[format], slices);
  }
  const { BYTES_PER_ELEMENT: size } = arrayOf[dtype];
  const bytes = (numbers + read) * size + outputBytes.caller + outputBytes.store;
  return { ...members, flops: operation.flops(sizes), numbers, outputBytes, bytes, bytesOfBlock: again * size };
}

/** The planned tensors by key, still without numbers: enough to plan what is written. */
export function withoutNumbers({ dtype }: Request, { planned }: Members): ReadonlyMap<string, AnyTensor> {
  const real = new arrayOf[dtype](0);
  return new Map(
    planned.map(({ key, member, shape }) => {
      return [key, { shape, strides: [], data: member.numbers === 'whole' ? new Int32Array(0) : real }];
    }),
  );
}

/**
 * The outputs of a request: its answer, and the group that is stored if the request asks for that.
 *
 * @param computed by key
 */
export function outputsOf(
  request: Request,
  members: Members,
  computed: ReadonlyMap<string, AnyTensor>,
  formats: Formats,
): readonly Output[] {
  const { operation, values, format, storage } = request;
  const answer = valuesOf(members, 'answer', values, computed);
  const returned = valuesOf(members, 'answer', values, computed, (pointer) => operation.isReturned(pointer, values));
  const toCaller = (written: Values): Output => {
    return { destination: 'caller', format, slices: formats[format].slicesOf(operation.answer, written) };
  };
  const deposit = depositOf(request);
  if (!deposit) return [toCaller(returned)];
  const { group, id, expiresAt } = deposit;
  const slices = formats.safetensors.slicesOf(groupOf(operation.answer, group), answer[group] as Values);
  return [
    toCaller({ ...returned, [group]: undefined, [id]: storage?.id, [expiresAt]: storage?.expiresAt }),
    { destination: 'store', format: 'safetensors', slices },
  ];
}

/** A request whose shapes are right, with its plan. Whether it may take that much is still to be checked. */
export interface Examined {
  readonly request: Request;
  readonly plan: Plan;
  /** Called when the request is served: keeps the plan for other requests of the same shapes. */
  accept(): void;
}

/** Plans of requests that were served. Most callers send the same shapes again and again. */
export class KnownPlans {
  readonly #build: Build;
  readonly #formats: Formats;
  readonly #known = new Map<string, Known>();

  constructor(build: Build, formats: Formats) {
    this.#build = build;
    this.#formats = formats;
  }

  /**
   * Reads the values of the symbols from the shapes of a request, and plans its memory.
   *
   * @throws Refusal shape-mismatch, or what else is wrong with the values
   */
  examine(operation: Operation, values: Values, format: Request['format'], storage?: Storage): Examined {
    const key = `${operation.id} ${format} ${shapesIn(values)}`;
    const known = this.#known.get(key);
    const bound = known?.bound ?? bindSymbols(operation.tensors.request, values);
    checkRanges(operation.tensors.request, values, bound);
    operation.check(values, bound);
    const counted = operation.counted(values, bound);
    const request: Request = {
      operation,
      values: { ...values, ...operation.facts(values, bound) },
      sizes: { ...bound, ...counted },
      dtype: values.dtype as Dtype,
      format,
      storage,
    };
    if (known && sameSizes(known.counted, counted)) return { request, plan: known.plan, accept() {} };
    const plan = planOf(this.#build, request, this.#formats);
    checkReturned(request, plan);
    return {
      request,
      plan,
      accept: () => {
        if (this.#known.size === MOST_KNOWN) this.#known.clear();
        this.#known.set(key, { bound, counted, plan });
      },
    };
  }
}

/** @throws Refusal invalid-request where a request lists a member that its answer does not have */
function checkReturned({ operation, values }: Request, { origins }: Plan): void {
  const wanted = values.return;
  if (!isNames(wanted)) return;
  const paths = operation.tensors.answer.map(({ path }) => path);
  const possible = paths.filter(([group]) => group !== operation.deposit?.group);
  const faults = new Faults();
  for (const [i, name] of wanted.entries()) {
    const isIn = (path: readonly string[]) => `${path.join('/')}/`.startsWith(`${name}/`);
    if (origins.answer.some(({ path }) => isIn(path))) continue;
    const why = possible.some(isIn)
      ? 'which the answer to this request does not have'
      : `but must be one of ${listed([...new Set(possible.flatMap((path) => [path[0], path.join('/')]))])}`;
    faults.add(`/return/${i}`, `/return/${i} is ${JSON.stringify(name.slice(0, 64))}, ${why}`);
  }
  faults.refuse('invalid-request');
}

/** A plan, with the symbols of its request: those that shapes say, and those that numbers say. */
interface Known {
  readonly bound: Sizes;
  readonly counted: Sizes;
  readonly plan: Plan;
}

const MOST_KNOWN = 256;

function sameSizes(one: Sizes, other: Sizes): boolean {
  for (const symbol in { ...one, ...other }) if (one[symbol] !== other[symbol]) return false;
  return true;
}

/** Everything that determines a plan but what numbers say: the members of a request, their shapes and its choices. */
function shapesIn(values: Values): string {
  let text = '';
  for (const name in values) {
    const value = values[name];
    if (typeof value === 'string' || isNames(value)) text += `${name}=${value} `;
    else if (typeof value !== 'object')
      continue; // a number says how to compute, not how much
    else if (Array.isArray(value.shape)) text += `${name}(${value.shape}) `;
    else text += `${name}{${shapesIn(value as Values)}} `;
  }
  return text;
}
