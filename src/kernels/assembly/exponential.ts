import { madd, VECTOR } from './vector';

/**
 * e^x in pieces: x = n · ln 2 + r with |r| ≤ ln 2 / 2, then e^x = 2^n · (1 + p) with
 *
 *     p = e^r − 1 = r + r² · q(r)
 *
 * q is a polynomial through Chebyshev nodes. ln 2 is split in two, so that n · LN2_HIGH is exact. 2^n is split in
 * two as well, so that results below the smallest normal number are rounded once. The constants lie in memory:
 * a vector that is loaded and spread costs less than one that V8 builds anew each time.
 *
 *     σ(x) = 1 / (1 + e^−|x|), and for x < 0 e^−|x| times that
 *     tanh(x) = t / (t + 2) with the sign of x, where t = e^(2|x|) − 1 keeps all its digits near 0
 *
 * Two vectors at a time: one does not wait for the other, and V8 can fuse them where they share their constants.
 */

const F64 = memory.data<f64>(
  [
    1.4426950408889634, // 1 / ln 2
    6755399441055744.0, // 1.5 · 2^52: adding it rounds to a whole number, which is then in the low bits
    -0.6931471803691238, // −LN2_HIGH
    -1.9082149292705877e-10, // −LN2_LOW
    -746.0, // e^−746 is 0
    40.0, // tanh(20) is 1
    1.0, 2.0, 4.0, -0.0,
    0.5, -0.5, -0.125,
    0.50000000000000010314, 0.1666666666666666746, 0.041666666666623820532, 0.0083333333333300381973,
    0.0013888888917367080562, 0.00019841269863171556026, 0.000024801521057868205199, 2.7557268276905696187e-6,
    2.7620201591031548778e-7, 2.5100472505694995992e-8,
  ],
  16,
);
const F32 = memory.data<f32>(
  [
    1.4426950408889634,
    12582912.0, // 1.5 · 2^23
    -0.693145751953125,
    -1.42860682030941723e-6,
    -106.0,
    20.0,
    1.0, 2.0, 4.0, -0.0,
    0.5, -0.5, -0.125,
    0.5, 0.16666576666119928306, 0.041666554212984150315, 0.0083632328836826181975, 0.001392625083149761171,
  ],
  16,
);
const INVERSE_LN2 = 0;
const ROUNDING = 1;
const LN2_HIGH = 2;
const LN2_LOW = 3;
const LEAST = 4;
const TANH_MOST = 5;
const ONE = 6;
const TWO = 7;
const FOUR = 8;
const SIGN = 9;
const HALF = 10;
const MINUS_HALF = 11;
const MINUS_EIGHTH = 12;
const Q = 13; // and what follows: the coefficients of q

// The exponent's bias.
const I64 = memory.data<i64>([1023], 16);
const I32 = memory.data<i32>([127], 16);

// @ts-ignore: decorator
@inline
function constant<T>(index: i32): v128 {
  return v128.load_splat<T>((sizeof<T>() == 8 ? F64 : F32) + <usize>index * sizeof<T>());
}

// @ts-ignore: decorator
@inline
function exponentBias<T>(): v128 {
  return sizeof<T>() == 8 ? v128.load64_splat(I64) : v128.load32_splat(I32);
}

// @ts-ignore: decorator
@inline
function plus<T>(a: v128, b: v128): v128 {
  return sizeof<T>() == 8 ? i64x2.add(a, b) : i32x4.add(a, b);
}

// @ts-ignore: decorator
@inline
function minus<T>(a: v128, b: v128): v128 {
  return sizeof<T>() == 8 ? i64x2.sub(a, b) : i32x4.sub(a, b);
}

/** To the bits of the exponent. */
// @ts-ignore: decorator
@inline
function toExponent<T>(n: v128): v128 {
  return sizeof<T>() == 8 ? i64x2.shl(n, 52) : i32x4.shl(n, 23);
}

/** e^x for x ≤ 0; NaN stays NaN. */
export function exponentialAll<T>(v: usize, length: i32): void {
  run<T>(EXPONENTIAL, v, v, length);
}

export function sigmoidAll<T>(v: usize, length: i32): void {
  run<T>(SIGMOID, v, v, length);
}

export function tanhAll<T>(v: usize, out: usize, length: i32): void {
  run<T>(TANH, v, out, length);
}

