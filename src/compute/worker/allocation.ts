/** The error codes of Node and zlib for it. */
const CODES: ReadonlySet<unknown> = new Set(['ERR_MEMORY_ALLOCATION_FAILED', 'Z_MEM_ERROR']);

/** Does this error mean that the system had no memory? JavaScript says so only in the message of a RangeError. */
export function isAllocationFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (CODES.has((error as NodeJS.ErrnoException).code)) return true;
  return (
    error instanceof RangeError &&
    /allocation failed|could not allocate|cannot allocate|unable to grow/i.test(error.message)
  );
}

/** The detail of the problem when the system has no memory, although the budget had room. */
export const NO_MEMORY = 'the system has no memory for this request now';
