import type { Kernels } from '../kernels/kernels.js';
import type { Sizes } from '../tensor/shapes.js';
import {
  type FlatTensor,
  flatten,
  type GroupMember,
  group,
  hasBatchAxis,
  type Members,
  type Values,
  type ValuesOf,
} from '../tensor/signature.js';

/**
 * One thing that can be asked for. This is all there is to say about it: the route, the OpenAPI document, reading,
 * checking, planning of memory and writing follow from it.
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
  /** What the forward pass leaves where a request for its gradients does not bring it. It is checked before the answer. */
  readonly forward: GroupMember;
  /** Tensors to work in. */
  readonly scratch: GroupMember;
  /** The tensors of all these. */
  readonly tensors: Readonly<Record<Part, readonly FlatTensor[]>>;
  /** The symbol that counts the examples of its tensors, if they have any. */
  readonly batch: string | undefined;
  /** Symbols beside those of the request that shapes of the scratch are written with. */
  symbols(sizes: Sizes): Sizes;
  /** Symbols that are read off the numbers of a request, and not off its shapes. */
  counted(request: Values, sizes: Sizes): Sizes;
  /** What each block of the batch must know of the whole request, as options beside its own. */
  facts(request: Values, sizes: Sizes): Values;
  /** Is the tensor of this pointer part of the answer that the caller gets? It may be computed all the same. */
  isReturned(pointer: string, request: Values): boolean;
  /** Does a request have the tensor of this pointer in its answer, its forward pass or its scratch? */
  exists(part: Part, pointer: string, request: Values): boolean;
  /**
   * Checks what shapes do not say.
   *
   * @throws Refusal invalid-request, invalid-tensor
   */
  check(request: Values, sizes: Sizes): void;
  /** A group of the request that may come from a store. */
  readonly attachment: Attachment | undefined;
  /** A group of the answer that may go to a store. */
  readonly deposit: Deposit | undefined;
  /** Multiplications and additions of its matrix products, from the sizes of a request. */
  flops(sizes: Sizes): number;
  /** In which direction the operation walks through time: what went wrong first is looked for that way. */
  readonly time: 'forward' | 'backward';
  /**
   * Fills the answer. Its tensors, and those of the forward pass and the scratch, are zero when it is called, unless they
   * are the request's.
   */
  run(kernels: Kernels, request: Values, answer: Values, scratch: Values, forward: Values | undefined): void;
  /** Runs once, when the sums of an answer are complete: the blocks of a batch have been added up. Changes them in place. */
  finish: ((sums: Values, options: Values, sizes: Sizes) => void) | undefined;
}

export type Part = 'request' | 'answer' | 'forward' | 'scratch';

export interface Tag {
  readonly name: string;
  readonly description: string;
}

/** A text member of a request that names what a store holds; with it, the group `as` is there. */
export interface Attachment {
  readonly name: string;
  readonly as: string;
}

/** A group of an answer that goes to a store where that is asked for; the answer says its name there, and when it goes. */
export interface Deposit {
  readonly group: string;
  isAsked(request: Values): boolean;
  readonly id: string;
  readonly expiresAt: string;
}

/** An operation whose engine call is typed by its own signature. */
export interface OperationEntry<I extends Members, O extends Members, F extends Members, S extends Members>
  extends Pick<Operation, 'id' | 'path' | 'tag' | 'summary' | 'description' | 'flops' | 'time'> {
  readonly request: GroupMember<I>;
  readonly answer: GroupMember<O>;
  readonly forward?: F;
  readonly scratch?: S;
  symbols?(sizes: Sizes): Sizes;
  counted?(request: ValuesOf<I>, sizes: Sizes): Sizes;
  facts?(request: ValuesOf<I>, sizes: Sizes): Values;
  isReturned?(pointer: string, request: ValuesOf<I>): boolean;
  /** Members that exist for some requests only, by pointer, and the forward pass, which exists whole or not at all. */
  readonly when?: {
    readonly answer?: Conditions<O, ValuesOf<I>>;
    readonly forward?: (request: ValuesOf<I>) => boolean;
    readonly scratch?: Conditions<S, ValuesOf<I>>;
  };
  check?(request: ValuesOf<I>, sizes: Sizes): void;
  readonly attachment?: Attachment & { readonly name: keyof I; readonly as: keyof I };
  readonly deposit?: Deposit & { readonly group: keyof O; readonly id: keyof O; readonly expiresAt: keyof O };
  run(
    kernels: Kernels,
    request: ValuesOf<I>,
    answer: ValuesOf<O>,
    scratch: ValuesOf<S>,
    forward: ValuesOf<F> | undefined,
  ): void;
  finish?(sums: ValuesOf<O>, options: OptionsOf<I>, sizes: Sizes): void;
}

