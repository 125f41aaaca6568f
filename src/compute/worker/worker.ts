import { constants, getPriority, setPriority } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parentPort, workerData } from 'node:worker_threads';
import { formatsWith } from '../../formats/formats.js';
import { loadJsonCodec } from '../../formats/json/codec.js';
import { chooseKernels } from '../../kernels/choose.js';
import { interruptible } from '../../kernels/interruptible.js';
import { Ledger, Stopped } from '../ledger.js';
import type { FromWorker, OfRequest, Reply, Task, ToWorker, WorkerData } from '../messages.js';
import { buffersIn, discard } from '../transfer.js';
import { isAllocationFailure, NO_MEMORY } from './allocation.js';
import { KnownWeights } from './known-weights.js';
import { answer, computeBlock, finishBlocks, type Machinery, machineryWith, writePiece } from './request.js';

const { tier, weightsLimit, ledger: shared } = workerData as WorkerData;
const ledger = new Ledger(shared);
let slot = 0; // of the request that is worked on

/** Called every few milliseconds of work. */
function checkpoint(): void {
  if (ledger.isStopped(slot)) throw new Stopped();
}

const kernels = interruptible(chooseKernels(tier), checkpoint);
const codec = loadJsonCodec(checkpoint);
const formats = formatsWith(codec);
const machinery = machineryWith({ kernels, formats, weights: new KnownWeights(weightsLimit, kernels), ledger });

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

function work({ name, task }: ToWorker): FromWorker {
  try {
    switch (name) {
      case 'requests':
        return { result: task.map(reply) };
      case 'block':
        return { result: within(task, computeBlock) };
      case 'finish':
        return { result: within(task, finishBlocks) };
      case 'piece':
        return { result: within(task, writePiece) };
    }
  } catch (error) {
    return isAllocationFailure(error) ? { outOfMemory: NO_MEMORY } : { failure: textOf(error) };
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
function within<T, R>(task: OfRequest<T>, act: (machinery: Machinery, task: OfRequest<T>) => R): R {
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
  try {
    const [ofKernels, ofCodec] = [kernels.release(), codec.release()];
    if (ofKernels || ofCodec) collectGarbage();
  } catch (error) {
    // To let go of it takes a little memory first. Without that it stays until the next request, and the answer is as good.
    if (!isAllocationFailure(error)) throw error;
    collectGarbage();
  }
}

function textOf(error: unknown): string {
  return (error as Error).stack ?? String(error);
}

parentPort?.on('message', (message: ToWorker) => {
  const reply = work(message);
  parentPort?.postMessage(reply, buffersIn(reply));
});
parentPort?.postMessage('ready' satisfies FromWorker);
