import fc from 'fast-check';

/** Texts of numbers that are hard to read right, all of them JSON. */

const digits = (most: number) => fc.stringMatching(/^\d+$/, { maxLength: most });
const sign = fc.constantFrom('', '', '-');
const exponent = fc.oneof(
  { weight: 3, arbitrary: fc.constant('') },
  fc.tuple(fc.constantFrom('e', 'E', 'e+', 'e-'), digits(4)).map((parts) => parts.join('')),
  fc.tuple(fc.constantFrom('e', 'e-'), fc.integer({ min: 290, max: 345 })).map((parts) => parts.join('')),
  fc.tuple(fc.constantFrom('e', 'e-'), fc.integer({ min: 36, max: 50 })).map((parts) => parts.join('')),
);
const whole = fc.oneof(
  fc.constant('0'),
  fc.tuple(fc.integer({ min: 1, max: 9 }), digits(40)).map((parts) => parts.join('')),
);
const fraction = fc.oneof(
  fc.constant(''),
  digits(60).map((text) => `.${text}`),
  fc.tuple(fc.nat(800), digits(20)).map(([zeros, text]) => `.${'0'.repeat(zeros)}${text}`),
);

/** Any bits: doubles of every exponent, and floats of every exponent. */
const doubles = fc
  .bigInt({ min: 0n, max: 2n ** 64n - 1n })
  .map((bits) => new Float64Array(new BigUint64Array([bits]).buffer)[0])
  .filter(Number.isFinite);
const floats = fc
  .integer({ min: 0, max: 2 ** 32 - 1 })
  .map((bits) => new Float32Array(new Uint32Array([bits]).buffer)[0])
  .filter(Number.isFinite);

/** The digits of a number in the middle between two doubles, or between two floats, and just beside it. */
const middles = fc
  .tuple(fc.oneof(doubles, floats), fc.boolean(), fc.constantFrom('', '1', '0000000000000000000001', '9'))
  .map(([value, float, more]) => middle(Math.abs(value), float) + more);

/** Exact decimal digits, with an exponent, of the middle above a number; what more is appended makes it larger. */
function middle(value: number, float: boolean): string {
  const above = float ? nextFloat(Math.fround(value)) : nextDouble(value);
  const low = float ? Math.fround(value) : value;
  if (!Number.isFinite(above) || !Number.isFinite(low)) return '179769313486231580793';
  // Both are whole multiples of 2^-1074; 2^-1075 · 10^1075 is 5^1075.
  const units = scaled(low) + scaled(above);
  const all = (units * 5n ** 1075n).toString().padStart(1076, '0');
  return `${all.slice(0, -1075)}.${all.slice(-1075)}`.replace(/^0+(?=\d)/, '');
}

function scaled(value: number): bigint {
  const bits = new BigUint64Array(new Float64Array([value]).buffer)[0];
  const exponentBits = Number((bits >> 52n) & 0x7ffn);
  const mantissa = (bits & (2n ** 52n - 1n)) | (exponentBits > 0 ? 2n ** 52n : 0n);
  return mantissa << BigInt(Math.max(0, exponentBits - 1));
}

function nextDouble(value: number): number {
  const one = new Float64Array([value]);
  new BigInt64Array(one.buffer)[0]++;
  return one[0];
}

function nextFloat(value: number): number {
  const one = new Float32Array([value]);
  new Int32Array(one.buffer)[0]++;
  return one[0];
}

const LANDMARKS = [
  '-0',
  '-0.0',
  '0e0',
  '-0e-999999',
  '1e-400',
  '1e400',
  '-1e999',
  '5e-324',
  '2.4703282292062327e-324',
  '2.4703282292062328e-324',
  '2.2250738585072011e-308',
  '1.7976931348623157e308',
  '1.7976931348623158e308',
  '1.7976931348623159e308',
  '3.4028235677973366e38',
  '3.4028235677973365e38',
  '7.006492321624085e-46',
  '7.006492321624086e-46',
  '1.1754943508222875e-38',
  '9007199254740993',
  '16777217',
  '0.1',
  '1E5',
  '1e+5',
  '1e00000000000000000005',
  '1e99999999999999999999',
  '1e-99999999999999999999',
];

export const numberTexts: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...LANDMARKS),
  fc.tuple(sign, whole, fraction, exponent).map((parts) => parts.join('')),
  doubles.map((value) => (Object.is(value, -0) ? '-0.0' : String(value))),
  floats.map((value) => (Object.is(value, -0) ? '-0.0' : String(value))),
  doubles.map((value) => value.toExponential(18)),
  { weight: 1, arbitrary: fc.tuple(sign, middles).map((parts) => parts.join('')) },
);

export const anyDouble = fc.oneof(doubles, fc.constantFrom(-0, 0, 5e-324, -5e-324, Number.MAX_VALUE), fc.integer());
export const anyFloat = fc.oneof(
  floats,
  fc.constantFrom(-0, 0, 2 ** -149, 2 ** 128 - 2 ** 104),
  fc.integer().map(Math.fround),
);
