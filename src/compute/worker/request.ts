import type { Formats } from '../../formats/format.js';
import { formatsWith } from '../../formats/formats.js';
import type { Build } from '../../kernels/kernels.js';
import type { Operation } from '../../operations/operation.js';
import { operations } from '../../operations/operations.js';
import { blockBounds, blockOf, CUTTING, type Cutting } from '../../plan/blocks.js';
import { finishSums, optionsOf } from '../../plan/finish.js';
import { refuseTooLarge, refuseTooLargeToStore, refuseTooMuchWork } from '../../plan/limits.js';
import { firstNonFinite, refuseNonFinite } from '../../plan/non-finite.js';
import {
  contributionsOf,
  joinedOf,
  type PieceTask,
  piecesOf,
  plannedSlicesIn,
  unwrittenSums,
} from '../../plan/pieces.js';
import { KnownPlans, outputsOf, type Plan, planOf } from '../../plan/plan.js';
import { depositOf, type Request } from '../../plan/request.js';
import { reserve, type Workspace } from '../../plan/workspace.js';
import { type Fault, Refusal } from '../../tensor/refusal.js';
import type { Sizes } from '../../tensor/shapes.js';
import { hasBatchAxis, type Values } from '../../tensor/signature.js';
import { amount } from '../amount.js';
import { type Ledger, shortage } from '../ledger.js';
import {
  type AwaitingAttachment,
  type BlockResult,
  type BlockTask,
  type FinishTask,
  MOST_READ,
  now,
  type Outcome,
  type PieceResult,
  type Report,
  type SplitRequest,
  type Task,
  type Timings,
  type UnavailableCode,
  type Written,
} from '../messages.js';
import { isAllocationFailure, NO_MEMORY } from './allocation.js';
import { attachmentId, inOwnMemory, withAttachment } from './attachment.js';
import type { KnownWeights, Look } from './known-weights.js';

/** The tools of a worker: operations, kernels, formats, and what it has learned from earlier requests. */
export interface Machinery {
  readonly operations: ReadonlyMap<string, Operation>;
  readonly kernels: Build;
  readonly formats: Formats;
  readonly plans: KnownPlans;
  readonly cutting: Cutting;
  /** Weights of earlier requests. If absent, weights are read each time. */
  readonly weights?: KnownWeights | undefined;
  /** The budget of all requests. If absent, memory is not counted. */
  readonly ledger?: Ledger | undefined;
}

/** Machinery with defaults: the operations of the table, the plain formats, and the usual cutting. */
export function machineryWith(parts: Pick<Machinery, 'kernels'> & Partial<Machinery>): Machinery {
  const { kernels, formats = formatsWith() } = parts;
  const plans = new KnownPlans(kernels, formats);
  return { operations: byId(operations), formats, plans, cutting: CUTTING, ...parts };
}

export function byId(operations: readonly Operation[]): ReadonlyMap<string, Operation> {
  return new Map(operations.map((operation) => [operation.id, operation]));
}

/**
 * Serves one request: bytes → tensors → operation → tensors → bytes. A large request is only read and split. A request that
 * names an attachment is given back once it is read, and goes on when it comes again with the attachment.
 *
 * @throws only faults of the service itself; whatever a caller can get wrong is returned as an outcome
 */
export function answer(machinery: Machinery, task: Task): Outcome | SplitRequest | AwaitingAttachment {
  const progress = new Progress(machinery, task);
  try {
    return work(machinery, task, progress);
  } catch (error) {
    const refusal = isAllocationFailure(error) ? new Unavailable('overloaded', NO_MEMORY) : error;
    if (!(refusal instanceof Refusal || refusal instanceof Unavailable)) throw refusal;
    progress.endStage();
    return { ...progress.report(), ok: false, code: refusal.code, faults: refusal.faults };
  }
}

