import type { BodyFormatName } from '../formats/format.js';
import type { Tier } from '../kernels/kernels.js';
import type { Operation } from '../operations/operation.js';
import type { NonFinite } from '../plan/non-finite.js';
import type { Piece, PieceTask, PlannedSlice, SliceToJoin } from '../plan/pieces.js';
import type { Destination } from '../plan/plan.js';
import type { Request, Storage } from '../plan/request.js';
import type { Fault, RefusalCode } from '../tensor/refusal.js';
import type { Sizes } from '../tensor/shapes.js';
import type { Values } from '../tensor/signature.js';
import type { Tensor } from '../tensor/tensor.js';

/** Everything that passes between the main thread and a worker. */

/** The data that a worker is started with. */
export interface WorkerData {
  /** The build of the kernels. All workers use the same one, also those that replace a dead worker. */
  readonly tier: Tier;
  /** Bytes of weights that the worker keeps. */
  readonly weightsLimit: number;
  readonly ledger: SharedArrayBuffer;
}

/** What a worker is told to do: some requests that travel together, or one task of a split request. */
export type ToWorker =
  | { readonly name: 'requests'; readonly task: readonly Task[] }
  | { readonly name: 'block'; readonly task: OfRequest<BlockTask> }
  | { readonly name: 'finish'; readonly task: OfRequest<FinishTask> }
  | { readonly name: 'piece'; readonly task: OfRequest<PieceTask> };

/** A task for the request that has this slot in the ledger. */
export type OfRequest<T> = T & { readonly slot: number };

/**
 * What a worker sends: that it is ready, or the outcome of a message. `failure` is the stack of an exception, and
 * `outOfMemory` is what the caller is told when the system had no memory.
 */
export type FromWorker =
  | 'ready'
  | { readonly result: unknown }
  | { readonly failure: string }
  | { readonly outOfMemory: string };

/** The reply to one of several requests that traveled together. An exception fails only its own request. */
export type Reply = Outcome | SplitRequest | AwaitingAttachment | { readonly failure: string };

/** A request for a worker. The memory of its body is moved, not copied. */
export interface Task {
  readonly operation: string;
  readonly body: Uint8Array<ArrayBuffer>;
  /** The format of the body and of the answer. */
  readonly format: BodyFormatName;
  /** The slot of the request in the ledger. */
  readonly slot: number;
  /** Bytes that the tensors of the request may take. */
  readonly workLimit: number;
  /** Multiplications and additions that the request may ask for. */
  readonly flopsLimit: number;
  /** When the task was handed to the pool: milliseconds since the epoch, with fractions. */
  readonly handedOver: number;
  /** Where the deposit goes, if the request asks for one. */
  readonly storage?: Storage | undefined;
  /** Replaces the body: a request that has been read before, with the bytes that a store holds under the id it names. */
  readonly resumed?: { readonly request: AwaitingAttachment; readonly attachment: Uint8Array<ArrayBuffer> } | undefined;
}

/** A request that names an attachment, read except for that attachment. Its tensors lie in memory of their own. */
export interface AwaitingAttachment {
  readonly attachmentId: string;
  readonly values: Values;
  readonly timings: Timings;
}

/** How long each stage took, in milliseconds. A stage that was not reached is absent. */
export interface Timings {
  queue: number;
  decode?: number;
  compute?: number;
  encode?: number;
  /** Time until an attachment was found, or a deposit was stored. */
  store?: number;
}

/** What is known about a request apart from its answer. */
export interface Report {
  readonly timings: Timings;
  /** The values of the symbols of the request; empty if it was refused before they were known. */
  readonly sizes: Sizes;
  /** Multiplications and additions that the request takes; undefined if it was refused before they were known. */
  readonly flops?: number | undefined;
  /** The share of all groups of weights sent to this worker so far that it had read before. */
  readonly weightsKnown?: number | undefined;
}

/** The outcome of a request. A refusal is data, not an exception: errors lose their class and fields between threads. */
export type Outcome = Report &
  (
    | ({ readonly ok: true } & Written)
    | { readonly ok: false; readonly code: RefusalCode | UnavailableCode; readonly faults: readonly Fault[] }
  );

/** The bytes for each destination, in pieces that follow each other. */
export interface Written {
  readonly body: readonly Uint8Array<ArrayBuffer>[];
  readonly deposit?: readonly Uint8Array<ArrayBuffer>[];
}

/** Something is unavailable now, and may be there later: memory, or the store of caches. */
export type UnavailableCode = 'overloaded' | 'cache-unavailable';

/** A large request that has been read and checked. Any worker can compute its blocks, and then write its pieces. */
export interface SplitRequest extends Report {
  readonly blocks: readonly BlockTask[];
  readonly pieces: readonly Piece[];
  /** The step that finishes the sums of all blocks before they are written, if the operation has one. */
  readonly finish: Omit<FinishTask, 'slices'> | undefined;
  readonly time: Operation['time'];
}

/** A request for some of the examples, and the slices of the answer that it contributes to. */
export interface BlockTask extends Omit<Request, 'operation'> {
  readonly operation: string;
  readonly firstExample: number;
  readonly slices: readonly PlannedSlice[];
}

/** The contributions of a block, one for each planned slice, or the first result that left the range of its type. */
export interface BlockResult {
  readonly contributions: readonly Tensor[];
  readonly nonFinite: NonFinite | undefined;
}

/** The sums of all blocks, for an operation to finish. The result has one contribution for each planned slice, like a block's. */
export interface FinishTask extends Pick<Request, 'sizes' | 'dtype'> {
  readonly operation: string;
  readonly options: Values;
  readonly slices: readonly SliceToJoin[];
}

/** A written piece, or the place where a sum over the blocks left the range of its type. */
export type PieceResult =
  | { readonly destination: Destination; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly nonFinite: NonFinite };

/** The most bytes that reading takes for each byte of a body: one for a copy, and four because a number of 8 bytes can have 2 bytes of text. */
export const MOST_READ = 5;

/** Milliseconds since the epoch, with fractions: comparable between threads. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}
