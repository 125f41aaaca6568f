import { multiplyHigh, powerRoundedUp } from './powers';

/**
 * Writes doubles (T = f64) or floats (T = f32) with the fewest digits that read back to the same number, in the same form
 * as the plain writer in ../writer.ts. The digits are found by Schubfach (Raffaello Giulietti, "The Schubfach way to render
 * doubles", 2021).
 */

/** The result of findShortest: its digits as a whole number, and the power of ten that they are multiplied by. */
let found: u64 = 0;
let foundExponent: i32 = 0;

/** Writes a finite number at `to`; returns the address behind it. */
function writeNumber<T>(value: T, to: usize): usize {
  let at = to;
  const isNegative = sizeof<T>() == 8 ? reinterpret<i64>(<f64>value) < 0 : reinterpret<i32>(<f32>value) < 0;
  if (isNegative) {
    store<u8>(at, 0x2d);
    at++;
  }
  const size = abs<T>(value);
  if (size < <T>1000) {
    const whole = <u32>size;
    if (<T>whole == size) {
      at = writeSmall(whole, at);
      store<u16>(at, POINT_ZERO);
      return at + 2;
    }
  }
  findShortest<T>(size);
  return writeFound(at);
}

/** The text ".0". */
const POINT_ZERO: u16 = 0x302e;
/** Numbers with more digits before the point are written with an exponent. */
const MOST_WHOLE_DIGITS: i32 = 16;

/** Writes a whole number from 0 to 999. */
// @ts-expect-error: decorator
@inline
function writeSmall(n: u32, to: usize): usize {
  let at = to;
  if (n >= 100) {
    store<u8>(at, 0x30 + n / 100);
    at++;
  }
  if (n >= 10) {
    store<u8>(at, 0x30 + ((n / 10) % 10));
    at++;
  }
  store<u8>(at, 0x30 + (n % 10));
  return at + 1;
}

/**
 * Finds the fewest digits within the interval of numbers that round to c · 2^q, and of these the nearest. All numbers are
 * four times as large as they should be, and scaled by a power of ten so that the interval is about one to ten units wide.
 */
function findShortest<T>(size: T): void {
  const fractionBits: u64 = sizeof<T>() == 8 ? 52 : 23;
  const bits: u64 = sizeof<T>() == 8 ? reinterpret<u64>(<f64>size) : <u64>reinterpret<u32>(<f32>size);
  const fraction = bits & ((<u64>1 << fractionBits) - 1);
  const biased = <i32>(bits >> fractionBits);
  const leastExponent = sizeof<T>() == 8 ? -1074 : -149;
  const c = biased == 0 ? fraction : fraction | (<u64>1 << fractionBits);
  const q = biased == 0 ? leastExponent : biased - 1 + leastExponent;
  if (q <= 0 && q >= -<i32>fractionBits && (c & ((<u64>1 << <u64>(-q)) - 1)) == 0) {
    found = c >> <u64>(-q); // a whole number
    foundExponent = 0;
    return;
  }
  const isLowerCloser = fraction == 0 && biased > 1; // at a power of two
  const isOdd = c & 1;
  const lowest = (c << 2) - 2 + <u64>isLowerCloser;
  const middle = c << 2;
  const highest = (c << 2) + 2;

  const k = (q * 1262611 - (isLowerCloser ? 524031 : 0)) >> 22; // ⌊log10 2^q⌋
  const shift = <u64>(q + ((-k * 1741647) >> 19) + 1);
  const power = powerRoundedUp(-k);
  const lower = scaled<T>(power, lowest << shift) + isOdd;
  const value = scaled<T>(power, middle << shift);
  const upper = scaled<T>(power, highest << shift) - isOdd;

  const s = value >> 2;
  if (s >= 10) {
    // One digit fewer, if that stays inside the interval.
    const tens = s / 10;
    const isBelowInside = lower <= 40 * tens;
    const isAboveInside = 40 * tens + 40 <= upper;
    if (isBelowInside != isAboveInside) {
      found = tens + <u64>isAboveInside;
      foundExponent = k + 1;
      return;
    }
  }
  const isBelowInside = lower <= 4 * s;
  const isAboveInside = 4 * s + 4 <= upper;
  const half = 4 * s + 2;
  const isAboveNearer = value > half || (value == half && (s & 1) == 1);
  found = s + <u64>(isBelowInside != isAboveInside ? isAboveInside : isAboveNearer);
  foundExponent = k;
}

/**
 * The high bits of power · x, with the last bit set if anything was cut off ("round to odd"). For doubles, the power has 128
 * bits and x has 64; for floats, they have 64 and 32.
 */
// @ts-expect-error: decorator
@inline
function scaled<T>(power: usize, x: u64): u64 {
  const powerLow = load<u64>(power);
  const powerHigh = load<u64>(power, 8);
  if (sizeof<T>() == 8) {
    const below = multiplyHigh(powerLow, x);
    const low = powerHigh * x;
    const high = multiplyHigh(powerHigh, x);
    const sum = below + low;
    return (high + <u64>(sum < low)) | <u64>(sum > 1);
  }
  const roundedUp = powerHigh + <u64>(powerLow != 0);
  const sum = (roundedUp >> 32) * x + (((roundedUp & 0xffffffff) * x) >> 32);
  return (sum >> 32) | <u64>(<u32>sum > 1);
}

