import { compareDigits } from './compare';
import { areEightDigits, areZeros, eightDigits } from './digits';
import { CHECKPOINT_BYTES, MOST_RANK } from '../limits';
import { multiplyHigh, powerCutOff, powerRoundedUp } from './powers';

/**
 * Reads nested arrays of numbers, from text to doubles (T = f64) or floats (T = f32). The reader gives up at the first byte
 * that is wrong. Then the host reads the same bytes with its plain reader, which explains what is wrong.
 *
 * A zero byte must follow the text; it ends every loop.
 */

/** A function of the host, which throws if the numbers are no longer wanted. */
// @ts-expect-error: decorator
@external("env", "checkpoint")
declare function checkpoint(): void;

/** The rank and the shape of the tensor that was read, for the host. Each number has 32 bits. */
export const RESULT: usize = memory.data(64, 16);
const SHAPE: usize = RESULT + 4;
const COUNTS: usize = memory.data(64, 16); // how many elements of each open array were read

/**
 * Reads one tensor.
 *
 * @param text address of the first bracket      @param out where the numbers go, in the order of the text
 * @return the address behind the last bracket, or 0 if the reader gave up
 */
export function readArrays<T>(text: usize, out: usize): usize {
  let p = text;
  let to = out;
  let due = text + CHECKPOINT_BYTES;
  let depth = 0;
  let rank = 0;
  memory.fill(SHAPE, 0, 4 * MOST_RANK);
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
    p = readNumber<T>(p, to);
    if (p == 0) return 0;
    to += sizeof<T>();
    if (p >= due) {
      checkpoint();
      due = p + CHECKPOINT_BYTES;
    }
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
        return p;
      }
    }
  }
  return 0;
}

// @ts-expect-error: decorator
@inline
function skipSpace(p: usize): usize {
  let c = load<u8>(p);
  while (c == 0x20 || c == 0x0a || c == 0x0d || c == 0x09) {
    p++;
    c = load<u8>(p);
  }
  return p;
}

/** Reads one number and stores it. Returns the address behind it, or 0 if there is no number or it is too large. */
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
  let e: i64 = 0;

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
    digits += <i32>(p - fraction);
    e = -<i64>(p - fraction);
  }
  const behind = p;

  if ((load<u8>(p) | 0x20) == 0x65) {
    p++;
    const sign = load<u8>(p);
    if (sign == 0x2d || sign == 0x2b) p++;
    digit = <u32>load<u8>(p) - 0x30;
    if (digit > 9) return 0;
    let exponent: i64 = 0;
    do {
      if (exponent < 1000000000000) exponent = exponent * 10 + digit;
      p++;
      digit = <u32>load<u8>(p) - 0x30;
    } while (digit <= 9);
    e += sign == 0x2d ? -exponent : exponent;
  }

  const value = digits > 19 ? nearestToMany<T>(first, behind, digits, e) : nearest<T>(w, e);
  if (value == <T>Infinity) return 0;
  store<T>(out, negative ? -value : value);
  return p;
}

/**
 * The number nearest to more than 19 digits. Usually the first 19 digits, as they are and plus 1, round to the same number.
 * If they round to two numbers, all digits are compared with the middle between these.
 *
 * @param start address of the first digit     @param behind address behind the last digit     @param e exponent of the last digit
 */
function nearestToMany<T>(start: usize, behind: usize, count: i32, e: i64): T {
  let first = start;
  let digits = count;
  while (load<u8>(first) == 0x30 || load<u8>(first) == 0x2e) {
    if (load<u8>(first) == 0x30) digits--; // zeros in front do not count
    first++;
  }
  let w: u64 = 0;
  let left = digits;
  let p = first;
  while (p < behind && digits - left < 19) {
    const digit = <u32>load<u8>(p) - 0x30;
    p++;
    if (digit > 9) continue; // the point
    w = w * 10 + digit;
    left--;
  }
  const below = nearest<T>(w, e + left);
  if (areZeros(p, behind)) return below;
  const above = nearest<T>(w + 1, e + left);
  if (above == below) return below;

  const bits = sizeof<T>() == 8 ? reinterpret<u64>(<f64>below) : <u64>reinterpret<u32>(<f32>below);
  const implicit = <u64>1 << fractionBits<T>();
  const fraction = bits & (implicit - 1);
  const biased = bits >> fractionBits<T>();
  const c = biased == 0 ? fraction : fraction | implicit;
  const q = <i32>max<u64>(biased, 1) - exponentBias<T>() - <i32>fractionBits<T>(); // `below` is c · 2^q
  const side = compareDigits(w, p, behind, left, e, 2 * c + 1, q - 1);
  return side < 0 || (side == 0 && (c & 1) == 0) ? below : above;
}

