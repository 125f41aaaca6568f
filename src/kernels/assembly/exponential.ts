import { madd } from './vector';

/**
 * e^x in pieces: x = n · ln 2 + r with |r| ≤ ln 2 / 2, then e^x = 2^n · (1 + p) with
 *
 *     p = e^r − 1 = r + r² · q(r)
 *
 * q is a polynomial through Chebyshev nodes. ln 2 is split in two, so that n · LN2_HIGH is exact. 2^n is split in
 * two as well, so that results below the smallest normal number are rounded once. The constants lie in memory:
 * a vector that is loaded and spread costs less than one that V8 builds anew each time.
 */

const F64 = memory.data<f64>(
  [
    1.4426950408889634, // 1 / ln 2
    6755399441055744.0, // 1.5 · 2^52: adding it rounds to a whole number, which is then in the low bits
    -0.6931471803691238, // −LN2_HIGH
    -1.9082149292705877e-10, // −LN2_LOW
    -746.0, // e^−746 is 0 in float64
    1.0, 2.0, -0.0,
    0.50000000000000010314, 0.1666666666666666746, 0.041666666666623820532, 0.0083333333333300381973,
    0.0013888888917367080562, 0.00019841269863171556026, 0.000024801521057868205199, 2.7557268276905696187e-6,
    2.7620201591031548778e-7, 2.5100472505694995992e-8,
    40.0,
    // About 1 / sum, which is enough for the correction of a last digit: for sums from 1 to 2, and from 2 to 4.
    0.7, 4.0, 0.36,
  ],
  16,
);
const INTEGERS = memory.data<i64>([1023, 0x4338000000000000], 16); // exponent bias; the bits of 1.5 · 2^52

// @ts-ignore: decorator
@inline
function constant(index: i32): v128 {
  return v128.load64_splat(F64 + ((<usize>index) << 3));
}

// @ts-ignore: decorator
@inline
export function one(): v128 {
  return constant(5);
}

// @ts-ignore: decorator
@inline
export function signBit(): v128 {
  return constant(7);
}

/** n of the decomposition, as a number plus 1.5 · 2^52. */
// @ts-ignore: decorator
@inline
function shiftedExponent(x: v128): v128 {
  return madd<f64>(x, constant(0), constant(1));
}

/** p = e^r − 1. */
// @ts-ignore: decorator
@inline
function remainder(x: v128, z: v128): v128 {
  const n = v128.sub<f64>(z, constant(1));
  const high = madd<f64>(n, constant(2), x); // exact
  const r = madd<f64>(n, constant(3), high);
  const lost = madd<f64>(n, constant(3), v128.sub<f64>(high, r)); // what rounding r left out
  let q = madd<f64>(constant(17), r, constant(16));
  q = madd<f64>(q, r, constant(15));
  q = madd<f64>(q, r, constant(14));
  q = madd<f64>(q, r, constant(13));
  q = madd<f64>(q, r, constant(12));
  q = madd<f64>(q, r, constant(11));
  q = madd<f64>(q, r, constant(10));
  q = madd<f64>(q, r, constant(9));
  q = madd<f64>(q, r, constant(8));
  return v128.add<f64>(r, madd<f64>(v128.mul<f64>(r, r), q, lost));
}

/** e^x, lane by lane, for x ≤ 0; NaN stays NaN, what is below −746 gives 0. */
// @ts-ignore: decorator
@inline
export function exponential(x: v128): v128 {
  const clamped = f64x2.pmax(x, constant(4));
  const z = shiftedExponent(clamped);
  const p = remainder(clamped, z);
  const bias = v128.load64_splat(INTEGERS);
  const n = i64x2.sub(z, v128.load64_splat(INTEGERS, 8));
  const half = i64x2.shr_s(n, 1);
  const first = i64x2.shl(i64x2.add(half, bias), 52);
  const second = i64x2.shl(i64x2.add(i64x2.sub(n, half), bias), 52);
  return v128.mul<f64>(madd<f64>(first, p, first), second);
}

/** σ(x) = 1 / (1 + e^−|x|), and for x < 0 e^−|x| times that. */
// @ts-ignore: decorator
@inline
export function sigmoid(x: v128): v128 {
  const e = exponential(v128.or(x, signBit()));
  const numerator = v128.bitselect(e, one(), v128.lt<f64>(x, v128.xor(x, x)));
  const sum = v128.add<f64>(one(), e);
  const lost = v128.sub<f64>(e, v128.sub<f64>(sum, one())); // what rounding the sum left out
  const y = v128.div<f64>(numerator, sum);
  return v128.sub<f64>(y, v128.mul<f64>(v128.mul<f64>(y, lost), constant(19)));
}

/** tanh(x) = t / (t + 2) with the sign of x, where t = e^(2|x|) − 1 keeps all its digits near 0. */
// @ts-ignore: decorator
@inline
export function hyperbolicTangent(x: v128): v128 {
  const size = v128.andnot(x, signBit());
  // Beyond 2|x| = 40 the result is 1 in float64.
  const clamped = f64x2.pmin(v128.add<f64>(size, size), constant(18));
  const z = shiftedExponent(clamped);
  const p = remainder(clamped, z);
  const scale = i64x2.shl(i64x2.add(z, v128.load64_splat(INTEGERS)), 52);
  const t = madd<f64>(scale, p, v128.sub<f64>(scale, one()));
  const sum = v128.add<f64>(constant(6), t);
  const lost = v128.and(v128.sub<f64>(t, v128.sub<f64>(sum, constant(6))), v128.lt<f64>(sum, constant(20)));
  const y = v128.div<f64>(t, sum);
  const corrected = v128.sub<f64>(y, v128.mul<f64>(v128.mul<f64>(y, lost), constant(21)));
  return v128.or(corrected, v128.and(x, signBit()));
}
