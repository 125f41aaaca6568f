import { constants, getPriority, setPriority } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parentPort, workerData } from 'node:worker_threads';
import { loadJsonCodec } from '../../formats/json/codec.js';
import { chooseKernels } from '../../kernels/choose.js';
import { interruptible } from '../../kernels/interruptible.js';
import type { Tier } from '../../kernels/kernels.js';
import type { PieceTask } from '../../plan/pieces.js';
import { Ledger, Stopped } from '../ledger.js';
import type { Named, Outcome, Task } from '../messages.js';
import type { FromThread } from '../pool/threads.js';
import { buffersIn, discard } from '../transfer.js';
import { isAllocationFailure, NO_MEMORY } from './allocation.js';
import { Parameters } from './known-weights.js';
import { answer, type BlockTask, computeBlock, type Large, type Machinery, writePiece } from './request.js';

/** What the pool hands to each of its threads. */
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
  | { readonly name: 'block'; readonly task: BlockTask & Slot }
  | { readonly name: 'piece'; readonly task: PieceTask & Slot };

interface Slot {
  readonly slot: number;
}

/** What one of several requests that came together has given: an exception is its own alone. */
export type Reply = Outcome | Large | Named | { readonly failure: string };

const { tier, weightsLimit, ledger: shared } = workerData as WorkerData;
const ledger = new Ledger(shared);
let slot = 0; // of the request that is worked on

/** Called every few milliseconds of work. */
function checkpoint(): void {
  if (ledger.isStopped(slot)) throw new Stopped();
}

const kernels = interruptible(chooseKernels(tier), checkpoint);
const machinery: Machinery = {
  kernels,
  codec: loadJsonCodec(checkpoint),
  parameters: new Parameters(weightsLimit, kernels),
  ledger,
};

leaveProcessorToOthers();

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/**
 * The main thread goes first, so that it answers while all processors compute: on Linux the priority is that of this
 * thread alone. Where it may not be changed the work is the same.
 */
function leaveProcessorToOthers(): void {
  const { PRIORITY_BELOW_NORMAL } = constants.priority;
  try {
    if (process.platform === 'linux' && getPriority() < PRIORITY_BELOW_NORMAL) setPriority(PRIORITY_BELOW_NORMAL);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_SYSTEM_ERROR') throw error;
  }
}

function work({ name, task }: ToWorker): FromThread {
  try {
    if (name === 'requests') return { result: task.map(reply) };
    return { result: name === 'block' ? within(task, computeBlock) : within(task, writePiece) };
  } catch (error) {
    return isAllocationFailure(error) ? { lack: NO_MEMORY } : { failure: textOf(error) };
  }
}

function reply(task: Task): Reply {
  try {
    return within(task, answer);
  } catch (error) {
    return { failure: textOf(error) };
  }
}

/** Does something for a request, whose memory nobody needs afterwards. */
function within<T extends Slot, R>(task: T, act: (machinery: Machinery, task: T) => R): R {
  slot = task.slot;
  ledger.begin(slot);
  try {
    checkpoint();
    return act(machinery, task);
  } finally {
    ledger.end(slot);
    discard(task);
    giveBack();
  }
}

/** Large memory goes back to the system at once: an idle thread would not come round to collecting it. */
function giveBack(): void {
  const { kernels, codec } = machinery;
  const [ofKernels, ofCodec] = [kernels.release(), codec?.release()];
  if (ofKernels || ofCodec) collectGarbage();
}

function textOf(error: unknown): string {
  return (error as Error).stack ?? String(error);
}

parentPort?.on('message', (message: ToWorker) => {
  const reply = work(message);
  parentPort?.postMessage(reply, buffersIn(reply));
});
parentPort?.postMessage('ready' satisfies FromThread);