const SMALL_POWERS = memory.data<f64>(
  [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22],
  16,
);

// @ts-expect-error: decorator
@inline
function fractionBits<T>(): u64 {
  return sizeof<T>() == 8 ? 52 : 23;
}

// @ts-expect-error: decorator
@inline
function exponentBias<T>(): i32 {
  return sizeof<T>() == 8 ? 1023 : 127;
}

/** For every w of 64 bits, w · 10^e rounds to 0 if e is below this power. */
// @ts-expect-error: decorator
@inline
function leastPower<T>(): i64 {
  return sizeof<T>() == 8 ? -342 : -64;
}
/** For every w of 64 bits but 0, w · 10^e is too large if e is above this power. */
// @ts-expect-error: decorator
@inline
function mostPower<T>(): i64 {
  return sizeof<T>() == 8 ? 308 : 38;
}

/**
 * The number nearest to w · 10^e, ties to even. Short numbers take one division or multiplication, which is correctly
 * rounded (Clinger, 1990). The others come from the product of w with 128 bits of 10^e (Lemire, "Number parsing at a
 * gigabyte per second", 2021); 128 bits are always enough (Mushtak and Lemire, "Fast number parsing without fallback", 2023).
 */
function nearest<T>(w: u64, e: i64): T {
  if (sizeof<T>() == 8) {
    if (w <= 0x20000000000000 && e >= -22 && e <= 22) {
      const power = load<f64>(SMALL_POWERS + ((<usize>abs(e)) << 3));
      return <T>(e < 0 ? <f64>w / power : <f64>w * power);
    }
  } else {
    if (w <= 0x1000000 && e >= -10 && e <= 10) {
      const power = <f32>load<f64>(SMALL_POWERS + ((<usize>abs(e)) << 3));
      return <T>(e < 0 ? <f32>w / power : <f32>w * power);
    }
  }
  if (w == 0 || e < leastPower<T>()) return <T>0;
  if (e > mostPower<T>()) return <T>Infinity;

  const zeros = clz(w);
  const mantissa = w << zeros;
  // A power below 1 is never exact. It is rounded up, so that the product is never too small and whole results come out whole.
  const power = e < 0 ? powerRoundedUp(<i32>e) : powerCutOff(<i32>e);
  let high = multiplyHigh(mantissa, load<u64>(power, 8));
  let low = mantissa * load<u64>(power, 8);
  const lost: u64 = 61 - fractionBits<T>(); // bits of `high` that are not kept if its highest bit is 0
  const areOnes = ~high << (64 - lost) == 0;
  if (areOnes && low + mantissa < mantissa) {
    // The lower half of the power can change the bits that are kept.
    const below = multiplyHigh(mantissa, load<u64>(power));
    low += below;
    if (low < below) high++;
  }

  const top = high >> 63;
  let bits = high >> (top + lost); // one bit more than is kept
  // In the middle between two numbers, the even one is nearest. If it is below, the last bit goes.
  if (low <= 1 && (bits & 3) == 1 && canBeMiddle<T>(e) && bits << (top + lost) == high) bits--;
  let exponent = <i32>((217706 * e) >> 16) + 63 + exponentBias<T>() + <i32>top - <i32>zeros;
  if (exponent < 1) {
    // Subnormal numbers keep fewer bits. A w of 64 bits is never in the middle between two of them.
    if (exponent < -62) return <T>0;
    bits >>= <u64>(1 - exponent);
    exponent = 1;
  }
  if (exponent >= 2 * exponentBias<T>() + 1) return <T>Infinity;
  // The highest bit is not stored; it adds 1 to the exponent.
  const result = (<u64>(exponent - 1) << fractionBits<T>()) + ((bits + (bits & 1)) >> 1);
  return sizeof<T>() == 8 ? <T>reinterpret<f64>(result) : <T>reinterpret<f32>(<u32>result);
}

/** Can a whole number of 64 bits times 10^e be in the middle between two numbers? For other e, 5^|e| has too many bits. */
// @ts-expect-error: decorator
@inline
function canBeMiddle<T>(e: i64): bool {
  return sizeof<T>() == 8 ? e >= -4 && e <= 23 : e >= -17 && e <= 10;
}
