import { multiplyHigh, powerRoundedUp } from './powers';

/**
 * Doubles as the shortest text that reads back to the same double, in the form of JavaScript's Number::toString, −0
 * as -0. The digits are found by Schubfach (Raffaello Giulietti, "The Schubfach way to render doubles", 2021).
 */

/** The digits found, as a whole number, and the power of ten they are multiplied by. */
let found: u64 = 0;
let foundExponent: i32 = 0;

/** Writes a finite double at `to`; returns the address behind it. */
function writeNumber(value: f64, to: usize): usize {
  const bits = reinterpret<u64>(value);
  let at = to;
  if (bits >> 63) {
    store<u8>(at, 0x2d);
    at++;
  }
  const size = abs(value);
  if (size < 1000.0) {
    const whole = <u32>size;
    if (<f64>whole == size) return writeSmall(whole, at);
  }
  findShortest(bits);
  return writeFound(at);
}

/** 0 … 999 */
// @ts-ignore: decorator
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
 * The shortest digits within the interval of numbers that round to the double c · 2^q, the nearest of them to it.
 * Everything is computed on four times the value, scaled by a power of ten so that the interval is about one to ten
 * units wide.
 */
function findShortest(bits: u64): void {
  const fraction = bits & 0xfffffffffffff;
  const biased = <i32>((bits >> 52) & 0x7ff);
  const c = biased == 0 ? fraction : fraction | 0x10000000000000;
  const q = biased == 0 ? -1074 : biased - 1075;
  if (q <= 0 && q > -53 && (c & ((<u64>1 << <u64>(-q)) - 1)) == 0) {
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
  const powerLow = load<u64>(power);
  const powerHigh = load<u64>(power, 8);
  const lower = scaled(powerLow, powerHigh, lowest << shift) + isOdd;
  const value = scaled(powerLow, powerHigh, middle << shift);
  const upper = scaled(powerLow, powerHigh, highest << shift) - isOdd;

  const s = value >> 2;
  if (s >= 10) {
    // One digit less, if that stays inside.
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

/** The high 64 bits of power · x, 128 by 64 bits, with the last bit set if anything was cut off ("round to odd"). */
// @ts-ignore: decorator
@inline
function scaled(powerLow: u64, powerHigh: u64, x: u64): u64 {
  const below = multiplyHigh(powerLow, x);
  const low = powerHigh * x;
  const high = multiplyHigh(powerHigh, x);
  const sum = below + low;
  return (high + <u64>(sum < low)) | <u64>(sum > 1);
}

/** 17 digits, the most that a double needs, with room to copy more than there are. */
const DIGITS: usize = memory.data(64, 16);

/** Writes `found` · 10^foundExponent the way JavaScript does. */
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

  if (n > 0 && n <= 21) {
    if (count <= n) {
      copyDigits(to, digits);
      for (let i = count; i < n; i++) store<u8>(to + <usize>i, 0x30);
      return to + <usize>n;
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

/** Copies 24 bytes: as many digits as there can be, and what is behind them, which is overwritten later. */
// @ts-ignore: decorator
@inline
function copyDigits(to: usize, from: usize): void {
  v128.store(to, v128.load(from));
  store<u64>(to + 16, load<u64>(from + 16));
}

/** Eight digits of a number, one a byte, the first one in the lowest byte: 12345678 → 0x0807060504030201. */
// @ts-ignore: decorator
@inline
function spread(n: u32): u64 {
  const thousands = n / 10000;
  const fours = <u64>thousands | (<u64>(n - thousands * 10000) << 32);
  const hundreds = ((fours * 10486) >> 20) & 0x0000007f0000007f;
  const pairs = hundreds | ((fours - 100 * hundreds) << 16);
  const tens = ((pairs * 103) >> 10) & 0x000f000f000f000f;
  return tens | ((pairs - 10 * tens) << 8);
}

/** Writes a tensor of three axes, the last one contiguous, as nested arrays. Returns the address behind it. */
export function writeArrays(data: usize, n0: i32, n1: i32, n2: i32, to: usize): usize {
  let at = to;
  let from = data;
  for (let i = 0; i < n0; i++) {
    store<u8>(at++, i == 0 ? 0x5b : 0x2c);
    for (let j = 0; j < n1; j++) {
      store<u8>(at++, j == 0 ? 0x5b : 0x2c);
      for (let k = 0; k < n2; k++) {
        store<u8>(at++, k == 0 ? 0x5b : 0x2c);
        at = writeNumber(load<f64>(from), at);
        from += 8;
      }
      store<u8>(at++, 0x5d);
    }
    store<u8>(at++, 0x5d);
  }
  store<u8>(at++, 0x5d);
  return at;
}
