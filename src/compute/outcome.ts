import type { Fault, RefusalCode } from '../tensor/refusal.js';
import type { Dims } from '../tensor/shapes.js';

/** What travels to a worker. The body's memory is moved, not copied. */
export interface Task {
  readonly operation: string;
  readonly body: Uint8Array<ArrayBuffer>;
  /** Of the request in the ledger. */
  readonly slot: number;
  /** Bytes that the tensors of the request may take, and multiplications and additions that it may ask for. */
  readonly workLimit: number;
  readonly flopsLimit: number;
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
  /** Multiplications and additions that it takes, once they are known. */
  readonly flops?: number | undefined;
  /** Of all weights that this worker was sent so far, the share that it had read before. */
  readonly weightsKnown?: number | undefined;
}

/**
 * What comes back. A refusal is data, not an exception: errors lose their class and fields between threads.
 */
export type Outcome = Report &
  (
    | { readonly ok: true; readonly body: readonly Uint8Array<ArrayBuffer>[] }
    | { readonly ok: false; readonly code: RefusalCode | 'overloaded'; readonly faults: readonly Fault[] }
  );

/** Bytes that reading takes for each byte of a body, at most: its copy, and a number of eight for two of text. */
export const MOST_READ = 5;

/** Milliseconds since the epoch, with fractions: comparable between threads. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}
