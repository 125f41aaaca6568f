import { LEAST_POWER, MOST_POWER, POWER_WORDS } from '../limits';

/**
 * The table of powers of ten: the highest 128 bits of 10^e for LEAST_POWER ≤ e ≤ MOST_POWER, cut off and rounded up. The host
 * computes the table when it loads the module (../powers-of-ten.ts) and writes it here.
 */
const ENTRY: usize = POWER_WORDS * 8; // cut off: low, high; rounded up: low, high

export const POWERS: usize = memory.data(POWER_WORDS * 8 * (MOST_POWER - LEAST_POWER + 1), 16);

// @ts-expect-error: decorator
@inline
export function powerCutOff(e: i32): usize {
  return POWERS + <usize>(e - LEAST_POWER) * ENTRY;
}

// @ts-expect-error: decorator
@inline
export function powerRoundedUp(e: i32): usize {
  return POWERS + <usize>(e - LEAST_POWER) * ENTRY + 16;
}

/** The high 64 bits of a · b. */
// @ts-expect-error: decorator
@inline
export function multiplyHigh(a: u64, b: u64): u64 {
  const aLow = a & 0xffffffff, aHigh = a >> 32;
  const bLow = b & 0xffffffff, bHigh = b >> 32;
  const lowHigh = aLow * bHigh;
  const highLow = aHigh * bLow;
  const middle = ((aLow * bLow) >> 32) + (highLow & 0xffffffff) + lowHigh;
  return aHigh * bHigh + (highLow >> 32) + (middle >> 32);
}
