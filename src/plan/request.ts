import type { BodyFormatName } from '../formats/format.js';
import type { Operation } from '../operations/operation.js';
import type { Sizes } from '../tensor/shapes.js';
import type { GroupMember, Values } from '../tensor/signature.js';
import type { Dtype } from '../tensor/tensor.js';

/** A request that has been read, with the values of its symbols. */
export interface Request {
  readonly operation: Operation;
  /** Tensors are row-major. */
  readonly values: Values;
  readonly sizes: Sizes;
  readonly dtype: Dtype;
  /** The format of its answer. */
  readonly format: BodyFormatName;
  /** Where its deposit goes, if it asks for one. */
  readonly storage?: Storage | undefined;
}

/** A place in a store. The answer names its id and when it expires. */
export interface Storage {
  readonly id: string;
  /** RFC 3339, in UTC. */
  readonly expiresAt: string;
  /** The most bytes that can be stored there. */
  readonly limit: number;
  /** Why nothing can be stored there now. */
  readonly trouble?: string | undefined;
}

/** Does a request ask for a part of its answer to be stored? */
export function isDepositing({ operation: { deposit }, values }: Pick<Request, 'operation' | 'values'>): boolean {
  return deposit?.isAsked(values) ?? false;
}

/**
 * The group of an answer that can be stored, and its name.
 *
 * @throws Error if the operation has none
 */
export function depositOf({ answer, deposit }: Operation): { readonly name: string; readonly group: GroupMember } {
  const member = deposit && answer.members[deposit.group];
  if (member?.kind !== 'group') throw new Error('there is no group to store');
  return { name: deposit?.group ?? '', group: member };
}
