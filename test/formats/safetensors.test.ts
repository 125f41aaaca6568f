import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { longestOf } from '../../src/formats/format.js';
import { readContents, readGroup, SafetensorsError, safetensors } from '../../src/formats/safetensors.js';
import { tensorsIn } from '../../src/tensor/shapes.js';
import { flatten, group, optional, type Values } from '../../src/tensor/signature.js';
import {
  arrayOf,
  type Dtype,
  elements,
  reverseAxes,
  rowMajor,
  type Tensor,
  timeMajor,
} from '../../src/tensor/tensor.js';
import { cases } from '../cases.js';
import { anyDtype } from '../kernels/builds.js';
import { tensor } from '../symbols.js';
import { numbersFrom } from '../values.js';

const signature = group('Kept', 'tensors of every kind', {
  a: tensor('n m T', 'a sequence'),
  a0: tensor('n m', 'its beginning'),
  c0: optional(tensor('n m', 'may be left out')),
  weights: group(
    'Weights',
    'a group inside',
    { W: tensor('n k', 'a matrix'), V: optional(tensor('k 1', 'one of two')), v: optional(tensor('k 1', 'the other')) },
    { together: [['V', 'v']] },
  ),
});

const size = fc.integer({ min: 1, max: 5 });
const kept = fc.record({
  dtype: anyDtype,
  dims: fc.record({ n: size, m: size, T: size, k: size }),
  extras: fc.boolean(),
  pair: fc.boolean(),
  seed: fc.integer(),
});
type Kept = typeof kept extends fc.Arbitrary<infer K> ? K : never;

function rowsOf(shape: number[], dtype: Dtype, next: () => number): Tensor {
  return { shape, strides: rowMajor(shape), data: new arrayOf[dtype](elements(shape)).map(next) };
}

function valuesOf({ dtype, dims: { n, m, T, k }, extras, pair, seed }: Kept): Values {
  const next = numbersFrom(seed, 100);
  const one = (...shape: number[]) => rowsOf(shape, dtype, next);
  return {
    a: one(n, m, T),
    a0: one(n, m),
    ...(extras ? { c0: one(n, m) } : {}),
    weights: { W: one(n, k), ...(pair ? { V: one(k, 1), v: one(k, 1) } : {}) },
  };
}

const slicesOf = (values: Values) => safetensors.slicesOf(signature, values);
const bytesOf = (values: Values) => safetensors.write(slicesOf(values));
const read = (bytes: Uint8Array<ArrayBuffer>, dtype: Dtype) => readGroup(bytes, readContents(bytes), signature, dtype);

describe('tensors as bytes', () => {
  it('come back with every bit, their shapes and their type', () => {
    fc.assert(
      fc.property(kept, (any) => {
        const values = valuesOf(any);
        expect(read(bytesOf(values), any.dtype)).toEqual(values);
      }),
    );
  });

  it('keep −0, denormals, infinities and NaN', () => {
    const numbers = [-0, 5e-324, 1e300, Infinity, Number.NaN, 0.1];
    const values = valuesOf({
      dtype: 'float64',
      dims: { n: 2, m: 3, T: 1, k: 1 },
      extras: false,
      pair: false,
      seed: 1,
    });
    (values.a as Tensor).data.set(numbers);
    const { data } = read(bytesOf(values), 'float64').a as Tensor;
    expect([...data]).toEqual(numbers);
    expect(Object.is(data[0], -0)).toBe(true);
  });

  it('are row-major also where the tensor lies time-major', () => {
    fc.assert(
      fc.property(kept, (any) => {
        const values = valuesOf(any);
        const { shape, data } = values.a as Tensor;
        const turned = { shape, strides: timeMajor(shape), data: new arrayOf[any.dtype](data.length) };
        reverseAxes(turned.data, data, shape);
        expect(bytesOf({ ...values, a: turned })).toEqual(bytesOf(values));
      }),
    );
  });

  it('are of a length that the shapes alone tell', () => {
    fc.assert(
      fc.property(kept, (any) => {
        const values = valuesOf(any);
        const planned = structuredClone(values);
        for (const { tensor: one } of tensorsIn(flatten(signature), planned))
          Object.assign(one, { data: one.data.slice(0, 0) });
        const length = longestOf(safetensors, slicesOf(planned));
        expect(bytesOf(values)).toHaveLength(length);
      }),
    );
  });

  it('are the same in pieces, wherever they are cut between segments', () => {
    fc.assert(
      fc.property(kept, fc.nat(), (any, cut) => {
        const slices = slicesOf(valuesOf(any));
        const at = cut % (slices.length + 1);
        const pieces = [slices.slice(0, at), slices.slice(at)].map(safetensors.write);
        expect(Buffer.concat(pieces)).toEqual(Buffer.from(safetensors.write(slices)));
      }),
    );
  });

  it('are read from any address', () => {
    const values = valuesOf({ dtype: 'float64', dims: { n: 2, m: 3, T: 2, k: 1 }, extras: true, pair: true, seed: 1 });
    const bytes = bytesOf(values);
    const moved = new Uint8Array(bytes.length + 3);
    moved.set(bytes, 3);
    expect(read(moved.subarray(3), 'float64')).toEqual(values);
  });
});

