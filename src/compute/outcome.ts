import type { Fault, RefusalCode } from '../tensor/refusal.js';
import type { Dims } from '../tensor/shapes.js';

/** What travels to a worker. The body's memory is moved, not copied. */
export interface Task {
  readonly operation: string;
  readonly body: Uint8Array<ArrayBuffer>;
  /** Bytes that the tensors of the request may take. */
  readonly workLimit: number;
  /** When the task was handed to the pool: milliseconds since the epoch, with fractions. */
  readonly handedOver: number;
}

/** How long each stage took, in milliseconds; a stage that was not reached is absent. */
export interface Timings {
  queue: number;
  decode?: number;
  compute?: number;
  encode?: number;
}

/** What is known of a request beside its answer. */
export interface Report {
  readonly timings: Timings;
  /** The letters of the request, as far as they were read. */
  readonly dims: Dims;
  /** Of all weights that this worker was sent so far, the share that it had read before. */
  readonly weightsKnown?: number | undefined;
}

/**
 * What comes back. A refusal is data, not an exception: errors lose their class and fields between threads.
 */
export type Outcome = Report &
  (
    | { readonly ok: true; readonly body: readonly Uint8Array<ArrayBuffer>[] }
    | { readonly ok: false; readonly code: RefusalCode; readonly faults: readonly Fault[] }
  );

/** Milliseconds since the epoch, with fractions: comparable between threads. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}
