import type { Part } from '../operations/operation.js';
import { isArranged, type Sizes, shapeIn, stridesFor, tensorsIn } from '../tensor/shapes.js';
import { type AnyTensor, type FlatTensor, tensorAt, type Values, withTensors } from '../tensor/signature.js';
import type { Shape } from '../tensor/tensor.js';
import type { Request } from './request.js';

/**
 * Which tensors one request needs beside its own, and which tensors its answer is made of.
 */

/** A part of a request that is filled by computing: the answer, the results of the forward pass, and scratch tensors. */
export type FilledPart = Exclude<Part, 'request'>;

/** A tensor that will be computed, and for which a request needs room. */
export interface PlannedTensor extends FlatTensor {
  readonly part: FilledPart;
  readonly shape: Shape;
  readonly strides: readonly number[];
  /** Unique among all tensors of a request: the part and the pointer. */
  readonly key: string;
}

/** A tensor that has been computed. */
export interface Computed {
  readonly planned: PlannedTensor;
  readonly tensor: AnyTensor;
}

/** A tensor of a request, in the order in which the engine walks through it. */
export interface ArrangedTensor extends FlatTensor {
  readonly shape: Shape;
  readonly strides: readonly number[];
}

/** Where a tensor of a filled part comes from: it is computed, or it is a tensor of the request. */
interface Origin {
  readonly pointer: string;
  readonly path: readonly string[];
  readonly from: { readonly key: string } | { readonly request: FlatTensor };
}

/** The tensors that one request needs, and the origin of each tensor of its parts. */
export interface Members {
  /** In the order in which they are checked for non-finite numbers. */
  readonly planned: readonly PlannedTensor[];
  /** Tensors of the request that the engine needs in another order than they were written in. */
  readonly arranged: readonly ArrangedTensor[];
  readonly origins: Readonly<Record<FilledPart, readonly Origin[]>>;
}

/** Plans the members of a request from its symbols, its options and the members it gives. */
export function membersOf(request: Request): Members {
  const { operation, values, sizes } = request;
  const all: Sizes = { ...sizes, ...operation.symbols(sizes) };
  const planned: PlannedTensor[] = [];
  const originsOf = (part: FilledPart): Origin[] => {
    return operation.tensors[part].flatMap((one): Origin[] => {
      const { path, pointer, member, source } = one;
      if (!operation.exists(part, pointer, values)) return [];
      if (source?.of === 'answer') return [{ pointer, path, from: { key: keyOf('answer', source.pointer) } }];
      const repeated = operation.tensors.request.find((other) => other.pointer === source?.pointer);
      if (repeated && tensorAt(values, repeated)) return [{ pointer, path, from: { request: repeated } }];
      const shape = shapeIn(all, member);
      if (shape === undefined) return [];
      const key = keyOf(part, pointer);
      planned.push({ ...one, part, shape, strides: stridesFor(member, shape), key });
      return [{ pointer, path, from: { key } }];
    });
  };
  const origins = { scratch: originsOf('scratch'), forward: originsOf('forward'), answer: originsOf('answer') };
  const arranged = [...tensorsIn(operation.tensors.request, values)].flatMap(({ tensor: { shape }, ...one }) => {
    return isArranged(one.member) ? [{ ...one, shape, strides: stridesFor(one.member, shape) }] : [];
  });
  return { planned, arranged, origins };
}

function keyOf(part: FilledPart, pointer: string): string {
  return `${part} ${pointer}`;
}

/**
 * The values of one part: tensors that repeat the request, and tensors that were computed.
 *
 * @param computed by key
 * @param isTaken  tensors of other pointers are left out
 * @throws Error if a tensor is in neither
 */
export function valuesOf(
  { origins }: Members,
  part: FilledPart,
  request: Values,
  computed: ReadonlyMap<string, AnyTensor>,
  isTaken: (pointer: string) => boolean = () => true,
): Values {
  const taken = origins[part].filter(({ pointer }) => isTaken(pointer));
  const tensors = taken.map(({ path, from }): [readonly string[], AnyTensor] => {
    const tensor = 'key' in from ? computed.get(from.key) : tensorAt(request, from.request);
    if (!tensor) throw new Error(`no tensor was computed for /${path.join('/')}`);
    return [path, tensor];
  });
  return withTensors({}, tensors);
}
