import type { JsonCodec } from '../../formats/json/codec.js';
import { readJson } from '../../formats/json/reader.js';
import { type Segment, writeSegments } from '../../formats/json/writer.js';
import { writeBinary } from '../../formats/safetensors.js';
import type { Build } from '../../kernels/kernels.js';
import type { Operation } from '../../operations/operation.js';
import { operations } from '../../operations/operations.js';
import { firstNonFinite, type NonFinite, refuseNonFinite } from '../../plan/non-finite.js';
import {
  blockBounds,
  blockOf,
  type Cut,
  contributionsOf,
  cutsIn,
  isLarge,
  joinedOf,
  type Pieces,
  type PieceTask,
  piecesOf,
} from '../../plan/pieces.js';
import {
  examine,
  needOf,
  type Request,
  refuseTooLarge,
  refuseTooLargeToStore,
  refuseTooMuchWork,
  reserve,
  storedSegments,
  textSegments,
} from '../../plan/workspace.js';
import { type Fault, Refusal } from '../../tensor/refusal.js';
import type { Dims } from '../../tensor/shapes.js';
import { hasBatchAxis } from '../../tensor/signature.js';
import type { Tensor } from '../../tensor/tensor.js';
import { amount } from '../amount.js';
import { type Ledger, shortage } from '../ledger.js';
import {
  type LackCode,
  MOST_READ,
  type Named,
  now,
  type Outcome,
  type Report,
  type Task,
  type Timings,
} from '../messages.js';
import { inOwnMemory, namedCaches, storesCaches, withCaches } from '../stored.js';
import { isAllocationFailure, NO_MEMORY } from './allocation.js';
import type { Parameters } from './known-weights.js';

const byId = new Map(operations.map((operation) => [operation.id, operation]));

/** What a thread works with. */
export interface Machinery {
  readonly kernels: Build;
  /** Absent: tensors are read and written by the plain codec. */
  readonly codec?: JsonCodec | undefined;
  /** Absent: weights are read each time. */
  readonly parameters?: Parameters | undefined;
  /** Absent: nobody counts the memory. */
  readonly ledger?: Ledger | undefined;
}