/** The 17 digits that a double needs at most, with room behind them, since digits are copied in whole vectors. */
const DIGITS: usize = memory.data(64, 16);

/** Writes `found` · 10^foundExponent. */
function writeFound(to: usize): usize {
  const high = found / 100000000;
  const last = spread(<u32>(found - high * 100000000));
  const top = <u32>(high / 100000000);
  const middle = spread(<u32>(high - <u64>top * 100000000));
  store<u8>(DIGITS, <u8>(0x30 + top));
  store<u64>(DIGITS + 1, middle | 0x3030303030303030);
  store<u64>(DIGITS + 9, last | 0x3030303030303030);

  const zerosBefore = top ? 0 : middle ? 1 + <i32>(ctz(middle) >> 3) : 9 + <i32>(ctz(last) >> 3);
  const zerosBehind = last ? <i32>(clz(last) >> 3) : middle ? 8 + <i32>(clz(middle) >> 3) : 16;
  const digits = DIGITS + <usize>zerosBefore;
  const count = 17 - zerosBefore - zerosBehind;
  const n = 17 - zerosBefore + foundExponent; // the value is 0.digits · 10^n

  if (n > 0 && n <= MOST_WHOLE_DIGITS) {
    if (count <= n) {
      copyDigits(to, digits);
      for (let i = count; i < n; i++) store<u8>(to + <usize>i, 0x30);
      store<u16>(to + <usize>n, POINT_ZERO);
      return to + <usize>n + 2;
    }
    copyDigits(to, digits);
    store<u8>(to + <usize>n, 0x2e);
    copyDigits(to + <usize>n + 1, digits + <usize>n);
    return to + <usize>count + 1;
  }
  if (n > -6 && n <= 0) {
    store<u64>(to, 0x3030303030302e30); // 0.000000
    copyDigits(to + <usize>(2 - n), digits);
    return to + <usize>(2 - n + count);
  }
  let at = to;
  store<u8>(at, load<u8>(digits));
  at++;
  if (count > 1) {
    store<u8>(at, 0x2e);
    copyDigits(at + 1, digits + 1);
    at += <usize>count;
  }
  const exponent = n - 1;
  store<u8>(at, 0x65);
  store<u8>(at + 1, exponent < 0 ? 0x2d : 0x2b);
  return writeSmall(<u32>abs(exponent), at + 2);
}

/** Copies 24 bytes: all digits, and bytes behind them that are overwritten later. */
// @ts-expect-error: decorator
@inline
function copyDigits(to: usize, from: usize): void {
  v128.store(to, v128.load(from));
  store<u64>(to + 16, load<u64>(from + 16));
}

/** The eight digits of a number, one in each byte, the first one in the lowest: 12345678 → 0x0807060504030201. */
// @ts-expect-error: decorator
@inline
function spread(n: u32): u64 {
  const thousands = n / 10000;
  const fours = <u64>thousands | (<u64>(n - thousands * 10000) << 32);
  const hundreds = ((fours * 10486) >> 20) & 0x0000007f0000007f;
  const pairs = hundreds | ((fours - 100 * hundreds) << 16);
  const tens = ((pairs * 103) >> 10) & 0x000f000f000f000f;
  return tens | ((pairs - 10 * tens) << 8);
}

/** The rank and the shape of the tensor to write, from the host. Each number has 32 bits. */
export const LAYOUT: usize = memory.data(64, 16);
const SHAPE: usize = LAYOUT + 4;
const INDEX: usize = memory.data(64, 16); // the index of the next number
/** Brackets to open before the next number. */
let unopened: i32 = 0;

/** Must be called before the first number of each tensor. */
export function beginArrays(): void {
  unopened = load<i32>(LAYOUT);
  memory.fill(INDEX, 0, 64);
}

/**
 * Writes the next `count` numbers of a tensor, in row-major order, with the brackets around them. Returns the address behind
 * the text.
 */
export function writeNumbers<T>(data: usize, count: i32, to: usize): usize {
  const rank = load<i32>(LAYOUT);
  const end = data + <usize>count * sizeof<T>();
  const last = <usize>(rank - 1) << 2;
  const length = load<i32>(SHAPE + last);
  let at = to;
  let from = data;
  while (from < end) {
    if (unopened > 0 && unopened < rank) store<u8>(at++, 0x2c);
    for (; unopened > 0; unopened--) store<u8>(at++, 0x5b);

    let k = load<i32>(INDEX + last);
    const stop = <i32>min<usize>(<usize>(length - k), (end - from) / sizeof<T>()) + k;
    for (; k < stop; k++) {
      if (k > 0) store<u8>(at++, 0x2c);
      at = writeNumber<T>(load<T>(from), at);
      from += sizeof<T>();
    }
    store<i32>(INDEX + last, k);
    for (let axis = rank - 1; axis >= 0; axis--) {
      const index = INDEX + ((<usize>axis) << 2);
      if (load<i32>(index) < load<i32>(SHAPE + ((<usize>axis) << 2))) break;
      store<u8>(at++, 0x5d);
      store<i32>(index, 0);
      unopened++;
      if (axis > 0) store<i32>(index - 4, load<i32>(index - 4) + 1);
    }
  }
  return at;
}
