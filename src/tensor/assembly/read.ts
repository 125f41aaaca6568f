import { LEAST_POWER, MOST_POWER, multiplyHigh, powerCutOff } from './powers';

/**
 * Nested arrays of numbers, from text to doubles (T = f64) or floats (T = f32). Only what is as it should be is read here: at the first byte that
 * is not, the reader gives up, and the host reads the same bytes again with its plain reader, which explains.
 *
 * The text must be followed by a zero byte, which ends every loop.
 */

const MOST_RANK: i32 = 8;

/** For the host: rank, number of hard numbers, and from byte 8 on the shape; all 32 bits wide. */
export const RESULT: usize = memory.data(64, 16);
const SHAPE: usize = RESULT + 8;
const COUNTS: usize = memory.data(64, 16); // of the elements of each open array

/**
 * Where hard numbers begin (address in the text) and which they are (position): those that this reader cannot
 * round, for the host to read: below the normal doubles, too large, or too close to the middle between two doubles, or
 * two floats, to tell. test/tensor/json-codec.test.ts counts them.
 */
export const HARD: usize = memory.data(8192, 16);
const MOST_HARD: i32 = 1024;

let hardCount: i32 = 0;
/** Set by a number that this reader cannot round. */
let isHard: bool = false;

/**
 * @param text address of the first bracket      @param out where the numbers go, in the order of the text
 * @return the address behind the last bracket, or 0 where it gave up
 */
export function readArrays<T>(text: usize, out: usize): usize {
  let p = text;
  let to = out;
  let depth = 0;
  let rank = 0;
  hardCount = 0;
  memory.fill(SHAPE, 0, 32);
  while (true) {
    p = skipSpace(p);
    if (load<u8>(p) == 0x5b) {
      if (depth == MOST_RANK || (rank > 0 && depth == rank)) return 0;
      store<i32>(COUNTS + ((<usize>depth) << 2), 0);
      depth++;
      p++;
      continue;
    }
    if (rank == 0) rank = depth;
    else if (depth != rank) return 0;
    const start = p;
    isHard = false;
    p = readNumber<T>(p, to);
    if (p == 0) return 0;
    if (isHard) {
      if (hardCount == MOST_HARD) return 0;
      store<u32>(HARD + ((<usize>hardCount) << 3), <u32>start);
      store<u32>(HARD + ((<usize>hardCount) << 3) + 4, <u32>((to - out) / sizeof<T>()));
      hardCount++;
    }
    to += sizeof<T>();
    while (true) {
      const count = COUNTS + ((<usize>(depth - 1)) << 2);
      store<i32>(count, load<i32>(count) + 1);
      p = skipSpace(p);
      const c = load<u8>(p);
      p++;
      if (c == 0x2c) break;
      if (c != 0x5d) return 0;
      depth--;
      const known = SHAPE + ((<usize>depth) << 2);
      if (load<i32>(known) == 0) store<i32>(known, load<i32>(count));
      else if (load<i32>(known) != load<i32>(count)) return 0;
      if (depth == 0) {
        store<i32>(RESULT, rank);
        store<i32>(RESULT + 4, hardCount);
        return p;
      }
    }
  }
  return 0;
}

// @ts-ignore: decorator
@inline
function skipSpace(p: usize): usize {
  let c = load<u8>(p);
  while (c == 0x20 || c == 0x0a || c == 0x0d || c == 0x09) {
    p++;
    c = load<u8>(p);
  }
  return p;
}

/** Reads one number and stores it; returns the address behind it, or 0 where there is none. */
function readNumber<T>(start: usize, out: usize): usize {
  let p = start;
  const negative = load<u8>(p) == 0x2d;
  if (negative) p++;

  let w: u64 = 0; // the digits as a whole number; it overflows where there are more than 19
  const first = p;
  let digit = <u32>load<u8>(p) - 0x30;
  if (digit > 9) return 0;
  if (digit == 0) {
    p++;
  } else {
    do {
      w = w * 10 + digit;
      p++;
      digit = <u32>load<u8>(p) - 0x30;
    } while (digit <= 9);
  }
  let digits = <i32>(p - first);
  let e: i32 = 0;

  if (load<u8>(p) == 0x2e) {
    p++;
    const fraction = p;
    while (areEightDigits(load<u64>(p))) {
      w = w * 100000000 + eightDigits(load<u64>(p));
      p += 8;
    }
    digit = <u32>load<u8>(p) - 0x30;
    while (digit <= 9) {
      w = w * 10 + digit;
      p++;
      digit = <u32>load<u8>(p) - 0x30;
    }
    if (p == fraction) return 0;
    e = -<i32>(p - fraction);
    digits -= e;
  }
  if (digits > 19) {
    // Zeros in front do not count.
    let zero = first;
    while (load<u8>(zero) == 0x30 || load<u8>(zero) == 0x2e) {
      if (load<u8>(zero) == 0x30) digits--;
      zero++;
    }
  }
  const behind = p;

  if ((load<u8>(p) | 0x20) == 0x65) {
    p++;
    const sign = load<u8>(p);
    if (sign == 0x2d || sign == 0x2b) p++;
    digit = <u32>load<u8>(p) - 0x30;
    if (digit > 9) return 0;
    let exponent: i32 = 0;
    do {
      if (exponent < 100000000) exponent = exponent * 10 + digit;
      p++;
      digit = <u32>load<u8>(p) - 0x30;
    } while (digit <= 9);
    e += sign == 0x2d ? -exponent : exponent;
  }

  const value = digits > 19 ? nearestToMany<T>(first, behind, e) : nearest<T>(w, e);
  store<T>(out, negative ? -value : value);
  return p;
}

