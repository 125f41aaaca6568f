import { totalmem } from 'node:os';

/** Bytes of memory that the process may use: those of the machine, and no more than its control group has. */
export function usableMemory(): number {
  const ofGroup = process.constrainedMemory(); // 0: not known
  return Math.min(totalmem(), ofGroup > 0 ? ofGroup : Number.POSITIVE_INFINITY);
}