/** A large request that has been read and checked: any thread can compute its blocks, and then write its pieces. */
export interface Large extends Report, Pieces {
  readonly blocks: readonly BlockTask[];
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

/** A piece of the text or of the stored caches, or where a sum over the blocks has left the range of its numbers. */
export type PieceResult =
  | { readonly text: Uint8Array<ArrayBuffer> }
  | { readonly stored: Uint8Array<ArrayBuffer> }
  | { readonly nonFinite: NonFinite };

/**
 * The work of one request: bytes → tensors → operation → tensors → bytes; of a large one only the first step. One that
 * names stored caches is given back when it has been read, and goes on when it comes again with them.
 * Everything a caller can get wrong comes back as an outcome; only faults of the service itself are thrown.
 */
export function answer(machinery: Machinery, task: Task): Outcome | Large | Named {
  const { kernels, codec, parameters, ledger } = machinery;
  const { body, slot, resumed, storage } = task;
  const operation = operationCalled(task.operation);
  const before = resumed?.named.timings;
  const timings: Timings = { ...before, queue: (before?.queue ?? 0) + now() - task.handedOver };
  const look = parameters?.look();
  let dims: Dims = {};
  let flops: number | undefined;
  let start = now();
  let stage: 'decode' | 'compute' | 'encode' = 'decode';
  const lap = (next: typeof stage) => {
    const end = now();
    timings[stage] = (timings[stage] ?? 0) + end - start;
    start = end;
    stage = next;
  };
  const take = (bytes: number): void => {
    if (!ledger || ledger.take(slot, bytes)) return;
    throw new Lack('overloaded', shortage(`the request needs ${bytes} bytes`, ledger));
  };
  const report = (): Report => ({ timings, dims, flops, weightsKnown: parameters?.hitRate });

  try {
    if (!resumed) take(MOST_READ * body.length);
    const values = resumed
      ? withCaches(operation, resumed.named.values, resumed.caches)
      : readJson(body, operation.request, codec, look);
    const cacheId = namedCaches(values);
    if (cacheId !== undefined) {
      lap('compute');
      return { cacheId, values: inOwnMemory(values), timings };
    }
    if (storesCaches(values) && !storage) throw new Error('caches are to be stored, but there is no store');
    const examined = examine(kernels, operation, values, storage);
    const { request, need } = examined;
    const accept = () => {
      examined.accept();
      look?.accept(request.dtype);
    };
    dims = request.dims;
    flops = amount('the arithmetic of a request', operation.flops(dims));
    refuseTooMuchWork(flops, task.flopsLimit);
    const bounds = blockBounds(request);
    const bytes = need.bytes + (bounds.length - 2) * need.bytesOfBlock;
    refuseTooLarge(bytes, task.workLimit);
    refuseTooLargeToStore(need, request);
    if (storesCaches(values) && storage?.trouble !== undefined) throw new Lack('cache-unavailable', storage.trouble);
    take(body.length + bytes);
    if (isLarge(request, need)) {
      accept();
      const pieces = piecesOf(request, need);
      const blocks = blockTasks(request, bounds, cutsIn(pieces));
      lap('compute');
      return { ...report(), blocks, ...pieces, time: operation.time };
    }
    const workspace = reserve(kernels[request.dtype], request, need);
    lap('compute');

    operation.run(kernels[request.dtype], workspace.request, workspace.answer, workspace.scratch);
    refuseNonFinite(firstNonFinite(workspace.computed, operation.time));
    accept();
    lap('encode');

    const text = writeSegments(textSegments(request, workspace.tensors), codec);
    const stored = need.stored > 0 ? [writeBinary(storedSegments(request, workspace.tensors))] : undefined;
    lap('encode');
    return { ...report(), ok: true, body: [text], ...(stored && { stored }) };
  } catch (error) {
    const refusal = isAllocationFailure(error) ? new Lack('overloaded', NO_MEMORY) : error;
    if (!(refusal instanceof Refusal || refusal instanceof Lack)) throw refusal;
    lap(stage);
    return { ...report(), ok: false, code: refusal.code, faults: refusal.faults };
  }
}

/** The request is right, but cannot be served now. */
class Lack extends Error {
  readonly code: LackCode;
  readonly faults: readonly Fault[];

  constructor(code: LackCode, detail: string) {
    super(detail);
    this.code = code;
    this.faults = [{ pointer: '', detail }];
  }
}

function operationCalled(id: string): Operation {
  const operation = byId.get(id);
  if (operation === undefined) throw new Error(`no operation is called ${id}`);
  return operation;
}

function blockTasks(request: Request, bounds: readonly number[], cuts: readonly Cut[]): BlockTask[] {
  return bounds.slice(1).map((to, i) => {
    const { operation, ...rest } = blockOf(request, bounds[i], to);
    return { ...rest, operation: operation.id, firstExample: bounds[i], cuts };
  });
}

export function computeBlock(
  { kernels }: Machinery,
  { operation: id, firstExample, cuts, ...rest }: BlockTask,
): BlockResult {
  const operation = operationCalled(id);
  const request: Request = { ...rest, operation };
  const workspace = reserve(kernels[request.dtype], request, needOf(kernels, request));
  operation.run(kernels[request.dtype], workspace.request, workspace.answer, workspace.scratch);
  const nonFinite = firstNonFinite(workspace.computed, operation.time, { example: firstExample, row: 0 });
  return { contributions: nonFinite ? [] : contributionsOf(workspace.computed, cuts), nonFinite };
}

export function writePiece({ codec }: Machinery, { items, isStored }: PieceTask): PieceResult {
  const segments: Segment[] = [];
  for (const item of items) {
    if (typeof item === 'string' || 'tensor' in item) segments.push(item);
    else {
      const rows = joinedOf(item);
      const { wanted, from } = item;
      // What the blocks have computed was finite; sums of it may not be.
      if (!hasBatchAxis(wanted.member)) {
        const sums = [{ ...wanted, tensor: rows.tensor }];
        const nonFinite = firstNonFinite(sums, 'forward', { example: 0, row: from });
        if (nonFinite) return { nonFinite };
      }
      segments.push(rows);
    }
  }
  return isStored ? { stored: writeBinary(segments) } : { text: writeSegments(segments, codec) };
}
