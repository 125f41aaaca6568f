const LEAST = -348;
const MOST = 347;
const BITS = 128n;
const LOW_64 = (1n << 64n) - 1n;

/**
 * 10^e for −348 ≤ e ≤ 347 to 128 bits, from the highest bit on: four words each, cut off (low, high) and rounded up
 * (low, high). What assembly/powers.ts has room for.
 */
export function powersOfTen(): BigUint64Array {
  const words = new BigUint64Array(4 * (MOST - LEAST + 1));
  for (let e = LEAST; e <= MOST; e++) {
    const { cutOff, isExact } = e < 0 ? reciprocal(10n ** BigInt(-e)) : leadingBits(10n ** BigInt(e));
    const roundedUp = isExact ? cutOff : cutOff + 1n;
    words.set([cutOff & LOW_64, cutOff >> 64n, roundedUp & LOW_64, roundedUp >> 64n], 4 * (e - LEAST));
  }
  return words;
}

function leadingBits(power: bigint): { cutOff: bigint; isExact: boolean } {
  const excess = lengthOf(power) - BITS;
  if (excess <= 0n) return { cutOff: power << -excess, isExact: true };
  const cutOff = power >> excess;
  return { cutOff, isExact: cutOff << excess === power };
}

/** The first 128 bits of 1 / power; it never ends, so it is never exact. */
function reciprocal(power: bigint): { cutOff: bigint; isExact: boolean } {
  const quotient = (1n << (lengthOf(power) + BITS)) / power;
  return { cutOff: quotient >> (lengthOf(quotient) - BITS), isExact: false };
}

function lengthOf(n: bigint): bigint {
  return BigInt(n.toString(2).length);
}
