import { type FormatName, type Formats, longestOf, type Slice } from '../formats/format.js';
import type { Build } from '../kernels/kernels.js';
import { groupOf, type Operation } from '../operations/operation.js';
import { bindSymbols, isArranged, tensorsIn } from '../tensor/shapes.js';
import { type AnyTensor, hasBatchAxis, type Values } from '../tensor/signature.js';
import { arrayOf, type Dtype, elements } from '../tensor/tensor.js';
import { type Members, membersOf, valuesOf } from './members.js';
import { depositOf, type Request, type Storage } from './request.js';

/** What a request takes, known from its sizes before anything is computed. */
export interface Plan extends Members {
  /** Multiplications and additions of its matrix products. */
  readonly flops: number;
  /** Numbers that the kernels reserve for it. */
  readonly numbers: number;
  /** The most bytes that each of its outputs can have. */
  readonly outputBytes: Readonly<Record<Destination, number>>;
  /** All that it takes in bytes, with the request as it was read. */
  readonly bytes: number;
  /** What each further block of the batch needs again: the weights, their panels and their gradients, in bytes. */
  readonly bytesOfBlock: number;
}

/** Where something that is written goes. */
export type Destination = 'caller' | 'store';

/** One of the things that a request gives. */
export interface Output {
  readonly destination: Destination;
  readonly format: FormatName;
  readonly slices: readonly Slice[];
}

export function planOf(build: Build, request: Request, formats: Formats): Plan {
  const { operation, values, sizes, dtype } = request;
  const kernels = build[dtype];
  const members = membersOf(request);
  let numbers = 0; // what is computed with
  let again = 0; // and of that, what does not become less with fewer examples
  for (const { member, shape } of members.planned) {
    numbers += kernels.elementsFor(elements(shape));
    if (!hasBatchAxis(member)) again += 2 * kernels.elementsFor(elements(shape));
  }
  let read = 0; // the request as it was read
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

/** The tensors that a request needs by key, still without numbers. */
export function withoutNumbers({ dtype }: Request, { planned }: Members): ReadonlyMap<string, AnyTensor> {
  const real = new arrayOf[dtype](0);
  return new Map(
    planned.map(({ key, member, shape }) => {
      return [key, { shape, strides: [], data: member.numbers === 'whole' ? new Int32Array(0) : real }];
    }),
  );
}

/** The answer, and what of it is stored instead. @param computed by key */
export function outputsOf(
  request: Request,
  members: Members,
  computed: ReadonlyMap<string, AnyTensor>,
  formats: Formats,
): readonly Output[] {
  const { operation, values, format, storage } = request;
  const answer = valuesOf(members, 'answer', values, computed);
  const toCaller = (written: Values): Output => {
    return { destination: 'caller', format, slices: formats[format].slicesOf(operation.answer, written) };
  };
  const deposit = depositOf(request);
  if (!deposit) return [toCaller(answer)];
  const { group, id, expiresAt } = deposit;
  const slices = formats.safetensors.slicesOf(groupOf(operation.answer, group), answer[group] as Values);
  return [
    toCaller({ ...answer, [group]: undefined, [id]: storage?.id, [expiresAt]: storage?.expiresAt }),
    { destination: 'store', format: 'safetensors', slices },
  ];
}

/** A request that can be computed, where it may take what it needs. */
export interface Examined {
  readonly request: Request;
  readonly plan: Plan;
  /** The request is served: what was found out is kept for others with the same shapes. */
  accept(): void;
}

/** Plans of requests that were served: most callers send the same shapes again and again. */
export class KnownPlans {
  readonly #build: Build;
  readonly #formats: Formats;
  readonly #known = new Map<string, Pick<Request, 'sizes'> & { readonly plan: Plan }>();

  constructor(build: Build, formats: Formats) {
    this.#build = build;
    this.#formats = formats;
  }

  /**
   * Reads the symbols off the shapes of a request, and says what it needs.
   *
   * @throws Refusal shape-mismatch
   */
  examine(operation: Operation, values: Values, format: Request['format'], storage?: Storage): Examined {
    const dtype = values.dtype as Dtype;
    const key = `${operation.id} ${format} ${shapesIn(values)}`;
    const known = this.#known.get(key);
    if (known) {
      const { sizes, plan } = known;
      return { request: { operation, values, sizes, dtype, format, storage }, plan, accept() {} };
    }
    const sizes = bindSymbols(operation.tensors.request, values);
    const request = { operation, values, sizes, dtype, format, storage };
    const plan = planOf(this.#build, request, this.#formats);
    return {
      request,
      plan,
      accept: () => {
        if (this.#known.size === MOST_KNOWN) this.#known.clear();
        this.#known.set(key, { sizes, plan });
      },
    };
  }
}

const MOST_KNOWN = 256;

/** All that the plan of a request follows from: its members, their shapes and its choices. */
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