/** A file whose header is this text, padded as we do it. */
function fileOf(header: string, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const length = Math.ceil(Buffer.byteLength(header) / 8) * 8;
  const file = Buffer.alloc(8 + length + data.length, ' ');
  file.writeBigUInt64LE(BigInt(length));
  file.write(header, 8);
  file.set(data, 8 + length);
  return Uint8Array.from(file);
}

describe('bytes that are something else', () => {
  /** Nothing but tensors that fit the signature, or a SafetensorsError. */
  const expectNoCrash = (bytes: Uint8Array<ArrayBuffer>, dtype: Dtype = 'float64') => {
    try {
      for (const { tensor: one, member } of tensorsIn(flatten(signature), read(bytes, dtype))) {
        expect(one.shape).toHaveLength(member.axes.length);
        expect(one.data).toHaveLength(elements(one.shape));
      }
    } catch (error) {
      expect(error).toBeInstanceOf(SafetensorsError);
    }
  };

  it('are refused, cut off anywhere', () => {
    fc.assert(
      fc.property(kept, fc.nat(), (any, cut) => {
        const bytes = bytesOf(valuesOf(any));
        expect(() => read(bytes.slice(0, cut % bytes.length), any.dtype)).toThrow(SafetensorsError);
      }),
    );
  });

  it('never crash the reader, changed anywhere', () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(kept, changes, fc.boolean(), (any, list, inHeader) => {
        const bytes = bytesOf(valuesOf(any));
        for (const [at, value] of list) bytes[at % (inHeader ? 400 : bytes.length)] = value;
        expectNoCrash(bytes, any.dtype);
      }),
      { numRuns: cases(2000) },
    );
  });

  it('never crash the reader, whatever the header says', () => {
    const name = fc.constantFrom(
      'a',
      'a0',
      'c0',
      'weights.W',
      'weights.V',
      'weights.v',
      'x',
      '',
      '__proto__',
      '__metadata__',
    );
    const offset = fc.oneof(fc.nat(400), fc.integer(), fc.double());
    const entry = fc.oneof(
      fc.jsonValue(),
      fc.record({
        dtype: fc.constantFrom<unknown>('F64', 'F32', 'I32', 'BF16', 'toString', null),
        shape: fc.oneof(fc.array(fc.oneof(size, fc.integer(), fc.double()), { maxLength: 4 }), fc.jsonValue()),
        data_offsets: fc.oneof(fc.tuple(offset, offset), fc.jsonValue()),
      }),
    );
    const header = fc.oneof(fc.jsonValue(), fc.dictionary(name, entry));
    fc.assert(
      fc.property(header, fc.nat(500), (said, more) => {
        expectNoCrash(fileOf(JSON.stringify(said), new Uint8Array(more)));
      }),
      { numRuns: cases(2000) },
    );
  });

  const whole: Kept = { dtype: 'float64', dims: { n: 2, m: 3, T: 2, k: 1 }, extras: true, pair: true, seed: 1 };
  /** The file with another header. */
  const changed = (change: (header: string) => string) => {
    const bytes = bytesOf(valuesOf(whole));
    const start = 8 + Buffer.from(bytes).readUInt32LE();
    return fileOf(change(Buffer.from(bytes.subarray(8, start)).toString()), bytes.subarray(start));
  };
  const { weights, ...others } = valuesOf(whole);
  const withoutOne = bytesOf({ ...others, weights: { ...(weights as Values), v: undefined } });

  it.each<[string, () => Uint8Array<ArrayBuffer>]>([
    ['the bytes end too early', () => new Uint8Array(7)],
    ['the bytes end too early', () => new Uint8Array(8).fill(255)],
    ['the bytes end too early', () => bytesOf(valuesOf(whole)).slice(0, 100)],
    ['the header is not JSON', () => changed((text) => text.replace('{', '['))],
    ['the header is not an object', () => changed(() => '[]')],
    ['a has no type', () => changed((text) => text.replace('F64', 'F16'))],
    [
      'a0 is F32, but must be F64',
      () => changed((text) => text.replace('"a0":{"dtype":"F64","shape":[2,3]', '"a0":{"dtype":"F32","shape":[4,3]')),
    ],
    ['a0 is missing', () => changed((text) => text.replace('"a0"', '"b0"'))],
    ['a0 has no shape', () => changed((text) => text.replace('[2,3]', '[2,0]'))],
    ['a has no shape', () => changed((text) => text.replace('[2,3,2]', '[2,3.2]'))],
    ['a has 2 dimensions', () => changed((text) => text.replace('[2,3,2]', '[6,2]'))],
    ['a is not as long as its shape says', () => changed((text) => text.replace('[2,3,2]', '[2,3,3]'))],
    [
      'a0 does not begin where the tensor before it ends',
      () => changed((text) => text.replace('[96,144]', '[88,136]')),
    ],
    ['V or v is missing', () => withoutOne],
    [
      'the bytes hold a tensor that the group does not have',
      () => changed((text) => text.replace(/weights\.[Vv]/g, (name) => `${name}2`)),
    ],
    ['the bytes end within weights.v', () => bytesOf(valuesOf(whole)).slice(0, -8)],
    ['the bytes do not end with the last tensor', () => Uint8Array.from([...bytesOf(valuesOf(whole)), 1, 2, 3, 4])],
  ])('are refused with the reason: %s', (reason, make) => {
    expect(() => read(make(), 'float64')).toThrow(reason);
  });
});
