import { areEightDigits, areZeros, eightDigits } from './digits';

/**
 * Compares decimal digits with a binary number exactly, for the few numbers that the first 19 digits leave in doubt. Both
 * are whole numbers of several 64-bit words, the lowest word first.
 */

/** No number in the middle between two doubles has more than 768 digits, not counting leading zeros. */
const ENOUGH_DIGITS: i32 = 800;
/** Room for 64 words: ENOUGH_DIGITS take 44, and the number on the other side takes as many. */
const LEFT: usize = memory.data(512, 16);
const RIGHT: usize = memory.data(512, 16);

/**
 * The sign of digits · 10^e − m · 2^q. The two numbers are nearly equal.
 *
 * @param w the first 19 digits, as a whole number     @param next address of the other digits     @param behind address behind them
 * @param count how many other digits there are     @param e exponent of the last digit
 */
export function compareDigits(w: u64, next: usize, behind: usize, count: i32, e: i64, m: u64, q: i32): i32 {
  store<u64>(LEFT, w);
  let left = 1; // words
  let rest = count;
  let p = next;
  while (p < behind && count - rest < ENOUGH_DIGITS) {
    const word = load<u64>(p);
    if (areEightDigits(word)) {
      left = multiply(LEFT, left, 100000000, eightDigits(word));
      rest -= 8;
      p += 8;
    } else {
      const digit = <u32>load<u8>(p) - 0x30;
      p++;
      if (digit > 9) continue; // the point
      left = multiply(LEFT, left, 10, digit);
      rest--;
    }
  }
  store<u64>(RIGHT, m);
  let right = 1;

  // 10^power = 5^power · 2^power: each factor on the side where it is a whole number.
  const power = <i32>(e + rest);
  if (power > 0) left = multiplyByFives(LEFT, left, power);
  else right = multiplyByFives(RIGHT, right, -power);
  if (q < power) left = multiplyByTwos(LEFT, left, power - q);
  else right = multiplyByTwos(RIGHT, right, q - power);

  const sign = compare(left, right);
  // Of the digits that were left out, it matters only whether one is not 0.
  return sign == 0 && !areZeros(p, behind) ? 1 : sign;
}

/** Computes number · factor + summand in place. Returns the number of words of the result. */
function multiply(number: usize, words: i32, factor: u64, summand: u64): i32 {
  let carry = summand;
  const end = number + ((<usize>words) << 3);
  for (let p = number; p < end; p += 8) {
    const word = load<u64>(p);
    const low = (word & 0xffffffff) * factor + carry;
    const high = (word >> 32) * factor + (low >> 32);
    store<u64>(p, (low & 0xffffffff) | (high << 32));
    carry = high >> 32;
  }
  if (carry == 0) return words;
  store<u64>(end, carry);
  return words + 1;
}

/** 5^13, the greatest power of 5 in 32 bits. */
const FIVES: u64 = 1220703125;

function multiplyByFives(number: usize, words: i32, power: i32): i32 {
  let rest = power;
  let length = words;
  for (; rest >= 13; rest -= 13) length = multiply(number, length, FIVES, 0);
  if (rest == 0) return length;
  let factor: u64 = 1;
  for (; rest > 0; rest--) factor *= 5;
  return multiply(number, length, factor, 0);
}

function multiplyByTwos(number: usize, words: i32, power: i32): i32 {
  const whole = power >> 6;
  let length = words;
  for (let rest = power & 63; rest > 0; rest -= 31)
    length = multiply(number, length, (<u64>1) << (<u64>min(rest, 31)), 0);
  if (whole == 0) return length;
  for (let i = length - 1; i >= 0; i--) {
    const word = number + ((<usize>i) << 3);
    store<u64>(word + ((<usize>whole) << 3), load<u64>(word));
  }
  for (let i = 0; i < whole; i++) store<u64>(number + ((<usize>i) << 3), 0);
  return length + whole;
}

/** The sign of LEFT − RIGHT, which have `left` and `right` words. */
function compare(left: i32, right: i32): i32 {
  for (let i = max(left, right) - 1; i >= 0; i--) {
    const a = i < left ? load<u64>(LEFT + ((<usize>i) << 3)) : 0;
    const b = i < right ? load<u64>(RIGHT + ((<usize>i) << 3)) : 0;
    if (a != b) return a < b ? -1 : 1;
  }
  return 0;
}
