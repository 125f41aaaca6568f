/** How Node and zlib tell that. */
const CODES: ReadonlySet<unknown> = new Set(['ERR_MEMORY_ALLOCATION_FAILED', 'Z_MEM_ERROR']);

/** Did the system have no memory for what was asked for? JavaScript tells it by the words of a RangeError alone. */
export function isAllocationFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (CODES.has((error as NodeJS.ErrnoException).code)) return true;
  return (
    error instanceof RangeError &&
    /allocation failed|could not allocate|cannot allocate|unable to grow/i.test(error.message)
  );
}

/** What a request is told for which the system has no memory, whatever the budget says. */
export const NO_MEMORY = 'the system has no memory for this request now';
