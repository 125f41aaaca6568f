import { slicesOfSums, withFinished } from '../../plan/finish.js';
import { earliest, type NonFinite } from '../../plan/non-finite.js';
import { bySlice, pieceTasks } from '../../plan/pieces.js';
import type { Storage } from '../../plan/request.js';
import { type Ledger, Stopped, shortage } from '../ledger.js';
import {
  type AwaitingAttachment,
  type BlockResult,
  MOST_READ,
  now,
  type Outcome,
  type PieceResult,
  type Reply,
  type Report,
  type SplitRequest,
  type Task,
} from '../messages.js';
import { discard } from '../transfer.js';
import { PoolBusy } from './busy.js';
import type { Dispatcher } from './dispatcher.js';
import { isHeavy, type Job } from './queue.js';
import { OutOfMemory } from './threads.js';

/** The store, as one request needs it. */
export interface Attachments {
  /** Where the deposit of the request goes. */
  readonly storage?: Storage | undefined;
  /**
   * Finds the attachment with this id, in memory that moves to a worker. An error of `find` fails the request.
   *
   * @param reserve called with the length in bytes before any memory is allocated; `find` passes its errors on
   */
  find(id: string, reserve: (bytes: number) => void): Promise<Uint8Array<ArrayBuffer>>;
}

/** Estimates of a worker's time, in milliseconds. Callers take turns by them, so a small error does no harm. */
const MS_FOR_A_REQUEST = 0.1;
const MS_FOR_A_BYTE = 5e-6;
const MS_FOR_A_FLOP = 1e-7;
const MS_FOR_A_PIECE = 10;

export interface RequestOptions {
  readonly dispatcher: Dispatcher;
  readonly ledger: Ledger;
  readonly task: Task;
  readonly caller: string;
  readonly attachments: Attachments | undefined;
  /** Seconds after which the caller should try again if there is no memory now. */
  retryAfter(): number;
}

/** The way of one request through the workers: read, then computed in one task or in blocks, then written. */
export class PoolRequest {
  readonly #options: RequestOptions;
  /** The turn of all heavy jobs of this request. */
  #heavyTurn: number | undefined;

  constructor(options: RequestOptions) {
    this.#options = options;
  }

  /** @throws Stopped, PoolBusy, ThreadDied, or an error of a worker or the store */
  async run(): Promise<Outcome> {
    const { task } = this.#options;
    const { length } = task.body;
    let reply = await this.#read(task, length);
    if ('attachmentId' in reply) {
      const again = await this.#attach(reply, length);
      // The message carries the values that were read before, and the attachment.
      reply = await this.#read(again, length + again.resumed.attachment.length);
    }
    if ('failure' in reply) throw new Error(reply.failure);
    if ('attachmentId' in reply) throw new Error('an attachment names another one');
    return 'ok' in reply ? reply : this.#finish(reply);
  }

  #read(task: Task, bytes: number): Promise<Reply> {
    return this.#enqueue('requests', task, MS_FOR_A_REQUEST + bytes * MS_FOR_A_BYTE, bytes) as Promise<Reply>;
  }

  #enqueue(name: Job['name'], task: unknown, ms: number, bytes = 0): Promise<unknown> {
    const { dispatcher, caller, task: whole } = this.#options;
    const { slot } = whole;
    const { queue } = dispatcher;
    return new Promise((resolve, fail) => {
      const since = performance.now();
      if (isHeavy({ name, bytes })) this.#heavyTurn ??= queue.turnOf(caller, true);
      const turn = this.#heavyTurn ?? queue.turnOf(caller, false);
      const reject = (error: Error) => {
        fail(error instanceof OutOfMemory ? this.#overloaded(error.message) : error);
      };
      dispatcher.add({ name, task, slot, caller, turn, bytes, ms, since, wasLost: false, resolve, reject });
    });
  }

  #overloaded(detail: string): PoolBusy {
    return new PoolBusy('overloaded', detail, this.#options.retryAfter());
  }

  /** The task that goes on with a request when its attachment has been found. */
  async #attach(request: AwaitingAttachment, bodyLength: number) {
    const { task, attachments, ledger } = this.#options;
    if (attachments === undefined) throw new Error('a request names an attachment, but there is no store');
    const start = now();
    const attachment = await attachments.find(request.attachmentId, (bytes) => {
      if (ledger.isStopped(task.slot)) throw new Stopped();
      if (ledger.take(task.slot, MOST_READ * bodyLength + bytes)) return;
      throw this.#overloaded(shortage(`the request needs ${bytes} bytes for its stored caches`, ledger));
    });
    const handedOver = now();
    request.timings.store = handedOver - start;
    return { ...task, body: new Uint8Array(0), resumed: { request, attachment }, handedOver };
  }

  /** Computes the blocks of a split request and then writes its pieces, on all workers that are free. */
  async #finish({ blocks, pieces, finish, time, ...report }: SplitRequest): Promise<Outcome> {
    const { timings } = report;
    const start = now();
    const ms = ((report.flops ?? 0) / blocks.length) * MS_FOR_A_FLOP;
    const results = (await this.#all('block', blocks, ms)) as BlockResult[];
    const nonFinite = earliest(
      results.map((result) => result.nonFinite),
      time,
    );
    if (nonFinite) {
      discard(results);
      return refused(report, nonFinite);
    }
    const [{ slices }] = blocks;
    const added = bySlice(
      slices,
      results.map(({ contributions }) => contributions),
    );
    let ofSlices = added;
    if (finish) {
      const task = { ...finish, slices: slicesOfSums(slices, added) };
      const [finished] = (await this.#all('finish', [task], MS_FOR_A_PIECE)) as BlockResult[];
      if (finished.nonFinite) return refused(report, finished.nonFinite);
      ofSlices = withFinished(slices, added, finished.contributions);
    }
    const computed = now();
    timings.compute = computed - start;

    const written = (await this.#all('piece', pieceTasks(pieces, ofSlices), MS_FOR_A_PIECE)) as PieceResult[];
    timings.encode = now() - computed;
    return outcomeOf(report, written);
  }

  /** Runs some tasks. Resolves, or rejects with the first error, when no worker has any of them any more. */
  async #all(name: Job['name'], tasks: readonly object[], ms: number): Promise<unknown[]> {
    const { dispatcher, task } = this.#options;
    const { slot } = task;
    let cause: unknown;
    const jobs = tasks.map((one) => this.#enqueue(name, { ...one, slot }, ms));
    for (const job of jobs) {
      job.catch((error) => {
        cause ??= error;
        dispatcher.stop(slot); // the others are not wanted either
      });
    }
    const results = await Promise.allSettled(jobs);
    if (cause !== undefined) throw cause;
    return results.map((result) => (result as PromiseFulfilledResult<unknown>).value);
  }
}

function outcomeOf(report: Report, written: readonly PieceResult[]): Outcome {
  const bytes = { caller: [] as Uint8Array<ArrayBuffer>[], store: [] as Uint8Array<ArrayBuffer>[] };
  for (const piece of written) {
    if ('nonFinite' in piece) return refused(report, piece.nonFinite);
    bytes[piece.destination].push(piece.bytes);
  }
  const { caller: body, store: deposit } = bytes;
  return { ...report, ok: true, body, ...(deposit.length > 0 && { deposit }) };
}

function refused(report: Report, { fault }: NonFinite): Outcome {
  return { ...report, ok: false, code: 'non-finite-result', faults: [fault] };
}
