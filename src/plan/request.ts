import type { BodyFormatName } from '../formats/format.js';
import type { Operation } from '../operations/operation.js';
import type { Sizes } from '../tensor/shapes.js';
import type { GroupMember, Values } from '../tensor/signature.js';
import type { Dtype } from '../tensor/tensor.js';

/** A request as it was read, and what its symbols stand for. */
export interface Request {
  readonly operation: Operation;
  /** Tensors are row-major. */
  readonly values: Values;
  readonly sizes: Sizes;
  readonly dtype: Dtype;
  /** That its answer is written in. */
  readonly format: BodyFormatName;
  /** Where its deposit goes, if it asks for one. */
  readonly storage?: Storage | undefined;
}

/** A place in a store, as an answer tells it. */
export interface Storage {
  readonly id: string;
  /** RFC 3339, in UTC. */
  readonly expiresAt: string;
  /** Bytes that may go there. */
  readonly limit: number;
  /** Why nothing can go there now. */
  readonly trouble?: string | undefined;
}

/** Does a request ask for a part of its answer to be stored? */
export function isDepositing({ operation: { deposit }, values }: Pick<Request, 'operation' | 'values'>): boolean {
  return deposit?.isAsked(values) ?? false;
}

/** The group of an answer that is stored where that is asked for, and its name. */
export function depositOf({ answer, deposit }: Operation): { readonly name: string; readonly group: GroupMember } {
  const member = deposit && answer.members[deposit.group];
  if (member?.kind !== 'group') throw new Error('there is no group to store');
  return { name: deposit?.group ?? '', group: member };
}
