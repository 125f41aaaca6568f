import { cutsOfSums, withFinished } from '../../plan/finish.js';
import { earliest, type NonFinite } from '../../plan/non-finite.js';
import { byCut, pieceTasks } from '../../plan/pieces.js';
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

/** What a request needs of a store. */
export interface Attachments {
  /** Where its own deposit goes. */
  readonly storage?: Storage | undefined;
  /**
   * Finds the attachment that it names, in memory that moves to a worker; what it throws, the outcome does.
   *
   * @param reserve is told how many bytes it has before there are any; what it throws, this does
   */
  find(id: string, reserve: (bytes: number) => void): Promise<Uint8Array<ArrayBuffer>>;
}

/** What things take a worker, about, in milliseconds. Callers take turns by it; which one is a little off does no harm. */
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
  /** Seconds after which another try makes sense where there is no memory now. */
  retryAfter(): number;
}

/** The way of one request through the workers. */
export class PoolRequest {
  readonly #options: RequestOptions;
  /** The turn of all that is heavy of it. */
  #heavyTurn: number | undefined;

  constructor(options: RequestOptions) {
    this.#options = options;
  }

  /** @throws Stopped, PoolBusy, ThreadDied, and what a worker or the store throws */
  async run(): Promise<Outcome> {
    const { task } = this.#options;
    const { length } = task.body;
    let reply = await this.#read(task, length);
    if ('attachmentId' in reply) {
      const again = await this.#attach(reply, length);
      // What was read of it goes along, beside the attachment.
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

  /** The task of a request that names an attachment, with that in place of its body. */
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

  /** A large request from its first part on: its blocks, then the pieces of what it gives, by all workers that are free. */
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
    const [{ cuts }] = blocks;
    const added = byCut(
      cuts,
      results.map(({ contributions }) => contributions),
    );
    let ofCuts = added;
    if (finish) {
      const task = { ...finish, cuts: cutsOfSums(cuts, added) };
      const [finished] = (await this.#all('finish', [task], MS_FOR_A_PIECE)) as BlockResult[];
      if (finished.nonFinite) return refused(report, finished.nonFinite);
      ofCuts = withFinished(cuts, added, finished.contributions);
    }
    const computed = now();
    timings.compute = computed - start;

    const written = (await this.#all('piece', pieceTasks(pieces, ofCuts), MS_FOR_A_PIECE)) as PieceResult[];
    timings.encode = now() - computed;
    return outcomeOf(report, written);
  }

  /** Resolves, or throws what went wrong first, when no worker has any of these. */
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
