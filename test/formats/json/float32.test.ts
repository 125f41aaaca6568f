import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadJsonCodec } from '../../../src/formats/json/codec.js';
import { nearestFloat32, shortestFloat32 } from '../../../src/formats/json/float32.js';
import { cases } from '../../cases.js';
import { numbersFrom } from '../../values.js';
import { written } from './written.js';

const codec = loadJsonCodec();
const bytes = new Uint8Array(4_000_000);
const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);

const MAX = 2 ** 128 - 2 ** 104;
const LEAST = 2 ** -149;

function writeFast(values: Float32Array): string {
  const end = codec.writeTensor({ shape: [values.length], strides: [1], data: values }, bytes, 0) ?? 0;
  return Buffer.from(bytes.subarray(0, end)).toString('latin1');
}

function readFast(texts: readonly string[]): Float32Array {
  codec.open(Buffer.from(`[${texts.join()}]`), 'float32');
  const data = codec.readTensor(0)?.tensor.data;
  expect(data).toBeInstanceOf(Float32Array);
  return data as Float32Array;
}

function expectReadsBack(values: Float32Array, texts: readonly string[]): void {
  const back = readFast(texts);
  const wrong = values.findIndex((value, i) => !Object.is(value, back[i]));
  expect(wrong, `${texts[wrong]} was read as ${back[wrong]}`).toBe(-1);
}

/** Written alike by both roads, and read back to the same bits. */
function expectBothWays(values: Float32Array): void {
  const texts = writeFast(values).slice(1, -1).split(',');
  const wrong = texts.findIndex((text, i) => text !== written(shortestFloat32(values[i])));
  expect(wrong, `${values[wrong]} was written as ${texts[wrong]}`).toBe(-1);
  expectReadsBack(values, texts);
}

function patterns(length: number, next: () => number): Float32Array {
  return new Float32Array(Int32Array.from({ length }, next).buffer).filter(Number.isFinite);
}

/** The float32 below or above, by its bits. */
function step(value: number, by: number): number {
  const one = new Float32Array([value]);
  new Int32Array(one.buffer)[0] += by;
  return one[0];
}

/** The exact decimal digits of a whole multiple of 2^−150, and of one that is 10^−200 larger or smaller. */
function exactly(value: number, change = 0): string {
  const digits = 200;
  const scaled = (BigInt(value * 2 ** 150) * 10n ** BigInt(digits)) / 2n ** 150n + BigInt(change);
  const text = scaled.toString().padStart(digits + 1, '0');
  return `${text.slice(0, -digits)}.${text.slice(-digits)}`;
}

/**
 * An oracle of its own kind: the float32 nearest to a text, by searching all of them for the one whose interval, with
 * its ends in whole numbers, holds it.
 */
function searched(text: string): number {
  const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE](.+))?$/.exec(text) ?? [];
  const power = Number(exponent) - fraction.length;
  const numerator = BigInt(whole + fraction) * 10n ** BigInt(Math.max(power, 0)) * 2n ** 150n;
  const denominator = 10n ** BigInt(Math.max(-power, 0));
  let [low, high] = [0, 0x7f800000]; // bits; the text is at or above the first and below the second
  const halves = (bits: number) => BigInt((bits === 0x7f800000 ? 2 ** 128 : step(0, bits)) * 2 ** 150);
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (numerator >= halves(middle) * denominator) low = middle;
    else high = middle;
  }
  const twice = 2n * numerator;
  const ends = (halves(low) + halves(high)) * denominator;
  const bits = twice < ends || (twice === ends && low % 2 === 0) ? low : high;
  return sign === '-' ? -step(0, bits) : step(0, bits);
}

describe('float32 is written with the shortest digits that read back, by both roads alike', () => {
  it(`on random bit patterns, half a million or a part of them (FUZZ_SEED=${seed})`, () => {
    const next = numbersFrom(seed, 2 ** 31);
    for (let round = 0; round < cases(5); round++) expectBothWays(patterns(100_000, next));
  }, 120_000);

  it(`reads back what is written, on four million or a part of them (FUZZ_SEED=${seed})`, () => {
    const next = numbersFrom(~seed, 2 ** 31);
    for (let round = 0; round < cases(40); round++) {
      const values = patterns(100_000, next);
      expectReadsBack(values, writeFast(values).slice(1, -1).split(','));
    }
  });

  it('at powers of two, where the numbers below are closer, powers of ten, and beside both', () => {
    const powers = [
      ...Array.from({ length: 277 }, (_, i) => 2 ** (i - 149)),
      ...Array.from({ length: 84 }, (_, i) => Math.fround(Number(`1e${i - 45}`))),
    ].filter((value) => value > 0);
    const values = powers.flatMap((value) => [-2, -1, 0, 1, 2].map((by) => step(value, by))).filter(Number.isFinite);
    expectBothWays(Float32Array.from(values.flatMap((value) => [value, -value])));
  });

  it('on denormals, whole numbers, fractions, and halves between two texts', () => {
    const forms: ((i: number) => number)[] = [
      (i) => i * LEAST,
      (i) => 2 ** -126 - i * LEAST,
      (i) => i,
      (i) => 2 ** 24 - i,
      (i) => 2 ** 24 + 2 * i,
      (i) => 2 ** 21 + i / 4,
      (i) => i / 1000,
      (i) => 9.9e20 + i * 2 ** 46,
      (i) => step(MAX, -i),
    ];
    for (const form of forms) expectBothWays(Float32Array.from({ length: 5000 }, (_, i) => form(i)));
  });

  it.each([
    [Math.fround(0.1), '0.1'],
    [Math.fround(1 / 3), '0.33333334'],
    [1, '1.0'],
    [-999, '-999.0'],
    [1000, '1000.0'],
    [16777216, '16777216.0'],
    [2097152.25, '2097152.2'],
    [2 ** 30, '1073741800.0'],
    [Math.fround(9.999999e15), '9999999000000000.0'],
    [Math.fround(1e16), '1e+16'],
    [Math.fround(1e21), '1e+21'],
    [Math.fround(1e20), '1e+20'],
    [Math.fround(1e-7), '1e-7'],
    [Math.fround(1e-6), '0.000001'],
    [-0, '-0.0'],
    [0, '0.0'],
    [LEAST, '1e-45'],
    [-MAX, '-3.4028235e+38'],
    [2 ** -126, '1.1754944e-38'],
    [Math.fround(9.5367431640625e-7), '9.536743e-7'],
  ])('%d as %s', (value, text) => {
    expectBothWays(Float32Array.of(value));
    expect(writeFast(Float32Array.of(value))).toBe(`[${text}]`);
  });
});

