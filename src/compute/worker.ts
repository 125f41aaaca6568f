import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { move, transferableSymbol, valueSymbol, workerData } from 'piscina';
import { chooseKernels } from '../kernels/choose.js';
import type { Tier } from '../kernels/kernels.js';
import { loadJsonCodec } from '../tensor/json-codec.js';
import {
  answer,
  type BlockResult,
  type BlockTask,
  computeBlock,
  type Large,
  type Machinery,
  type PieceResult,
  writePiece,
} from './answer.js';
import type { Outcome, Task } from './outcome.js';
import { Parameters } from './parameters.js';
import type { PieceTask } from './parts.js';
import { buffersIn, discard } from './transfer.js';

/** What the pool hands to each of its threads. */
export interface WorkerData {
  /** The build of the kernels: the same in all of them, and in those that replace one. */
  readonly tier: Tier;
  /** Bytes of weights to keep. */
  readonly weightsLimit: number;
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

let loaded: Machinery | undefined;

/** Loaded when it is first needed: a thread that replaces one that died is not asked whether it is ready. */
function machinery(): Machinery {
  const { tier, weightsLimit } = workerData as WorkerData;
  loaded ??= {
    kernels: chooseKernels(tier),
    codec: loadJsonCodec(),
    parameters: new Parameters(weightsLimit),
  };
  return loaded;
}

/** Called once in each thread at the start: done when it can compute. */
export function ready(): void {
  machinery();
}

/** What one of several requests that came together has given: an exception is its own alone. */
export type Reply = Outcome | Large | { readonly failure: string };

export function requests(tasks: readonly Task[]): Moved<Reply[]> {
  return moved(
    tasks.map((task) => {
      try {
        return answer(machinery(), task);
      } catch (error) {
        return { failure: (error as Error).stack ?? String(error) };
      } finally {
        discard(task);
        giveBack();
      }
    }),
  );
}

export function block(task: BlockTask): Moved<BlockResult> {
  return part(computeBlock, task);
}

export function piece(task: PieceTask): Moved<PieceResult> {
  return part(writePiece, task);
}

/** Part of a large request, whose memory nobody needs afterwards. */
function part<T, R extends object>(work: (machinery: Machinery, task: T) => R, task: T): Moved<R> {
  try {
    return moved(work(machinery(), task));
  } finally {
    discard(task);
    giveBack();
  }
}

/** A value on its way to the main thread. Its memory is moved, not copied. */
type Moved<T> = ReturnType<typeof move> & { readonly [valueSymbol]?: T };

function moved<T extends object>(value: T): Moved<T> {
  return move({ [transferableSymbol]: buffersIn(value), [valueSymbol]: value }) as Moved<T>;
}

/** Large memory goes back to the system at once: an idle thread would not come round to collecting it. */
function giveBack(): void {
  const { kernels, codec } = machinery();
  const [ofKernels, ofCodec] = [kernels.release(), codec?.release()];
  if (ofKernels || ofCodec) collectGarbage();
}
