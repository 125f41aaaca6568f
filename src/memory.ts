import { totalmem } from 'node:os';

/** Bytes of memory that the process may use: those of the machine, and no more than its control group has. */
export function usableMemory(): number {
  const ofGroup = process.constrainedMemory(); // 0: not known
  return Math.min(totalmem(), ofGroup > 0 ? ofGroup : Number.POSITIVE_INFINITY);
}

/** Did the system have no memory for what was asked for? JavaScript tells it by the words of a RangeError alone. */
export function isAllocationFailure(error: unknown): boolean {
  return error instanceof RangeError && /allocation failed|could not allocate|unable to grow/i.test(error.message);
}
