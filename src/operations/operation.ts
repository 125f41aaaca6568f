import type { Kernels } from '../kernels/kernels.js';
import type { Dims } from '../tensor/shapes.js';
import { type GroupMember, group, type Members, type Values, type ValuesOf } from '../tensor/signature.js';

/**
 * One thing that can be asked for. This is all there is to say about it: the route, the OpenAPI document, reading,
 * checking, planning of memory and writing follow from it.
 *
 * Within an operation one name is one tensor: an answer's member that is called like a member of the request is
 * that member (`parameters` in a cache), and a tensor that occurs twice in an answer is computed once.
 */
export interface Operation {
  /** operationId of the OpenAPI document. It never changes. */
  readonly id: string;
  readonly path: string;
  /** The kind of network, under which the OpenAPI document lists it. */
  readonly tag: Tag;
  readonly summary: string;
  readonly description: string;
  readonly request: GroupMember;
  readonly answer: GroupMember;
  /** Tensors to work in, beside the answer's. */
  readonly scratch: GroupMember;
  /** Letters beside those of the request that shapes of the scratch are written with. */
  letters(dims: Dims): Dims;
  /** Members of the answer and the scratch that exist for some requests only. */
  readonly when: Readonly<Record<string, (request: Values) => boolean>>;
  /** Multiplications and additions of its matrix products, from the letters of a request. */
  flops(dims: Dims): number;
  /** In which direction the operation walks through time: what went wrong first is looked for that way. */
  readonly time: 'forward' | 'backward';
  /** Fills the answer. The tensors of answer and scratch are zero when it is called, if they are not the request's. */
  run(kernels: Kernels, request: Values, answer: Values, scratch: Values): void;
}

export interface Tag {
  readonly name: string;
  readonly description: string;
}

/** An operation whose engine call is typed by its own signature. */
export interface OperationEntry<I extends Members, O extends Members, S extends Members>
  extends Omit<Operation, 'request' | 'answer' | 'scratch' | 'letters' | 'when' | 'run'> {
  readonly request: GroupMember<I>;
  readonly answer: GroupMember<O>;
  readonly scratch?: S;
  letters?(dims: Dims): Dims;
  readonly when?: Readonly<Record<string, (request: ValuesOf<I>) => boolean>>;
  run(kernels: Kernels, request: ValuesOf<I>, answer: ValuesOf<O>, scratch: ValuesOf<S>): void;
}

/**
 * Forgets the static types of an entry, so that all operations are of one type. What is read by a signature has
 * the type that the signature describes: that is the contract of tensor/json-reader.ts and compute/workspace.ts.
 */
export function operation<I extends Members, O extends Members, S extends Members = Members>(
  entry: OperationEntry<I, O, S>,
): Operation {
  return {
    ...entry,
    scratch: group(`${entry.id}Scratch`, 'tensors to work in', entry.scratch ?? {}),
    letters: entry.letters ?? (() => ({})),
    when: (entry.when ?? {}) as Operation['when'],
    run: entry.run as unknown as Operation['run'],
  };
}
