import type { BodyFormatName } from '../formats/format.js';
import type { Deposit, Operation } from '../operations/operation.js';
import type { Sizes } from '../tensor/shapes.js';
import type { Values } from '../tensor/signature.js';
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

/** The group of the answer that a request asks to be stored; undefined: none. */
export function depositOf({
  operation: { deposit },
  values,
}: Pick<Request, 'operation' | 'values'>): Deposit | undefined {
  return deposit?.isAsked(values) ? deposit : undefined;
}
