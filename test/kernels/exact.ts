/**
 * σ and tanh to the last bit, as an oracle: e^z by its series, in whole numbers of 2^−1400. The smallest double is
 * 2^−1074, so even that has hundreds of correct bits.
 */

const BITS = 1400n;
const ONE = 1n << BITS;

/** A double as a whole number of 2^−BITS; exact, as no double has a smaller bit than 2^−1074. */
function fixed(value: number): bigint {
  const bits = new BigUint64Array(new Float64Array([Math.abs(value)]).buffer)[0];
  const exponent = bits >> 52n;
  const mantissa = exponent === 0n ? bits & 0xfffffffffffffn : (bits & 0xfffffffffffffn) | 0x10000000000000n;
  const shifted = mantissa << (BITS - 1075n + (exponent === 0n ? 1n : exponent));
  return value < 0 ? -shifted : shifted;
}

/** e^−z for z ≥ 0: the series at z / 2^12, squared twelve times. */
function exponentialOfMinus(z: bigint): bigint {
  const small = z >> 12n;
  let term = ONE;
  let sum = ONE;
  for (let n = 1n; term !== 0n; n++) {
    term = -((term * small) >> BITS) / n;
    sum += term;
  }
  for (let i = 0; i < 12; i++) sum = (sum * sum) >> BITS;
  return sum;
}

/** A ratio with more bits than a double has: as a pair of doubles, high and low. */
export interface Exactly {
  readonly high: number;
  readonly low: number;
}

function ratio(numerator: bigint, denominator: bigint): Exactly {
  const quotient = (numerator << BITS) / denominator;
  const high = toNumber(quotient);
  return { high, low: toNumber(quotient - fixed(high)) };
}

/** The nearest double of a whole number of 2^−BITS, but for the last bit. */
function toNumber(value: bigint): number {
  const magnitude = value < 0n ? -value : value;
  const excess = BigInt(Math.max(0, magnitude.toString(2).length - 60));
  const number = scale(Number(magnitude >> excess), Number(excess - BITS));
  return value < 0n ? -number : number;
}

function scale(number: number, exponent: number): number {
  const half = Math.trunc(exponent / 2);
  return number * 2 ** half * 2 ** (exponent - half);
}

export function sigmoidExactly(z: number): Exactly {
  const e = exponentialOfMinus(fixed(Math.abs(z)));
  return ratio(z < 0 ? e : ONE, ONE + e);
}

export function tanhExactly(z: number): Exactly {
  const e = exponentialOfMinus(fixed(2 * Math.abs(z)));
  const { high, low } = ratio(ONE - e, ONE + e);
  return z < 0 ? { high: -high, low: -low } : { high, low };
}

/** The distance of a result from the true value, in units of the last place of the true value. */
export function ulps(value: number, { high, low }: Exactly): number {
  const bits = new BigUint64Array(new Float64Array([Math.abs(high)]).buffer);
  bits[0] += 1n;
  const next = new Float64Array(bits.buffer)[0];
  return Math.abs(value - high - low) / (next - Math.abs(high));
}

/** The same for a float32, whose true value a double holds with many more bits. */
export function ulpsOfFloat32(value: number, exact: number): number {
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.abs(exact))));
  return Math.abs(value - exact) / 2 ** (exponent - 23);
}