function work(machinery: Machinery, task: Task, progress: Progress): Outcome | SplitRequest | AwaitingAttachment {
  const { formats, weights, plans } = machinery;
  const operation = operationCalled(machinery, task.operation);
  const look = weights?.look();
  const values = read(machinery, task, operation, look);
  const id = attachmentId(operation, values);
  if (id !== undefined) {
    progress.endStage();
    return { attachmentId: id, values: inOwnMemory(operation, values), timings: progress.timings };
  }
  if (depositOf({ operation, values }) && !task.storage) throw new Error('there is no store');

  const { request, plan, accept } = plans.examine(operation, values, task.format, task.storage);
  progress.sizes = request.sizes;
  progress.flops = amount('the arithmetic of a request', plan.flops);
  const bounds = checkLimits(machinery, task, request, plan);
  const serve = () => {
    accept();
    look?.accept(request.dtype);
  };
  if (isLarge(plan, machinery.cutting)) {
    serve();
    const split = splitRequest(machinery, request, plan, bounds);
    progress.endStage();
    return { ...progress.report(), ...split };
  }

  const workspace = reserve(machinery.kernels[request.dtype], request, plan);
  progress.endStage('compute');
  compute(machinery, request, workspace);
  serve();
  progress.endStage('encode');
  const written = write(formats, request, plan, workspace);
  progress.endStage();
  return { ...progress.report(), ok: true, ...written };
}

/** What has become known about a request while it is worked on: the time of each stage, its sizes and its arithmetic. */
class Progress {
  readonly timings: Timings;
  sizes: Sizes = {};
  flops: number | undefined;
  readonly #weights: KnownWeights | undefined;
  #start = now();
  #stage: 'decode' | 'compute' | 'encode' = 'decode';

  constructor({ weights }: Machinery, { handedOver, resumed }: Task) {
    const before = resumed?.request.timings;
    this.timings = { ...before, queue: (before?.queue ?? 0) + now() - handedOver };
    this.#weights = weights;
  }

