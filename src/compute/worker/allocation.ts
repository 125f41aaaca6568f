/** Did the system have no memory for what was asked for? JavaScript tells it by the words of a RangeError alone. */
export function isAllocationFailure(error: unknown): boolean {
  return error instanceof RangeError && /allocation failed|could not allocate|unable to grow/i.test(error.message);
}

/** What a request is told for which the system has no memory, whatever the budget says. */
export const NO_MEMORY = 'the system has no memory for this request now';
