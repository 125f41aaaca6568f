import { describe, expect, it } from 'vitest';
import { nearestFloat32 } from '../../../src/formats/json/float32.js';
import { codec } from '../../ask.js';
import { numbersFrom } from '../../values.js';

/**
 * Numbers that are hard to round, read by the fast road alone, against JavaScript's own and, for float32, against
 * nearestFloat32, which float32.test.ts holds to an oracle of its own kind.
 */

const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
const next = numbersFrom(seed, 2 ** 31);
const below = (n: number) => Math.floor((next() / 2 ** 32 + 0.5) * n);
const digits = (count: number) =>
  `${1 + below(9)}${Array.from({ length: count - 1 }, () => below(10)).join('')}`.slice(0, count);
const repeat = <Item>(count: number, make: (i: number) => Item) => Array.from({ length: count }, (_, i) => make(i));

const TYPES = [
  { dtype: 'float64', fractionBits: 52n, bias: 1023n, nearest: Number },
  { dtype: 'float32', fractionBits: 23n, bias: 127n, nearest: nearestFloat32 },
] as const;
type Type = (typeof TYPES)[number];

function expectRead({ dtype, nearest }: Type, texts: readonly string[]): void {
  const expected = texts.map(nearest);
  for (let from = 0; from < texts.length; from += 5000) {
    const chunk = texts.slice(from, from + 5000).filter((_, i) => Number.isFinite(expected[from + i]));
    const wanted = expected.slice(from, from + 5000).filter(Number.isFinite);
    codec.open(Buffer.from(`[${chunk.join()}]`), dtype);
    const data = codec.readTensor(0)?.tensor.data ?? [];
    expect(data.length).toBe(chunk.length);
    const wrong = wanted.findIndex((value, i) => !Object.is(value, data[i]));
    expect(wrong, `${chunk[wrong]} was read as ${data[wrong]}, but is ${wanted[wrong]}`).toBe(-1);
  }
  for (const text of texts.filter((_, i) => !Number.isFinite(expected[i]))) {
    codec.open(Buffer.from(`[${text}]`), dtype);
    expect(codec.readTensor(0), `${text} is too large`).toBeUndefined();
  }
}

/** A positive number of the type as c · 2^q, from its bits. */
function parts({ fractionBits, bias }: Type, bits: bigint): [c: bigint, q: number] {
  const biased = bits >> fractionBits;
  const fraction = bits & ((1n << fractionBits) - 1n);
  const c = biased === 0n ? fraction : fraction | (1n << fractionBits);
  return [c, Number((biased || 1n) - bias - fractionBits)];
}

/** c · 2^q, all digits of it. */
function exactly(c: bigint, q: number): string {
  if (q >= 0) return String(c << BigInt(q));
  const all = String(c * 5n ** BigInt(-q)).padStart(1 - q, '0');
  return `${all.slice(0, q)}.${all.slice(q)}`;
}

/** A text that is as long, and less by 1 in its last place. */
function less(text: string): string {
  const point = text.indexOf('.');
  const all = String(BigInt(text.replace('.', '')) - 1n).padStart(text.length - (point < 0 ? 0 : 1), '0');
  return point < 0 ? all : `${all.slice(0, point)}.${all.slice(point)}`;
}

/** Bits of positive finite numbers: of each exponent, and those around the landmarks. */
function someBits({ fractionBits, bias }: Type, perExponent: number): bigint[] {
  const random = () => (BigInt(below(2 ** 26)) << 26n) | BigInt(below(2 ** 26));
  const largest = ((2n * bias + 1n) << fractionBits) - 1n;
  const all = repeat(Number(2n * bias) + 1, BigInt).flatMap((biased) =>
    repeat(perExponent, () => (biased << fractionBits) | (random() & ((1n << fractionBits) - 1n))),
  );
  const landmarks = [0n, 1n, 2n, (1n << fractionBits) - 1n, 1n << fractionBits, bias << fractionBits, largest];
  return [...all, ...landmarks, ...landmarks.slice(1).map((bits) => bits - 1n)];
}

