import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadJsonCodec } from '../../src/tensor/json-codec.js';
import { readJson } from '../../src/tensor/json-reader.js';
import { stridesFor } from '../../src/tensor/shapes.js';
import { group, tensor } from '../../src/tensor/signature.js';
import { elements, type Tensor } from '../../src/tensor/tensor.js';
import { writeJson } from '../ask.js';

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
  { road: 'fast', codec: loadJsonCodec() },
];

describe.each(roads)('JSON writer, $road road', ({ codec }) => {
  const written = (value: Tensor, member = tensor('p q', 'any')) =>
    new TextDecoder().decode(writeJson(group('Answer', '', { w: member }), { w: value }, codec));

  it('writes what JSON.stringify writes, but for −0', () => {
    fc.assert(
      fc.property(shapeAndNumbers, ({ shape, numbers }) => {
        const member = tensor(LETTERS[shape.length - 1].join(' ').replace('m', 'q').replace('T_x', 'r'), 'row-major');
        const data = Float64Array.from(numbers);
        const text = written({ shape, strides: stridesFor(member, shape), data }, member);
        const nest = (axis: number, at: number): unknown =>
          axis === shape.length
            ? numbers[at]
            : Array.from({ length: shape[axis] }, (_, i) => nest(axis + 1, at * shape[axis] + i));
        expect(text.replaceAll(/-0\.0(?=[,\]])/g, '0')).toBe(JSON.stringify({ w: nest(0, 0) }));
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

  it('has room for the longest texts of numbers', () => {
    const longest = [-1.2345678901234567e-6, -2.2250738585072014e-308, -123456789012345680000, -1.7976931348623157e308];
    const data = Float64Array.from({ length: 4000 }, (_, i) => longest[i % 4]);
    const text = written({ shape: [4000, 1], strides: [1, 1], data });
    expect(JSON.parse(text).w.flat()).toEqual([...data]);
  });
});
