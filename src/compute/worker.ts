import { move, transferableSymbol, valueSymbol, workerData } from 'piscina';
import { type Choice, chooseKernels, KernelsUnavailable } from '../kernels/choose.js';
import type { Tier } from '../kernels/kernels.js';
import { loadJsonCodec } from '../tensor/json-codec.js';
import { answer, type Machinery } from './answer.js';
import type { Task } from './outcome.js';

/** What the pool hands to each of its threads. */
export interface WorkerData {
  readonly kernels: Choice;
}

let machinery: Machinery | undefined;

/**
 * Called once in each thread at the start: loads what it works with and tells the build of the kernels, or why there
 * is none.
 */
export function ready(): { tier: Tier } | { unavailable: string } {
  try {
    machinery ??= load();
    return { tier: machinery.kernels.tier };
  } catch (error) {
    if (error instanceof KernelsUnavailable) return { unavailable: error.message };
    throw error;
  }
}

function load(): Machinery {
  return { kernels: chooseKernels((workerData as WorkerData).kernels), codec: loadJsonCodec() };
}

/** The function that the pool calls: the outcome, with the answer's memory moved to the main thread. */
export default function work(task: Task): ReturnType<typeof move> {
  machinery ??= load(); // the thread replaces one that died
  const outcome = answer(machinery, task);
  return move({
    [transferableSymbol]: outcome.ok ? [outcome.body.buffer] : [],
    [valueSymbol]: outcome,
  });
}
