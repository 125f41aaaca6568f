import { LEAST_POWER, MOST_POWER, POWER_WORDS } from './limits.js';

const BITS = 128n;
const LOW_64 = (1n << 64n) - 1n;

/**
 * The table of powers of ten for assembly/powers.ts: the highest 128 bits of 10^e for LEAST_POWER ≤ e ≤ MOST_POWER. Each
 * power takes four words: cut off (low, high) and rounded up (low, high).
 */
export function powersOfTen(): BigUint64Array {
  const words = new BigUint64Array(POWER_WORDS * (MOST_POWER - LEAST_POWER + 1));
  for (let e = LEAST_POWER; e <= MOST_POWER; e++) {
    const { cutOff, isExact } = e < 0 ? reciprocal(10n ** BigInt(-e)) : leadingBits(10n ** BigInt(e));
    const roundedUp = isExact ? cutOff : cutOff + 1n;
    const entry = [cutOff & LOW_64, cutOff >> 64n, roundedUp & LOW_64, roundedUp >> 64n];
    words.set(entry, POWER_WORDS * (e - LEAST_POWER));
  }
  return words;
}

function leadingBits(power: bigint): { cutOff: bigint; isExact: boolean } {
  const excess = lengthOf(power) - BITS;
  if (excess <= 0n) return { cutOff: power << -excess, isExact: true };
  const cutOff = power >> excess;
  return { cutOff, isExact: cutOff << excess === power };
}

/** The first 128 bits of 1 / power. They are never exact, because the binary fraction never ends. */
function reciprocal(power: bigint): { cutOff: bigint; isExact: boolean } {
  const quotient = (1n << (lengthOf(power) + BITS)) / power;
  return { cutOff: quotient >> (lengthOf(quotient) - BITS), isExact: false };
}

function lengthOf(n: bigint): bigint {
  return BigInt(n.toString(2).length);
}
