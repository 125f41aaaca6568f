import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonCodec } from '../../../src/formats/json/codec.js';
import { readJson } from '../../../src/formats/json/reader.js';
import { longestSlice } from '../../../src/formats/json/writer.js';
import { stridesFor } from '../../../src/tensor/shapes.js';
import { group } from '../../../src/tensor/signature.js';
import { arrayOf, elements, type Tensor } from '../../../src/tensor/tensor.js';
import { codec, writeJson } from '../../ask.js';
import { tensor } from '../../symbols.js';
import { numbersFrom } from '../../values.js';
import { written } from './written.js';

/** Doubles of every exponent: their bits are random. */
const anyDouble = fc
  .bigInt({ min: 0n, max: 2n ** 64n - 1n })
  .map((bits) => new Float64Array(new BigUint64Array([bits]).buffer)[0])
  .filter(Number.isFinite);

const shapeAndNumbers = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 }).chain((shape) => {
  const length = elements(shape);
  return fc.record({
    shape: fc.constant(shape),
    numbers: fc.array(fc.oneof(anyDouble, fc.integer(), fc.constant(-0)), { minLength: length, maxLength: length }),
  });
});

const LETTERS = [['p'], ['p', 'm'], ['p', 'm', 'T_x']];

const roads = [
  { road: 'plain', codec: undefined },
  { road: 'fast', codec },
];

const writtenBy = (codec: JsonCodec | undefined, value: Tensor, member = tensor('p', 'any')) =>
  new TextDecoder().decode(writeJson(group('Answer', '', { w: member }), { w: value }, codec));

describe.each(roads)('JSON writer, $road road', ({ codec }) => {
  it('writes the same numbers as JSON.stringify, each with a point or an exponent', () => {
    fc.assert(
      fc.property(shapeAndNumbers, ({ shape, numbers }) => {
        const member = tensor(LETTERS[shape.length - 1].join(' ').replace('m', 'q').replace('T_x', 'r'), 'row-major');
        const data = Float64Array.from(numbers);
        const text = writtenBy(codec, { shape, strides: stridesFor(member, shape), data }, member);
        const nest = (axis: number, at: number): string =>
          axis === shape.length
            ? written(numbers[at])
            : `[${Array.from({ length: shape[axis] }, (_, i) => nest(axis + 1, at * shape[axis] + i))}]`;
        expect(text).toBe(`{"w":${nest(0, 0)}}`);
        expect(JSON.stringify(JSON.parse(text).w.flat(2))).toBe(JSON.stringify(numbers));
        expect(text.match(/-?\d[\d.e+-]*/g)?.every((number) => /[.e]/.test(number))).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('reads back to the same bits, −0 and denormals included, whatever the layout', () => {
    fc.assert(
      fc.property(shapeAndNumbers, ({ shape, numbers }) => {
        const member = tensor(LETTERS[shape.length - 1].join(' '), 'time-major');
        const data = Float64Array.from(numbers);
        const strides = stridesFor(member, shape);
        const bytes = writeJson(group('Answer', '', { w: member }), { w: { shape, strides, data } }, codec);
        const { w } = readJson(bytes, group('Request', '', { w: member }), codec);
        const back = w as Tensor;
        expect(back.shape).toEqual(shape);
        // Row-major position r of what was read is the position that the strides give to the same index.
        back.data.forEach((value, r) => {
          const index = shape.map((n, axis) => Math.floor(r / back.strides[axis]) % n);
          const at = index.reduce((sum, i, axis) => sum + i * strides[axis], 0);
          expect(Object.is(value, data[at])).toBe(true);
        });
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ['float64', -1.2345678901234567e-6, '-0.0000012345678901234567'],
    ['float32', Math.fround(-9.999999e15), '-9999999000000000.0'],
  ] as const)('has room for the longest text of a %s, and nothing to spare', (dtype, value, text) => {
    const tensor = { shape: [1000], strides: [1], data: new arrayOf[dtype](1000).fill(value) };
    expect(JSON.parse(writtenBy(codec, tensor).replaceAll(text, '1')).w).toEqual(Array(1000).fill(1));
    expect(text.length + 1).toBe((longestSlice({ tensor, first: true, last: true }) - '[],'.length) / 1000);
  });
});

it.each(['float64', 'float32'] as const)('no %s has a longer text than there is room for', (dtype) => {
  const bits = numbersFrom(Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31), 2 ** 31);
  const [words, exponentBits] = dtype === 'float64' ? [2, 11] : [1, 8];
  const numbers = [];
  // Random digits for every exponent, and at every power of ten.
  for (let exponent = 0; exponent < 2 ** exponentBits - 1; exponent++) {
    for (let i = 0; i < 40; i++) {
      const pattern = new Int32Array(words).map(bits);
      pattern[words - 1] = (-1 << 31) | (exponent << (31 - exponentBits)) | (pattern[words - 1] >>> (exponentBits + 1));
      numbers.push(new arrayOf[dtype](pattern.buffer)[0]);
    }
  }
  for (let e = -330; e <= 308; e++) {
    for (let i = -20; i <= 20; i++) numbers.push(-Number(`1e${e}`) * (1 + i * 2 ** (dtype === 'float64' ? -52 : -23)));
  }
  const data = arrayOf[dtype].from(numbers).filter(Number.isFinite);
  const tensor = { shape: [data.length], strides: [1], data };
  const longest = (longestSlice({ tensor, first: true, last: true }) - '[],'.length) / data.length - 1;
  const texts = writtenBy(codec, tensor).slice('{"w":['.length, -2).split(',');
  expect(texts.filter((text) => text.length > longest)).toEqual([]);
  expect(texts).toHaveLength(data.length);
});
