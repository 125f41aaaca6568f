/**
 * Returns the value if it can be added to a running count, sum or average. NaN would spoil a total that lives as long as
 * its thread.
 *
 * @param what the value measures, for the error
 * @throws RangeError if the value is NaN, infinite or negative
 */
export function amount(what: string, value: number): number {
  if (value >= 0 && value < Number.POSITIVE_INFINITY) return value;
  throw new RangeError(`${what} is ${value}, which cannot be added to anything`);
}
