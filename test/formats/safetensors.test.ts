import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BinaryError, binaryLength, binarySegments, readBinary, writeBinary } from '../../src/formats/safetensors.js';
import { tensorsIn } from '../../src/tensor/shapes.js';
import { type GroupMember, group, optional, tensor, type Values } from '../../src/tensor/signature.js';
import {
  arrayOf,
  type Dtype,
  elements,
  reverseAxes,
  rowMajor,
  type Tensor,
  timeMajor,
} from '../../src/tensor/tensor.js';
import { anyDtype } from '../kernels/builds.js';
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

const bytesOf = (values: Values, dtype: Dtype) => writeBinary(binarySegments(signature, values, dtype));

describe('tensors as bytes', () => {
  it('come back with every bit, their shapes and their type', () => {
    fc.assert(
      fc.property(kept, (any) => {
        const values = valuesOf(any);
        expect(readBinary(bytesOf(values, any.dtype), signature)).toEqual(values);
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
    const { data } = readBinary(bytesOf(values, 'float64'), signature).a as Tensor;
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
        expect(bytesOf({ ...values, a: turned }, any.dtype)).toEqual(bytesOf(values, any.dtype));
      }),
    );
  });

  it('are of a length that the shapes alone tell', () => {
    fc.assert(
      fc.property(kept, (any) => {
        const values = valuesOf(any);
        const planned = structuredClone(values);
        for (const { tensor: one } of tensorsIn(signature, planned)) Object.assign(one, { data: one.data.slice(0, 0) });
        const length = binaryLength(binarySegments(signature, planned, any.dtype));
        expect(bytesOf(values, any.dtype)).toHaveLength(length);
        expect(length % 8).toBe(0);
      }),
    );
  });

  it('are the same in pieces, wherever they are cut between segments', () => {
    fc.assert(
      fc.property(kept, fc.nat(), (any, cut) => {
        const segments = binarySegments(signature, valuesOf(any), any.dtype);
        const at = cut % (segments.length + 1);
        const pieces = [segments.slice(0, at), segments.slice(at)].map(writeBinary);
        expect(Buffer.concat(pieces)).toEqual(Buffer.from(writeBinary(segments)));
      }),
    );
  });

  it('are read from any address', () => {
    const values = valuesOf({ dtype: 'float64', dims: { n: 2, m: 3, T: 2, k: 1 }, extras: true, pair: true, seed: 1 });
    const bytes = bytesOf(values, 'float64');
    const moved = new Uint8Array(bytes.length + 3);
    moved.set(bytes, 3);
    expect(readBinary(moved.subarray(3), signature)).toEqual(values);
  });
});

describe('bytes that are something else', () => {
  /** Nothing but tensors that fit the signature, or a BinaryError. */
  const expectNoCrash = (bytes: Uint8Array<ArrayBuffer>, of: GroupMember = signature) => {
    try {
      for (const { tensor: one, member } of tensorsIn(of, readBinary(bytes, of))) {
        expect(one.shape).toHaveLength(member.dims.length);
        expect(one.data).toHaveLength(elements(one.shape));
      }
    } catch (error) {
      expect(error).toBeInstanceOf(BinaryError);
    }
  };

  it('are refused, cut off anywhere', () => {
    fc.assert(
      fc.property(kept, fc.nat(), (any, cut) => {
        const bytes = bytesOf(valuesOf(any), any.dtype);
        expect(() => readBinary(bytes.slice(0, cut % bytes.length), signature)).toThrow(BinaryError);
      }),
    );
  });

  it('never crash the reader, changed anywhere', () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(kept, changes, fc.boolean(), (any, list, inHeader) => {
        const bytes = bytesOf(valuesOf(any), any.dtype);
        for (const [at, value] of list) bytes[at % (inHeader ? 200 : bytes.length)] = value;
        expectNoCrash(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  it('never crash the reader, whatever the header says', () => {
    const shape = fc.oneof(fc.array(fc.oneof(size, fc.integer(), fc.double()), { maxLength: 4 }), fc.jsonValue());
    const pointer = fc.constantFrom('/a', '/a0', '/c0', '/weights/W', '/weights/V', '/weights/v', '/x', '');
    const header = fc.record({
      group: fc.constantFrom('Kept', 'Other', 3),
      dtype: fc.constantFrom('float64', 'float32', 'toString', null),
      order: fc.constantFrom('little', 'big', 0),
      tensors: fc.oneof(fc.jsonValue(), fc.array(fc.oneof(fc.jsonValue(), fc.tuple(pointer, shape)))),
    });
    fc.assert(
      fc.property(header, fc.nat(500), (said, more) => {
        const text = JSON.stringify(said);
        const length = Math.ceil((26 + text.length) / 8) * 8;
        const head = Buffer.from(
          `unroll-tensors/1 ${String(length).padStart(8, '0')} ${text}`.padEnd(length),
          'latin1',
        );
        expectNoCrash(Uint8Array.from(Buffer.concat([head, Buffer.alloc(more)])));
      }),
      { numRuns: 2000 },
    );
  });

  const bytes = (change: (text: string) => string) => {
    const any: Kept = { dtype: 'float64', dims: { n: 2, m: 3, T: 2, k: 1 }, extras: true, pair: true, seed: 1 };
    const text = Buffer.from(bytesOf(valuesOf(any), 'float64')).toString('latin1');
    return Uint8Array.from(Buffer.from(change(text), 'latin1'));
  };
  it.each<[string, (text: string) => string]>([
    ['they are of another format', (text) => text.replace('/1', '/2')],
    ['they are of another format', () => ''],
    ['they break off', (text) => text.slice(0, 100)],
    ['they do not say what they are', (text) => text.replace('{', '[')],
    ['they do not say what they are', (text) => text.replace('float64', 'float16')],
    ['they do not say what they are', (text) => text.replace('["/a",[2,3,2]]', '12345678901234')],
    ['they are Kepz, but must be Kept', (text) => text.replace('Kept', 'Kepz')],
    ['their byte order is middle, but must be little', (text) => text.replace('little', 'middle')],
    ['/a0 is missing', (text) => text.replace('"/a0"', '"/aa"')],
    ['/a0 has no shape', (text) => text.replace('"/a0",[2,3]', '"/a0",[2,0]')],
    ['/a has no shape', (text) => text.replace('[2,3,2]', '[2,3.2]')],
    ['V or v is missing', (text) => text.replace('/weights/v', '/weights/y')],
    ['they hold a tensor too many', (text) => text.replace(/\/weights\/[Vv]/g, '/weights/y')],
    ['they break off in /weights/v', (text) => text.slice(0, -8)],
    ['they do not end with their last tensor', (text) => `${text}12345678`],
    ['they break off in /a', (text) => text.replace('[2,3,2]', '[9,9,9]')],
  ])('are refused with the reason: %s', (reason, change) => {
    expect(() => readBinary(bytes(change), signature)).toThrow(reason);
  });
});
