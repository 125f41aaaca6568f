import type { BodyFormatName } from '../formats/format.js';
import type { Tier } from '../kernels/kernels.js';
import type { Operation } from '../operations/operation.js';
import type { NonFinite } from '../plan/non-finite.js';
import type { Cut, JoinedCut, Piece, PieceTask } from '../plan/pieces.js';
import type { Destination } from '../plan/plan.js';
import type { Request, Storage } from '../plan/request.js';
import type { Fault, RefusalCode } from '../tensor/refusal.js';
import type { Sizes } from '../tensor/shapes.js';
import type { Values } from '../tensor/signature.js';
import type { Tensor } from '../tensor/tensor.js';

/** All that passes between the main thread and a worker. */

/** What a worker is started with. */
export interface WorkerData {
  /** The build of the kernels: the same in all of them, and in those that replace one. */
  readonly tier: Tier;
  /** Bytes of weights to keep. */
  readonly weightsLimit: number;
  readonly ledger: SharedArrayBuffer;
}

/** What a worker is told to do: requests that travel together, or a part of a large one. */
export type ToWorker =
  | { readonly name: 'requests'; readonly task: readonly Task[] }
  | { readonly name: 'block'; readonly task: OfRequest<BlockTask> }
  | { readonly name: 'finish'; readonly task: OfRequest<FinishTask> }
  | { readonly name: 'piece'; readonly task: OfRequest<PieceTask> };

/** Something done for the request that has this slot in the ledger. */
export type OfRequest<T> = T & { readonly slot: number };

/**
 * What a worker sends: that it can compute, or what a message has led to; an exception as its stack, and missing memory as
 * what the caller is told.
 */
export type FromWorker =
  | 'ready'
  | { readonly result: unknown }
  | { readonly failure: string }
  | { readonly outOfMemory: string };

/** What one of several requests that came together has given: an exception is its own alone. */
export type Reply = Outcome | SplitRequest | AwaitingAttachment | { readonly failure: string };

/** A request. The body's memory is moved, not copied. */
export interface Task {
  readonly operation: string;
  readonly body: Uint8Array<ArrayBuffer>;
  /** Of the body, and of the answer. */
  readonly format: BodyFormatName;
  /** Of the request in the ledger. */
  readonly slot: number;
  /** Bytes that the tensors of the request may take, and multiplications and additions that it may ask for. */
  readonly workLimit: number;
  readonly flopsLimit: number;
  /** When the task was handed to the pool: milliseconds since the epoch, with fractions. */
  readonly handedOver: number;
  /** Where its deposit goes if the request asks for one. */
  readonly storage?: Storage | undefined;
  /** In place of the body: a request that has been read before, and what a store holds under the id that it names. */
  readonly resumed?: { readonly request: AwaitingAttachment; readonly attachment: Uint8Array<ArrayBuffer> } | undefined;
}

/** A request that names an attachment, read as far as it goes without it. Its tensors lie in memory of their own. */
export interface AwaitingAttachment {
  readonly attachmentId: string;
  readonly values: Values;
  readonly timings: Timings;
}

/** How long each stage took, in milliseconds; a stage that was not reached is absent. */
export interface Timings {
  queue: number;
  decode?: number;
  compute?: number;
  encode?: number;
  /** Until an attachment was found, or a deposit was stored. */
  store?: number;
}

/** What is known of a request beside its answer. */
export interface Report {
  readonly timings: Timings;
  /** The symbols of the request, as far as they were read. */
  readonly sizes: Sizes;
  /** Multiplications and additions that it takes, once they are known. */
  readonly flops?: number | undefined;
  /** Of all weights that this worker was sent so far, the share that it had read before. */
  readonly weightsKnown?: number | undefined;
}

/** What comes back. A refusal is data, not an exception: errors lose their class and fields between threads. */
export type Outcome = Report &
  (
    | ({ readonly ok: true } & Written)
    | { readonly ok: false; readonly code: RefusalCode | UnavailableCode; readonly faults: readonly Fault[] }
  );

/** What goes to each destination, in pieces that are the whole one after the other. */
export interface Written {
  readonly body: readonly Uint8Array<ArrayBuffer>[];
  readonly deposit?: readonly Uint8Array<ArrayBuffer>[];
}

/** What is missing now, and may be there later: memory, or the store of caches. */
export type UnavailableCode = 'overloaded' | 'cache-unavailable';

/** A large request that has been read and checked: any thread can compute its blocks, and then write its pieces. */
export interface SplitRequest extends Report {
  readonly blocks: readonly BlockTask[];
  readonly pieces: readonly Piece[];
  /** What is to be done with the sums of all blocks before they are written, if there is anything. */
  readonly finish: Omit<FinishTask, 'cuts'> | undefined;
  readonly time: Operation['time'];
}

/** A request for some of the examples, and the cuts of the answer it adds to. */
export interface BlockTask extends Omit<Request, 'operation'> {
  readonly operation: string;
  readonly firstExample: number;
  readonly cuts: readonly Cut[];
}

/** What a block adds to each cut, and where it has left the range of its numbers. */
export interface BlockResult {
  readonly contributions: readonly Tensor[];
  readonly nonFinite: NonFinite | undefined;
}

/** The sums of all blocks that an operation finishes; it gives one contribution to each cut, as a block does. */
export interface FinishTask extends Pick<Request, 'sizes' | 'dtype'> {
  readonly operation: string;
  readonly options: Values;
  readonly cuts: readonly JoinedCut[];
}

/** A piece that is written, or where a sum over the blocks has left the range of its numbers. */
export type PieceResult =
  | { readonly destination: Destination; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly nonFinite: NonFinite };

/** Bytes that reading takes for each byte of a body, at most: its copy, and a number of eight for two of text. */
export const MOST_READ = 5;

/** Milliseconds since the epoch, with fractions: comparable between threads. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}
