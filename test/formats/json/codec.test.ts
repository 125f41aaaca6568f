import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { loadJsonCodec } from '../../../src/formats/json/codec.js';
import { arrayOf, elements, rowMajor, rowMajorRange, timeMajor } from '../../../src/tensor/tensor.js';
import { cases } from '../../cases.js';
import { numbersFrom } from '../../values.js';
import { written } from './written.js';

const codec = loadJsonCodec();
const bytes = new Uint8Array(4_000_000);

/** Doubles → text by the codec, and back. */
function thereAndBack(values: Float64Array) {
  const tensor = { shape: [values.length], strides: [1], data: values };
  const end = codec.writeTensor(tensor, bytes, 0) ?? 0;
  const text = Buffer.from(bytes.buffer, 0, end);
  codec.open(text, 'float64');
  return { text: text.toString('latin1'), read: codec.readTensor(0) };
}

function expectAsV8(values: Float64Array): void {
  const { text, read } = thereAndBack(values);
  const expected = `[${Array.from(values, written).join()}]`;
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
      (i) => 1e16 - 2 * i,
      (i) => 1e16 + 2 * i,
      (i) => i * 1e12,
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
    expectAsV8(Float64Array.from([-0, 0, 1e15, 1e16, 1e21, 1e-7, 123456789012345680000, 1e-6, 0.1 + 0.2]));
  });

  it('on texts with more digits than a double has, and next to the middle of two doubles', () => {
    const digits = fc.stringMatching(/^-?(0|[1-9]\d{0,40})(\.\d{1,60})?([eE][+-]?\d{1,2})?$/);
    const middles = fc.double({ min: 1, max: 2 ** 60, noNaN: true }).map((value) => {
      const whole = BigInt(Math.floor(value)) * 2n + 1n; // in halves
      return `${whole / 2n}.5${value > 1e9 ? '0000000000000000000000000000001' : ''}`;
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(digits, middles), { minLength: 1, maxLength: 50 }), (texts) => {
        codec.open(Buffer.from(`[${texts.join(' , ')}]`), 'float64');
        const data = codec.readTensor(0)?.tensor.data;
        expect(data && [...data]).toEqual(texts.map(Number));
      }),
      { numRuns: cases(1000) },
    );
  });
});

it('the fast road gives up on what it cannot take, and on nothing else', () => {
  const reads = (text: string) => {
    codec.open(Buffer.from(text), 'float64');
    return codec.readTensor(0) !== undefined;
  };
  for (const text of ['[1]', '[[1,2],[3,4]]', ' [ [ 1 ] ]', '[[[[[[[[1]]]]]]]]', '[-0.5e+10]', '[1E5]']) {
    expect(reads(text), text).toBe(true);
  }
  const wrong = ['[', '[]', '[1', '[1,]', '[,1]', '[1 2]', '[[1],2]', '[1,[2]]', '[[1],[2,3]]', '[01]', '[+1]', '[.5]'];
  const words = ['[1.]', '[1e]', '[-]', '["1"]', '[null]', '[1e999]', '[NaN]', '[0x1]', '[1}', '[[[[[[[[[1]]]]]]]]]'];
  for (const text of [...wrong, ...words]) expect(reads(text), text).toBe(false);
});

it('a tensor is written in pieces, the same whatever its layout', () => {
  // More rows, longer rows and longer lines than fit into one piece.
  for (const shape of [
    [70_000],
    [300, 500],
    [3, 70_000],
    [70_000, 2],
    [7, 40, 500],
    [2, 300, 300],
    [1, 1, 70_000],
    [1, 70_000, 2],
    [2, 300, 301],
  ]) {
    for (const dtype of ['float64', 'float32'] as const) {
      const data = new arrayOf[dtype](elements(shape)).map((_, i) => i / 4);
      const inOrder = new arrayOf[dtype](data.length);
      const tensor = { shape, strides: timeMajor(shape), data };
      rowMajorRange(inOrder, tensor, 0, inOrder.length);
      const text = (end = 0) => Buffer.from(bytes.subarray(0, end)).toString('latin1');
      const written = text(codec.writeTensor(tensor, bytes, 0));
      expect(written === text(codec.writeTensor({ shape, strides: rowMajor(shape), data: inOrder }, bytes, 0))).toBe(
        true,
      );
      const nest = (axis: number, at: number): unknown =>
        axis === shape.length
          ? data[at]
          : Array.from({ length: shape[axis] }, (_, i) => nest(axis + 1, at + i * tensor.strides[axis]));
      expect(written.replaceAll('.0', '') === JSON.stringify(nest(0, 0)), String(shape)).toBe(true);
    }
  }
});

describe.each(['float64', 'float32'] as const)('numbers of a time-major tensor in %s, in row-major order', (dtype) => {
  it('can be had from any one to any other', () => {
    const size = fc.integer({ min: 1, max: 9 });
    const shapes = fc.array(size, { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(shapes, fc.nat(), fc.nat(), (shape, a, b) => {
        const data = new arrayOf[dtype](elements(shape)).map((_, i) => i);
        const [from, to] = [a % (data.length + 1), b % (data.length + 1)].sort((one, other) => one - other);
        const out = new arrayOf[dtype](to - from);
        const strides = timeMajor(shape);
        rowMajorRange(out, { shape, strides, data }, from, to);
        const order = rowMajor(shape);
        for (let p = from; p < to; p++) {
          const at = shape.reduce((sum, n, axis) => sum + (Math.floor(p / order[axis]) % n) * strides[axis], 0);
          expect(out[p - from]).toBe(data[at]);
        }
      }),
    );
  });
});

it.each([
  ['short numbers', '1'],
  ['white space', `1${' '.repeat(1000)}`],
  ['numbers that are hard to round', `1.${'0'.repeat(15)}1110223024625156540423631668090820312${'5'.repeat(700)}`],
])('a tensor of %s can be given up at every 64 KiB of text while it is read', (_, number) => {
  const checkpoint = vi.fn();
  const codec = loadJsonCodec(checkpoint);
  const text = Buffer.from(`[${Array(Math.ceil(2 ** 21 / number.length)).fill(number)}]`);
  codec.open(text, 'float64');
  expect(codec.readTensor(0)?.end).toBe(text.length);
  expect(checkpoint.mock.calls.length).toBeGreaterThanOrEqual(Math.floor(text.length / 2 ** 16) - 1);
});

it.each([[[1, 1_000_000]], [[1, 1000, 1000]], [[1000, 1000]], [[1_000_000, 1]]])(
  'a tensor of %j can be given up every few milliseconds while it is written',
  (shape) => {
    const checkpoint = vi.fn();
    const data = new Float64Array(elements(shape));
    const room = new Uint8Array(7_000_000);
    loadJsonCodec(checkpoint).writeTensor({ shape, strides: timeMajor(shape), data }, room, 0);
    expect(checkpoint.mock.calls.length).toBeGreaterThanOrEqual(15);
  },
);
