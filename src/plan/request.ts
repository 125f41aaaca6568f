import type { BodyFormatName } from '../formats/format.js';
import type { Deposit, Operation } from '../operations/operation.js';
import type { Sizes } from '../tensor/shapes.js';
import type { Values } from '../tensor/signature.js';
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

/** The group of its answer that a request wants to be stored, if it does. */
export function depositOf({
  operation: { deposit },
  values,
}: Pick<Request, 'operation' | 'values'>): Deposit | undefined {
  return deposit?.isAsked(values) ? deposit : undefined;
}