describe('float32 is rounded once from its text, by both roads alike', () => {
  const expectNearest = (texts: readonly string[]) => {
    const read = readFast(texts);
    texts.forEach((text, i) => {
      const expected = searched(text);
      if (!Object.is(nearestFloat32(text), expected)) expect(nearestFloat32(text), `plain: ${text}`).toBe(expected);
      if (!Object.is(read[i], expected)) expect(read[i], `fast: ${text}`).toBe(expected);
    });
  };
  const chunks = (texts: readonly string[]) => {
    for (let from = 0; from < texts.length; from += 500) expectNearest(texts.slice(from, from + 500));
  };

  it('on random digits, few and many', () => {
    const digits = fc.stringMatching(/^-?(0|[1-9]\d{0,25})(\.\d{1,40})?([eE][+-]?[1-3]?\d)?$/);
    const small = digits.filter((text) => Number.isFinite(searched(text)));
    fc.assert(fc.property(fc.array(small, { minLength: 1, maxLength: 50 }), expectNearest), { numRuns: 300 });
  });

  it('exactly at, just above and just below the middle of two float32', () => {
    const next = numbersFrom(seed, 2 ** 31);
    const random = [...patterns(2000, next)].map(Math.abs);
    const edges = [0, LEAST, 2 ** -126, step(2 ** -126, -1), 1, 2 ** 24, 2 ** 24 + 2, step(MAX, -1)];
    const middles = [...random, ...edges].filter((value) => value < MAX).map((value) => (value + step(value, 1)) / 2);
    chunks(middles.flatMap((middle) => [-1, 0, 1].map((change) => exactly(middle, change))));
    // The same with as many digits as a double needs: the double is the middle, the text mostly is not.
    chunks(middles.map(String));
    // And with 19 digits.
    chunks(middles.map((middle) => middle.toExponential(18)));
  });

  it('on whole numbers and decimals that are middles', () => {
    const next = numbersFrom(seed, 2 ** 15);
    const whole = Array.from({ length: 3000 }, () => 2 ** 24 + 2 * Math.floor(Math.abs(next())) + 1);
    chunks(whole.flatMap((n) => [`${n}`, `${n}.0`, `-${n}.000000000000000000001`, `${n}e0`, `0.${n}e8`, `${n}000e-3`]));
    chunks(whole.flatMap((n) => [String(n / 8), String(n / 1024), `${n - 1}.99999999999999999999`]));
  });

  it.each([
    ['16777217', 16777216],
    ['16777217.0000000000000000000000001', 16777218],
    ['16777216.9999999999999999999999999', 16777216],
    ['1.00000017881393432617187499', Math.fround(1 + 2 ** -23)],
    ['1.00000017881393432617187500', Math.fround(1 + 2 ** -22)],
    ['7.006492321624085e-46', 0],
    ['7.0064923216240854e-46', LEAST],
    ['1e-400', 0],
    ['-1e-46', -0],
    ['-0', -0],
    ['-0.0', -0],
    ['3.4028235677973365e38', MAX],
    [`340282356779733661637539395458142568447.${'9'.repeat(1000)}`, MAX],
    [`0.${'0'.repeat(5000)}1e5001`, 1],
    [`16777217.${'0'.repeat(5000)}1`, 16777218],
    [`16777217.${'0'.repeat(5000)}`, 16777216],
  ])('%s', (text, expected) => {
    expect(Object.is(nearestFloat32(text), expected), `plain: ${nearestFloat32(text)}`).toBe(true);
    expect(Object.is(readFast([text])[0], expected), `fast: ${readFast([text])[0]}`).toBe(true);
  });

  it.each(['340282356779733661637539395458142568448', '3.4028235677973367e38', '1e39', '-1e39', '1e999'])(
    '%s is too large',
    (text) => {
      expect(nearestFloat32(text)).toBe(text.startsWith('-') ? -Infinity : Infinity);
      codec.open(Buffer.from(`[${text}]`), 'float32');
      expect(codec.readTensor(0)).toBeUndefined();
    },
  );
});
