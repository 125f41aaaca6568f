import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadJsonCodec } from '../../src/tensor/json-codec.js';
import { numbersFrom } from '../values.js';

const codec = loadJsonCodec(new URL('../../dist/tensor/', import.meta.url));
const bytes = new Uint8Array(4_000_000);

/** Doubles → text by the codec, and back. */
function thereAndBack(values: Float64Array) {
  const tensor = { shape: [values.length], strides: [1], data: values };
  const end = codec.writeTensor(tensor, bytes, 0, 26 * values.length + 3) ?? 0;
  const text = Buffer.from(bytes.buffer, 0, end);
  codec.open(text);
  return { text: text.toString('latin1'), read: codec.readTensor(0) };
}

function expectAsV8(values: Float64Array): void {
  const { text, read } = thereAndBack(values);
  const expected = `[${Array.from(values, (value) => (Object.is(value, -0) ? '-0' : String(value))).join()}]`;
  expect(text === expected, firstDifference(text, expected)).toBe(true);
  expect(read?.end).toBe(text.length);
  const back = read?.tensor.data ?? [];
  const wrong = values.findIndex((value, i) => !Object.is(value, back[i]));
  expect(wrong, `${values[wrong]} was read as ${back[wrong]}`).toBe(-1);
}

function firstDifference(text: string, expected: string): string {
  const numbers = text.split(',');
  return expected
    .split(',')
    .reduce((found, one, i) => found || (one === numbers[i] ? '' : `${numbers[i]} for ${one}`), '');
}

describe('the fast road agrees with V8 both ways', () => {
  const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);

  it(`on a million random bit patterns (FUZZ_SEED=${seed})`, () => {
    const next = numbersFrom(seed, 2 ** 31);
    const data = new Float64Array(100_000);
    const words = new Int32Array(data.buffer);
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < words.length; i++) words[i] = next();
      expectAsV8(data.filter(Number.isFinite));
    }
  });

  it('on numbers of every form: short, whole, halves, powers, denormals, neighbours', () => {
    const forms: ((i: number) => number)[] = [
      (i) => i,
      (i) => -i / 2,
      (i) => i / 10_000,
      (i) => i * 2 ** 40 + 1,
      (i) => 2 ** 53 - i,
      (i) => 5e-324 * i,
      (i) => 2.2250738585072014e-308 - 5e-324 * i,
      (i) => 2 ** ((i % 2046) - 1022),
      (i) => 2 ** ((i % 2046) - 1022) * (1 - 2 ** -53),
      (i) => 2 ** ((i % 2046) - 1022) * (1 + 2 ** -52),
      (i) => Number(`1e${(i % 617) - 308}`),
      (i) => Number(`${i}e${(i % 600) - 300}`),
      (i) => 9.5e20 + i * 2 ** 17,
      (i) => 1.7976931348623157e308 / (i + 1),
    ];
    for (const form of forms)
      for (let from = 0; from < 20_000; from += 500) {
        expectAsV8(Float64Array.from({ length: 500 }, (_, i) => form(from + i)));
      }
    expectAsV8(Float64Array.from([-0, 0, 1e21, 1e-7, 123456789012345680000, 1e-6, 0.1 + 0.2]));
  });

  it('on texts with more digits than a double has, and next to the middle of two doubles', () => {
    const digits = fc.stringMatching(/^-?(0|[1-9]\d{0,40})(\.\d{1,60})?([eE][+-]?\d{1,2})?$/);
    const middles = fc.double({ min: 1, max: 2 ** 60, noNaN: true }).map((value) => {
      const whole = BigInt(Math.floor(value)) * 2n + 1n; // in halves
      return `${whole / 2n}.5${value > 1e9 ? '0000000000000000000000000000001' : ''}`;
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(digits, middles), { minLength: 1, maxLength: 50 }), (texts) => {
        codec.open(Buffer.from(`[${texts.join(' , ')}]`));
        const data = codec.readTensor(0)?.tensor.data;
        expect(data && [...data]).toEqual(texts.map(Number));
      }),
      { numRuns: 1000 },
    );
  });
});

it('the fast road gives up on what it cannot take, and on nothing else', () => {
  const reads = (text: string) => {
    codec.open(Buffer.from(text));
    return codec.readTensor(0) !== undefined;
  };
  for (const text of ['[1]', '[[1,2],[3,4]]', ' [ [ 1 ] ]', '[[[[[[[[1]]]]]]]]', '[-0.5e+10]', '[1E5]']) {
    expect(reads(text), text).toBe(true);
  }
  const wrong = ['[', '[]', '[1', '[1,]', '[,1]', '[1 2]', '[[1],2]', '[1,[2]]', '[[1],[2,3]]', '[01]', '[+1]', '[.5]'];
  const words = ['[1.]', '[1e]', '[-]', '["1"]', '[null]', '[1e999]', '[NaN]', '[0x1]', '[1}', '[[[[[[[[[1]]]]]]]]]'];
  for (const text of [...wrong, ...words]) expect(reads(text), text).toBe(false);
});

it('hardly a number is left to the slow road: fewer than one in a thousand of ordinary ones', () => {
  // More than 1024 hard numbers make the whole tensor slow; ordinary numbers do not come near that.
  const next = numbersFrom(1);
  const data = Float64Array.from({ length: 100_000 }, () => next() * 10 ** (next() * 10));
  expect(thereAndBack(data).read).toBeDefined();
});