type Conditions<M extends Members, Request> = {
  readonly [pointer in `/${keyof M & string}` | `/${keyof M & string}/${string}`]?: (request: Request) => boolean;
};

/** The values of a request that are no tensors. */
type OptionsOf<I extends Members> = {
  readonly [N in keyof I as I[N]['kind'] extends 'tensor' | 'group' ? never : N]: ValuesOf<I>[N];
};

/**
 * Forgets the static types of an entry, so that all operations are of one type. What is read by a signature has
 * the type that the signature describes: that is the contract of formats/ and plan/workspace.ts.
 */
export function operation<
  I extends Members,
  O extends Members,
  F extends Members = Members,
  S extends Members = Members,
>(entry: OperationEntry<I, O, F, S>): Operation {
  const { id, request, answer, when = {} } = entry;
  const forward = group(`${id}Forward`, 'what the forward pass leaves', entry.forward ?? {});
  const scratch = group(`${id}Scratch`, 'tensors to work in', entry.scratch ?? {});
  const conditions: Readonly<Record<Part, readonly (readonly [string, Condition])[]>> = {
    request: [],
    answer: entriesOf(when.answer),
    scratch: entriesOf(when.scratch),
    forward: when.forward ? [['', when.forward as Condition]] : [],
  };
  const tensors = {
    request: flatten(request),
    answer: flatten(answer),
    forward: flatten(forward),
    scratch: flatten(scratch),
  };
  for (const { pointer, member, source } of tensors.answer) {
    if (!source && !member.isSum && !hasBatchAxis(member)) {
      throw new Error(`${id}: ${pointer} has no axis of examples, and is not declared as a sum over them`);
    }
  }
  const { attachment, deposit } = entry;
  if (attachment) groupOf(request, attachment.as);
  if (deposit) groupOf(answer, deposit.group);
  const ofBatch = tensors.request.flatMap(({ member }) => member.axes).find(({ role }) => role === 'batch');
  return {
    ...entry,
    forward,
    scratch,
    tensors,
    batch: ofBatch?.text,
    symbols: entry.symbols ?? (() => ({})),
    counted: (entry.counted ?? (() => ({}))) as unknown as Operation['counted'],
    facts: (entry.facts ?? (() => ({}))) as unknown as Operation['facts'],
    isReturned: (entry.isReturned ?? (() => true)) as unknown as Operation['isReturned'],
    exists: (part, pointer, request) => {
      return conditions[part].every(([around, holds]) => !isWithin(pointer, around) || holds(request));
    },
    check: (entry.check ?? (() => {})) as unknown as Operation['check'],
    attachment,
    deposit,
    run: entry.run as unknown as Operation['run'],
    finish: entry.finish as unknown as Operation['finish'],
  };
}

/** @throws Error where there is no group of this name: a mistake in the table */
export function groupOf({ name, members }: GroupMember, member: string): GroupMember {
  const group = members[member];
  if (group?.kind !== 'group') throw new Error(`${member} is no group of ${name}`);
  return group;
}

type Condition = (request: Values) => boolean;

function entriesOf(conditions: object = {}): [string, Condition][] {
  return Object.entries(conditions);
}

/** Is this the pointer of a member, or of something inside it? */
function isWithin(pointer: string, member: string): boolean {
  return pointer === member || pointer.startsWith(`${member}/`);
}
