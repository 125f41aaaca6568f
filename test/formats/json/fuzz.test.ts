import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadJsonCodec } from '../../../src/formats/json/codec.js';
import { readJson } from '../../../src/formats/json/reader.js';
import { stridesFor } from '../../../src/tensor/shapes.js';
import { choice, group } from '../../../src/tensor/signature.js';
import { arrayOf, elements, type Tensor } from '../../../src/tensor/tensor.js';
import { writeJson } from '../../ask.js';
import { cases } from '../../cases.js';
import { byteMutation, mutated } from '../../fuzz/bodies.js';
import { DTYPES, readOnAllRoads } from '../../fuzz/codec.js';
import { bytesOf, corpus } from '../../fuzz/corpus.js';
import { anyDouble, anyFloat, numberTexts } from '../../fuzz/numbers.js';
import { tensor } from '../../symbols.js';

/** What the plain reader and writer do, the fast ones do to the last bit; and both of them what the corpus says. */

const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
const numRuns = Number(process.env.FUZZ_RUNS ?? cases(2000));

describe.each(DTYPES)('the corpus, read to %s', (dtype) => {
  it.each(corpus)('%s', (_, kept) => {
    const expected = kept[dtype];
    const read = readOnAllRoads(bytesOf(kept), dtype);
    if (!Array.isArray(expected)) {
      const { code, faults } = read as { code: string; faults: readonly object[] };
      expect({ ...faults[0], code }).toMatchObject(expected);
      return;
    }
    const { data } = (read as { values: { x: Tensor } }).values.x;
    expect(Array.from(data, (value) => (Object.is(value, -0) ? '-0' : value))).toEqual(expected);
  });
});

/** Nested arrays of a shape, of number texts or of other things. */
const nested = (shape: readonly number[], element: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  shape.length === 0
    ? element
    : fc
        .array(nested(shape.slice(1), element), { minLength: shape[0], maxLength: shape[0] })
        .map((items) => `[${items.join()}]`);

const sizes = fc.integer({ min: 1, max: 4 });
const space = fc.stringMatching(/^[ \n\t\r]{0,3}$/);

/** Bodies that are right but for some of their shapes, their options and their numbers, which may be too large. */
const bodies = fc
  .tuple(
    sizes,
    sizes,
    sizes,
    fc.constantFrom('', '"mode":"fancy",', '"steps":2.0,', '"dtype":"float32",', '"dtype":"float64",'),
  )
  .chain(([n, m, t, option]) =>
    fc
      .record({
        x: nested([n], numberTexts),
        y: nested([n, m, t], numberTexts),
        W: nested([m, n], numberTexts),
        space,
        last: fc.constantFrom('"dtype":"float32"', '"mode":"plain"'),
      })
      .map(
        ({ x, y, W, space, last }) => `{${option}"x":${space}${x},"y":${y}${space},"parameters":{"W":${W}},${last}}`,
      ),
  );

const changed = fc
  .tuple(bodies, fc.array(byteMutation, { maxLength: 3 }))
  .map(([text, mutations]) => mutated(Buffer.from(text), mutations));

const dtypes = fc.constantFrom(...DTYPES);
const anyBytes = fc.oneof(
  { weight: 6, arbitrary: changed },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)) },
  { weight: 1, arbitrary: fc.json().map((text) => Buffer.from(text)) },
  // Cut anywhere: the fast road reads whole vectors of bytes.
  {
    weight: 1,
    arbitrary: fc.tuple(bodies, fc.nat()).map(([text, at]) => Buffer.from(text).subarray(0, at % text.length)),
  },
);

describe('on any bytes', () => {
  it(`all roads read the same, or refuse for the same reasons (FUZZ_SEED=${seed})`, () => {
    let values = 0;
    fc.assert(
      fc.property(anyBytes, dtypes, (bytes, dtype) => {
        if ('values' in readOnAllRoads(bytes, dtype)) values++;
      }),
      { numRuns, seed },
    );
    // The bytes must not be so odd that nothing is ever read.
    expect(values).toBeGreaterThan(numRuns / 100);
  });

  it(`a number is what JSON.parse makes of it, or too large (FUZZ_SEED=${seed})`, () => {
    fc.assert(
      fc.property(numberTexts, (text) => {
        const read = readOnAllRoads(Buffer.from(`{"x":[${text}]}`), 'float64');
        const expected = JSON.parse(text);
        if (!Number.isFinite(expected)) expect(read).toMatchObject({ code: 'invalid-tensor' });
        else expect(Object.is((read as { values: { x: Tensor } }).values.x.data[0], expected)).toBe(true);
      }),
      { numRuns, seed },
    );
  });
});

const codec = loadJsonCodec();
const MEMBERS = [tensor('p', 'a vector'), tensor('p m', 'with a batch'), tensor('p m T_x', 'time-major in memory')];

it.each(DTYPES)(
  `both writers write the same %s text, and every road reads it back bit by bit (FUZZ_SEED=${seed})`,
  (dtype) => {
    const numbers = dtype === 'float32' ? anyFloat : anyDouble;
    const tensors = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 3 }).chain((shape) => {
      const length = elements(shape);
      return fc.tuple(fc.constant(shape), fc.array(numbers, { minLength: length, maxLength: length }));
    });
    fc.assert(
      fc.property(tensors, ([shape, values]) => {
        const w = MEMBERS[shape.length - 1];
        const written = { shape, strides: stridesFor(w, shape), data: arrayOf[dtype].from(values) };
        const answer = group('Answer', '', { w });
        const text = Buffer.from(writeJson(answer, { w: written }));
        expect(text.equals(writeJson(answer, { w: written }, codec))).toBe(true);

        const request = group('Request', '', { w, dtype: choice('Dtype', DTYPES, dtype, '') });
        for (const road of [undefined, codec]) {
          const back = readJson(text, request, road).w as Tensor;
          // Written again from what was read, and compared bit by bit: the texts tell all numbers apart.
          const again = writeJson(answer, { w: { ...back, data: back.data.slice() } });
          expect(back.data).toBeInstanceOf(arrayOf[dtype]);
          expect(text.equals(again)).toBe(true);
          expect(
            Buffer.from(back.data.slice().sort().buffer).equals(Buffer.from(written.data.slice().sort().buffer)),
          ).toBe(true);
        }
      }),
      { numRuns: Math.ceil(numRuns / 5), seed },
    );
  },
);