  /** Ends a stage. @param next the stage that begins */
  endStage(next = this.#stage): void {
    const end = now();
    this.timings[this.#stage] = (this.timings[this.#stage] ?? 0) + end - this.#start;
    this.#start = end;
    this.#stage = next;
  }

  report(): Report {
    return { timings: this.timings, sizes: this.sizes, flops: this.flops, weightsKnown: this.#weights?.hitRate };
  }
}

/** The request is valid, but cannot be served now. */
class Unavailable extends Error {
  readonly code: UnavailableCode;
  readonly faults: readonly Fault[];

  constructor(code: UnavailableCode, detail: string) {
    super(detail);
    this.code = code;
    this.faults = [{ pointer: '', detail }];
  }
}

function operationCalled({ operations }: Machinery, id: string): Operation {
  const operation = operations.get(id);
  if (operation === undefined) throw new Error(`no operation is called ${id}`);
  return operation;
}

/** The values of a request, from its body, or from an earlier reading and its attachment. */
function read(machinery: Machinery, task: Task, operation: Operation, look: Look | undefined): Values {
  const { body, format, resumed } = task;
  if (resumed) return withAttachment(operation, resumed.request.values, resumed.attachment);
  take(machinery, task, MOST_READ * body.length);
  return machinery.formats[format].read(body, operation.request, look);
}

/**
 * Changes what this request holds of the budget to this many bytes.
 *
 * @throws Unavailable if there is no room
 */
function take({ ledger }: Machinery, { slot }: Task, bytes: number): void {
  if (!ledger || ledger.take(slot, bytes)) return;
  throw new Unavailable('overloaded', shortage(`the request needs ${bytes} bytes`, ledger));
}

/**
 * Checks the limits of a request and takes its memory.
 *
 * @return the bounds of its blocks
 * @throws Refusal work-too-large, Unavailable
 */
function checkLimits(machinery: Machinery, task: Task, request: Request, plan: Plan): number[] {
  refuseTooMuchWork(plan.flops, task.flopsLimit);
  const bounds = blockBounds(request, plan, machinery.cutting);
  const bytes = plan.bytes + (bounds.length - 2) * plan.bytesOfBlock;
  refuseTooLarge(bytes, task.workLimit);
  const deposit = depositOf(request);
  if (deposit) {
    refuseTooLargeToStore(plan, request, deposit);
    const trouble = request.storage?.trouble;
    if (trouble !== undefined) throw new Unavailable('cache-unavailable', trouble);
  }
  take(machinery, task, task.body.length + bytes);
  return bounds;
}

function isLarge({ flops, outputBytes }: Plan, { work, bytes }: Cutting): boolean {
  return flops >= work || outputBytes.caller >= 2 * bytes;
}

/** The tasks of a large request, for any worker. */
function splitRequest(
  { formats, cutting }: Machinery,
  request: Request,
  plan: Plan,
  bounds: readonly number[],
): Pick<SplitRequest, 'blocks' | 'pieces' | 'finish' | 'time'> {
  const { id, finish, time } = request.operation;
  const { sizes, dtype, values } = request;
  const pieces = piecesOf(request, plan, formats, cutting);
  const slices = [...plannedSlicesIn(pieces), ...unwrittenSums(request, plan)];
  const blocks = bounds.slice(1).map((to, i): BlockTask => {
    const { operation, ...rest } = blockOf(request, bounds[i], to);
    return { ...rest, operation: operation.id, firstExample: bounds[i], slices };
  });
  const finishing = finish && { operation: id, sizes, dtype, options: optionsOf(values) };
  return { blocks, pieces, finish: finishing, time };
}

function compute({ kernels }: Machinery, { operation, values, sizes, dtype }: Request, workspace: Workspace): void {
  const { request, answer, scratch, forward, computed } = workspace;
  operation.run(kernels[dtype], request, answer, scratch, forward);
  operation.finish?.(answer, optionsOf(values), sizes);
  refuseNonFinite(firstNonFinite(computed, operation.time));
}

function write(formats: Formats, request: Request, plan: Plan, { tensors }: Workspace): Written {
  const [answer, deposit] = outputsOf(request, plan, tensors, formats).map(({ format, slices }) => {
    return formats[format].write(slices);
  });
  return { body: [answer], ...(deposit && { deposit: [deposit] }) };
}

/** Computes one block of a split request: its contributions, or its first non-finite result. */
export function computeBlock(
  machinery: Machinery,
  { operation: id, firstExample, slices, ...rest }: BlockTask,
): BlockResult {
  const { kernels, formats } = machinery;
  const request: Request = { ...rest, operation: operationCalled(machinery, id) };
  const { operation, dtype } = request;
  const workspace = reserve(kernels[dtype], request, planOf(kernels, request, formats));
  operation.run(kernels[dtype], workspace.request, workspace.answer, workspace.scratch, workspace.forward);
  const nonFinite = firstNonFinite(workspace.computed, operation.time, { example: firstExample, row: 0 });
  return { contributions: nonFinite ? [] : contributionsOf(workspace.computed, slices, firstExample), nonFinite };
}

/** Finishes the sums of all blocks of a split request. */
export function finishBlocks(
  machinery: Machinery,
  { operation: id, options, sizes, dtype, slices }: FinishTask,
): BlockResult {
  const { computed, contributions } = finishSums(operationCalled(machinery, id), slices, options, sizes, dtype);
  return { contributions, nonFinite: firstNonFinite(computed, 'forward') };
}

/** Joins the contributions to one piece of a split request and writes it. */
export function writePiece({ formats }: Machinery, { destination, format, items }: PieceTask): PieceResult {
  const slices = [];
  for (const item of items) {
    if (typeof item === 'string' || 'tensor' in item) slices.push(item);
    else {
      const rows = joinedOf(item);
      const { planned, from } = item;
      // The contributions are finite, but their sum may not be.
      if (!hasBatchAxis(planned.member)) {
        const nonFinite = firstNonFinite([{ planned, tensor: rows.tensor }], 'forward', { example: 0, row: from });
        if (nonFinite) return { nonFinite };
      }
      slices.push(rows);
    }
  }
  return { destination, bytes: formats[format].write(slices) };
}