describe.each(TYPES)(`$dtype, from texts that are hard to round (FUZZ_SEED=${seed})`, (type) => {
  const { dtype, fractionBits, bias } = type;

  it('the middle of two numbers to the even one, by all digits that it has, and by those behind them', () => {
    const middles = someBits(type, dtype === 'float64' ? 2 : 10).map((bits) => {
      const [c, q] = parts(type, bits);
      return exactly(2n * c + 1n, q - 1);
    });
    const point = (text: string) => (text.includes('.') ? text : `${text}.`);
    expectRead(type, middles);
    expectRead(type, middles.map(less));
    expectRead(
      type,
      middles.map((text) => `${point(text)}1`),
    );
    expectRead(
      type,
      middles.map((text) => `${point(text)}${'0'.repeat(below(1000))}1`),
    );
    expectRead(
      type,
      middles.map((text) => `-${point(text)}${'0'.repeat(1 + below(1000))}`),
    );
    // Without a point, with it in other places, and cut.
    expectRead(
      type,
      middles.map((text) => `${text.replace('.', '').replace(/^0+(?=.)/, '')}e-${point(text).split('.')[1].length}`),
    );
    expectRead(
      type,
      middles.map((text) => `0.${text.replace('.', '')}e${text.split('.')[0].length}`),
    );
    expectRead(
      type,
      middles.map((text) => text.slice(0, text.search(/[1-9]/) + 19 + below(60)).replace(/\.$/, '')),
    );
  });

  it('below the normal numbers, of every length', () => {
    const numbers = repeat(Number(fractionBits), (length) =>
      repeat(40, () => parts(type, (1n << BigInt(length)) | BigInt(below(2 ** Math.min(length, 31))))),
    ).flat();
    const values = numbers.map(([c, q]) => Number(exactly(c, q)));
    expectRead(type, values.map(String));
    for (const count of [16, 17, 18, 19, 25]) {
      expectRead(
        type,
        values.map((value) => value.toExponential(count)),
      );
    }
    expectRead(
      type,
      numbers.map(([c, q]) => exactly(c, q)),
    );
  });

  it('products with powers of ten that come nearest to a middle, of all whole numbers of 64 bits', () => {
    const texts: string[] = [];
    const least = 1n << (fractionBits + 1n); // middles are odd multiples of 2^q from here up to twice it
    for (let e = -345; e <= 310; e++) {
      for (let k = -10n; k <= 64n - fractionBits; k++) {
        // w · 10^e = p · 2^q for w of 2^(53 + k) or so: the best p / w are the convergents of 10^e / 2^q.
        const shift = BigInt(Math.floor(e * Math.log2(10))) + k;
        let a = (10n ** BigInt(Math.max(e, 0))) << (shift < 0n ? -shift : 0n);
        let b = (10n ** BigInt(Math.max(-e, 0))) << (shift > 0n ? shift : 0n);
        let [p, lastP, w, lastW] = [1n, 0n, 0n, 1n];
        while (b > 0n && w < 1n << 64n) {
          const quotient = a / b;
          [a, b] = [b, a % b];
          [p, lastP] = [quotient * p + lastP, p];
          [w, lastW] = [quotient * w + lastW, w];
          if ((p & 1n) === 1n && p >= least && p < 2n * least && w < 1n << 64n)
            texts.push(`${w}e${e}`, `${w + 1n}e${e}`);
        }
      }
    }
    expect(texts.length).toBeGreaterThan(1000);
    expectRead(type, texts);
  });

  it('products with powers of ten that are a middle', () => {
    const texts = repeat(24, (power) => {
      const fives = 5n ** BigInt(power);
      const odd = (from: bigint) => (from / fives + BigInt(below(1000))) | 1n;
      // w · 10^power, and w · 2^power · 5^power · 10^-power, of one bit more than the type has.
      const w = odd(1n << (fractionBits + 1n));
      const c = (1n << (fractionBits + 1n)) + BigInt(2 * below(1000) + 1);
      return [`${w}e${power}`, `${w * 1024n}e${power}`, `${c * fives}e-${power}`, `${c * fives * 2n}e-${power}`];
    }).flat();
    expectRead(type, texts);
  });

  it('of 17 to 22 digits with every exponent, and beyond all of them', () => {
    const [most, least] = dtype === 'float64' ? [310, -345] : [40, -70];
    for (const count of [1, 17, 18, 19, 20, 21, 22]) {
      const exponents = repeat(most - least, (i) => least + i - count);
      expectRead(
        type,
        exponents.map((e) => `${digits(count)}e${e}`),
      );
      expectRead(
        type,
        exponents.map((e) => `${'9'.repeat(count)}e${e}`),
      );
      expectRead(
        type,
        exponents.map((e) => `0.00${digits(count)}e${e}`),
      );
      expectRead(
        type,
        exponents.map((e) => `${digits(count)}.${digits(20)}e${e}`),
      );
    }
    const huge = [
      '400',
      '99999',
      '2147483648',
      '4294967297',
      '9223372036854775808',
      '18446744073709551617',
      '9'.repeat(40),
    ];
    expectRead(
      type,
      huge.flatMap((e) => [
        `1e-${e}`,
        `-${digits(25)}e-${e}`,
        `0e${e}`,
        `0.${'0'.repeat(30)}e${e}`,
        `1e${e}`,
        `${digits(30)}e${e}`,
      ]),
    );
  });

  it('with long rows of zeros', () => {
    const texts = repeat(300, () => {
      const [zeros, some] = [1 + below(3000), digits(1 + below(40))];
      const e = below(dtype === 'float64' ? 280 : 30);
      return [
        `0.${'0'.repeat(zeros)}${some}e${zeros + e}`,
        `${some}${'0'.repeat(zeros)}e-${zeros + e}`,
        `0.${'0'.repeat(zeros)}${some}e-${e}`,
        `${some}.${'0'.repeat(zeros)}${some}`,
        `${some}.${'0'.repeat(zeros)}`,
      ];
    }).flat();
    expectRead(type, texts);
  });

  it('around the largest number', () => {
    const [c, q] = parts(type, ((2n * bias + 1n) << fractionBits) - 1n);
    const middle = exactly(2n * c + 1n, q - 1);
    expect(type.nearest(less(middle))).toBe(Number(exactly(c, q)));
    expect(type.nearest(middle)).toBe(Infinity);
    expectRead(type, [exactly(c, q), less(middle), `${less(middle)}.${'9'.repeat(1000)}`, middle, `${middle}.0001`]);
  });
});
