/**
 * What is added to a count, a sum or an average that lives as long as its thread: a number that is none would spoil it
 * for good.
 *
 * @param what it is of, for the error
 * @throws RangeError where it is NaN, infinite or negative
 */
export function amount(what: string, value: number): number {
  if (value >= 0 && value < Number.POSITIVE_INFINITY) return value;
  throw new RangeError(`${what} is ${value}, which cannot be added to anything`);
}