const EXPONENTIAL = 0;
const SIGMOID = 1;
const TANH = 2;

/** What does not fill two vectors is computed number by number, so that each gives the same bits wherever it stands. */
// @ts-ignore: decorator
@inline
function run<T>(what: i32, v: usize, out: usize, length: i32): void {
  const bytes = <usize>length * sizeof<T>();
  let at: usize = 0;
  for (; at + 2 * VECTOR <= bytes; at += 2 * VECTOR) pair<T>(what, v + at, out + at, true);
  for (; at < bytes; at += sizeof<T>()) pair<T>(what, v + at, out + at, false);
}

/** Two vectors, or one number in all lanes. */
// @ts-ignore: decorator
@inline
function pair<T>(what: i32, v: usize, out: usize, whole: bool): void {
  const x0 = whole ? v128.load(v, 0) : v128.load_splat<T>(v), x1 = whole ? v128.load(v, 16) : x0;
  const one = constant<T>(ONE), sign = constant<T>(SIGN);

  let u0: v128, u1: v128;
  if (what == TANH) {
    const most = constant<T>(TANH_MOST);
    const size0 = v128.andnot(x0, sign), size1 = v128.andnot(x1, sign);
    u0 = v128.pmin<T>(v128.add<T>(size0, size0), most), u1 = v128.pmin<T>(v128.add<T>(size1, size1), most);
  } else {
    const least = constant<T>(LEAST);
    const minus0 = what == SIGMOID ? v128.or(x0, sign) : x0, minus1 = what == SIGMOID ? v128.or(x1, sign) : x1;
    u0 = v128.pmax<T>(minus0, least), u1 = v128.pmax<T>(minus1, least);
  }

  // n, in the low bits of z, and r with what its rounding leaves out.
  const inverse = constant<T>(INVERSE_LN2), rounding = constant<T>(ROUNDING);
  const z0 = madd<T>(u0, inverse, rounding), z1 = madd<T>(u1, inverse, rounding);
  const n0 = v128.sub<T>(z0, rounding), n1 = v128.sub<T>(z1, rounding);
  const ln2High = constant<T>(LN2_HIGH), ln2Low = constant<T>(LN2_LOW);
  const high0 = madd<T>(n0, ln2High, u0), high1 = madd<T>(n1, ln2High, u1); // exact
  const r0 = madd<T>(n0, ln2Low, high0), r1 = madd<T>(n1, ln2Low, high1);
  const low0 = madd<T>(n0, ln2Low, v128.sub<T>(high0, r0)), low1 = madd<T>(n1, ln2Low, v128.sub<T>(high1, r1));

  const last = constant<T>(sizeof<T>() == 8 ? Q + 9 : Q + 4);
  let q0 = last, q1 = last;
  if (sizeof<T>() == 8) {
    const c8 = constant<T>(Q + 8);
    q0 = madd<T>(q0, r0, c8), q1 = madd<T>(q1, r1, c8);
    const c7 = constant<T>(Q + 7);
    q0 = madd<T>(q0, r0, c7), q1 = madd<T>(q1, r1, c7);
    const c6 = constant<T>(Q + 6);
    q0 = madd<T>(q0, r0, c6), q1 = madd<T>(q1, r1, c6);
    const c5 = constant<T>(Q + 5);
    q0 = madd<T>(q0, r0, c5), q1 = madd<T>(q1, r1, c5);
    const c4 = constant<T>(Q + 4);
    q0 = madd<T>(q0, r0, c4), q1 = madd<T>(q1, r1, c4);
  }
  const c3 = constant<T>(Q + 3);
  q0 = madd<T>(q0, r0, c3), q1 = madd<T>(q1, r1, c3);
  const c2 = constant<T>(Q + 2);
  q0 = madd<T>(q0, r0, c2), q1 = madd<T>(q1, r1, c2);
  const c1 = constant<T>(Q + 1);
  q0 = madd<T>(q0, r0, c1), q1 = madd<T>(q1, r1, c1);
  const c0 = constant<T>(Q);
  q0 = madd<T>(q0, r0, c0), q1 = madd<T>(q1, r1, c0);
  // e^r = 1 + r + rest
  const rest0 = madd<T>(v128.mul<T>(r0, r0), q0, low0), rest1 = madd<T>(v128.mul<T>(r1, r1), q1, low1);

  const bias = exponentBias<T>();
  let y0: v128, y1: v128;
  if (what == TANH) {
    const scale0 = toExponent<T>(plus<T>(z0, bias)), scale1 = toExponent<T>(plus<T>(z1, bias));
    const linear0 = madd<T>(scale0, r0, v128.sub<T>(scale0, one)), linear1 = madd<T>(scale1, r1, v128.sub<T>(scale1, one));
    const t0 = madd<T>(scale0, rest0, linear0), t1 = madd<T>(scale1, rest1, linear1);
    const two = constant<T>(TWO);
    const sum0 = v128.add<T>(two, t0), sum1 = v128.add<T>(two, t1);
    // From sum = 4 on as 1 − 2 / sum, which never falls; below as t / sum with what rounding left out, of t and of the sum.
    const four = constant<T>(FOUR);
    const isSmall0 = v128.lt<T>(sum0, four), isSmall1 = v128.lt<T>(sum1, four);
    y0 = v128.div<T>(v128.bitselect(t0, two, isSmall0), sum0), y1 = v128.div<T>(v128.bitselect(t1, two, isSmall1), sum1);
    const lower0 = madd<T>(scale0, rest0, v128.sub<T>(linear0, t0)), lower1 = madd<T>(scale1, rest1, v128.sub<T>(linear1, t1));
    const lost0 = v128.add<T>(lower0, v128.sub<T>(t0, v128.sub<T>(sum0, two)));
    const lost1 = v128.add<T>(lower1, v128.sub<T>(t1, v128.sub<T>(sum1, two)));
    // About 1 / sum, for sums from 2 to 4: enough for a last digit.
    const eighth = constant<T>(MINUS_EIGHTH), half = constant<T>(HALF);
    const about0 = madd<T>(t0, eighth, half), about1 = madd<T>(t1, eighth, half);
    const small0 = madd<T>(v128.sub<T>(lower0, v128.mul<T>(y0, lost0)), about0, y0);
    const small1 = madd<T>(v128.sub<T>(lower1, v128.mul<T>(y1, lost1)), about1, y1);
    y0 = v128.bitselect(small0, v128.sub<T>(one, y0), isSmall0);
    y1 = v128.bitselect(small1, v128.sub<T>(one, y1), isSmall1);
    y0 = v128.or(y0, v128.and(x0, sign)), y1 = v128.or(y1, v128.and(x1, sign));
  } else {
    const p0 = v128.add<T>(r0, rest0), p1 = v128.add<T>(r1, rest1);
    // 2^n in two factors: half of n, to a whole number, and the rest.
    const half = constant<T>(HALF);
    const half0 = madd<T>(n0, half, rounding), half1 = madd<T>(n1, half, rounding);
    const first0 = toExponent<T>(plus<T>(half0, bias)), first1 = toExponent<T>(plus<T>(half1, bias));
    const second0 = toExponent<T>(plus<T>(minus<T>(z0, half0), bias));
    const second1 = toExponent<T>(plus<T>(minus<T>(z1, half1), bias));
    y0 = v128.mul<T>(madd<T>(first0, p0, first0), second0), y1 = v128.mul<T>(madd<T>(first1, p1, first1), second1);
    if (what == SIGMOID) {
      const zero = v128.xor(one, one);
      const sum0 = v128.add<T>(one, y0), sum1 = v128.add<T>(one, y1);
      const lost0 = v128.sub<T>(y0, v128.sub<T>(sum0, one)), lost1 = v128.sub<T>(y1, v128.sub<T>(sum1, one));
      const minusHalf = constant<T>(MINUS_HALF);
      const about0 = madd<T>(y0, minusHalf, one), about1 = madd<T>(y1, minusHalf, one); // 1 / sum
      y0 = v128.div<T>(v128.bitselect(y0, one, v128.lt<T>(x0, zero)), sum0);
      y1 = v128.div<T>(v128.bitselect(y1, one, v128.lt<T>(x1, zero)), sum1);
      y0 = v128.sub<T>(y0, v128.mul<T>(v128.mul<T>(y0, lost0), about0));
      y1 = v128.sub<T>(y1, v128.mul<T>(v128.mul<T>(y1, lost1), about1));
    }
  }

  if (whole) {
    v128.store(out, y0, 0);
    v128.store(out, y1, 16);
  } else {
    v128.store_lane<T>(out, y0, 0);
  }
}
