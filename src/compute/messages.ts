import type { Fault, RefusalCode } from '../tensor/refusal.js';
import type { Dims } from '../tensor/shapes.js';
import type { Values } from '../tensor/signature.js';

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
  /** Where the caches go if the request asks for them to be stored. */
  readonly storage?: Storage | undefined;
  /** In place of the body: a request that has been read before, and the stored caches that it names. */
  readonly resumed?: { readonly named: Named; readonly caches: Uint8Array<ArrayBuffer> } | undefined;
}

/** What the caches of a request are stored as, if it asks for that. */
export interface Storage {
  readonly cache_id: string;
  /** RFC 3339, in UTC. */
  readonly cache_expires_at: string;
  /** Bytes that they may have. */
  readonly limit: number;
  /** Why they cannot be stored now. */
  readonly trouble?: string | undefined;
}

/** A request that names stored caches, read as far as it goes without them. Its tensors lie in memory of their own. */
export interface Named {
  readonly cacheId: string;
  readonly values: Values;
  readonly timings: Timings;
}

/** How long each stage took, in milliseconds; a stage that was not reached is absent. */
export interface Timings {
  queue: number;
  decode?: number;
  compute?: number;
  encode?: number;
  /** Until stored caches were found, or were stored. */
  store?: number;
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
    | {
        readonly ok: true;
        readonly body: readonly Uint8Array<ArrayBuffer>[];
        /** The caches, if they are to be stored. */
        readonly stored?: readonly Uint8Array<ArrayBuffer>[];
      }
    | { readonly ok: false; readonly code: RefusalCode | LackCode; readonly faults: readonly Fault[] }
  );

/** What is missing now, and may be there later: memory, or the store of caches. */
export type LackCode = 'overloaded' | 'cache-unavailable';

/** Bytes that reading takes for each byte of a body, at most: its copy, and a number of eight for two of text. */
export const MOST_READ = 5;

/** Milliseconds since the epoch, with fractions: comparable between threads. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}
