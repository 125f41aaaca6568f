import { move, transferableSymbol, valueSymbol, workerData } from 'piscina';
import { type Choice, chooseKernels } from '../kernels/choose.js';
import type { Kernels, Tier } from '../kernels/kernels.js';
import { answer } from './answer.js';
import type { Task } from './outcome.js';

/** What the pool hands to each of its threads. */
export interface WorkerData {
  readonly kernels: Choice;
}

let kernels: Kernels | undefined;

/** Called once in each thread at the start: loads the kernels and tells which they are. */
export function ready(): Tier {
  kernels = chooseKernels((workerData as WorkerData).kernels);
  return kernels.tier;
}

/** The function that the pool calls: the outcome, with the answer's memory moved to the main thread. */
export default function work(task: Task): ReturnType<typeof move> {
  if (kernels === undefined) ready(); // the thread replaces one that died
  const outcome = answer(kernels as Kernels, task);
  return move({
    [transferableSymbol]: outcome.ok ? [outcome.body.buffer] : [],
    [valueSymbol]: outcome,
  });
}