/**
 * The number nearest to more than 19 digits, where the first 19 tell it: where they, and they with 1 more, are nearest
 * to the same one.
 *
 * @param first address of the first digit     @param behind address behind the last one     @param e of the last one
 */
function nearestToMany<T>(first: usize, behind: usize, e: i32): T {
  let w: u64 = 0;
  let digits = 0;
  let left = 0;
  let areLeftZeros = true;
  for (let p = first; p < behind; p++) {
    const digit = <u32>load<u8>(p) - 0x30;
    if (digit > 9) continue; // the point
    if (digits == 19) {
      left++;
      if (digit != 0) areLeftZeros = false;
    } else if (w > 0 || digit != 0) {
      w = w * 10 + digit;
      digits++;
    }
  }
  const value = nearest<T>(w, e + left);
  if (!areLeftZeros && nearest<T>(w + 1, e + left) != value) isHard = true;
  return value;
}

/** Are all eight bytes of a word digits? (Daniel Lemire, "Quickly parsing eight digits", 2018) */
// @ts-ignore: decorator
@inline
function areEightDigits(word: u64): bool {
  const high = word & 0xf0f0f0f0f0f0f0f0;
  const carried = ((word + 0x0606060606060606) & 0xf0f0f0f0f0f0f0f0) >> 4;
  return (high | carried) == 0x3333333333333333;
}

/** The number that eight digits write, the first one in the lowest byte. */
// @ts-ignore: decorator
@inline
function eightDigits(word: u64): u64 {
  let x = word - 0x3030303030303030;
  x = x * 10 + (x >> 8); // pairs of digits
  const mask: u64 = 0x000000ff000000ff;
  return <u64><u32>(((x & mask) * 0x000f424000000064 + ((x >> 16) & mask) * 0x0000271000000001) >> 32);
}

const SMALL_POWERS = memory.data<f64>(
  [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22],
  16,
);

// @ts-ignore: decorator
@inline
function nearest<T>(w: u64, e: i32): T {
  return sizeof<T>() == 8 ? <T>nearestDouble(w, e) : <T>nearestFloat(w, e);
}

/**
 * The double nearest to w · 10^e, ties to even. Short numbers are exact in one division or multiplication (Clinger,
 * 1990); the others come from the product of w with 128 bits of 10^e (Lemire, "Number parsing at a gigabyte per
 * second", 2021). Where that leaves a doubt, or the result is not a normal number, it is hard.
 */
function nearestDouble(w: u64, e: i32): f64 {
  if (w == 0) return 0;
  if (w <= 0x20000000000000 && e >= -22 && e <= 22) {
    const power = load<f64>(SMALL_POWERS + ((<usize>abs(e)) << 3));
    return e < 0 ? <f64>w / power : <f64>w * power;
  }
  if (e < LEAST_POWER || e > MOST_POWER) return hard();

  const shift = clz(w);
  const mantissa = w << shift;
  const power = powerCutOff(e);
  let high = multiplyHigh(mantissa, load<u64>(power, 8));
  let low = mantissa * load<u64>(power, 8);
  if ((high & 0x1ff) == 0x1ff && low + mantissa < mantissa) {
    // The lower half of the power can change the bits that are kept.
    const below = multiplyHigh(mantissa, load<u64>(power));
    const lowest = mantissa * load<u64>(power);
    const sum = low + below;
    if (sum < low) high++;
    low = sum;
    if ((high & 0x1ff) == 0x1ff && low + 1 == 0 && lowest + mantissa < mantissa) return hard();
  }

  const top = high >> 63;
  let bits = high >> (top + 9); // 54 bits: one more than a double has
  if (low == 0 && bits << (top + 9) == high && (bits & 3) == 1) {
    // In the middle between two doubles, if the power is exact: to the even one, which is below.
    if (load<u64>(power) != 0) return hard();
    bits--;
  }
  bits = (bits + (bits & 1)) >> 1;
  let exponent = <i64>((217706 * e) >> 16) + 1087 - <i64>shift - <i64>(1 ^ top);
  if (bits >> 53) {
    bits >>= 1;
    exponent++;
  }
  if (exponent < 1 || exponent > 2046) return hard();
  return reinterpret<f64>((<u64>exponent << 52) | (bits & 0xfffffffffffff));
}

/**
 * The float nearest to w · 10^e, ties to even: that of the nearest double, unless this one is in the middle between
 * two floats, where the digits may be on either side of it.
 */
// @ts-ignore: decorator
@inline
function nearestFloat(w: u64, e: i32): f32 {
  const double = nearestDouble(w, e);
  const float = <f32>double;
  if (isBetweenFloats(double) && !isExact(double, w, e)) isHard = true;
  if (<f64>float == Infinity) isHard = true;
  return float;
}

/** Is the double as far from one float as from the next? */
// @ts-ignore: decorator
@inline
function isBetweenFloats(double: f64): bool {
  if (double >= reinterpret<f64>(0x3810000000000000)) {
    return (reinterpret<u64>(double) & 0x1fffffff) == 0x10000000; // of 52 bits a float keeps 23
  }
  // Below the normal floats they lie 2^-149 apart.
  const halves = double * reinterpret<f64>(0x4950000000000000); // 2^150
  return halves == floor(halves) && (<u64>halves & 1) == 1;
}

/**
 * Is a double in the middle between two floats w · 10^e exactly? It has 25 bits, 5^11 has 26: their product is exact.
 * Whole numbers beyond 2^24 are often such, and so they are told here.
 */
// @ts-ignore: decorator
@inline
function isExact(double: f64, w: u64, e: i32): bool {
  if (w > 0x20000000000000 || e > 0 || e < -11) return false;
  return double * load<f64>(SMALL_POWERS + ((<usize>-e) << 3)) == <f64>w;
}

// @ts-ignore: decorator
@inline
function hard(): f64 {
  isHard = true;
  return 0;
}
