import { describe, expect, it } from 'vitest';
import { loadJsonCodec } from '../../../src/formats/json/codec.js';
import { readJson } from '../../../src/formats/json/reader.js';
import { longestSlice, slicesOf } from '../../../src/formats/json/writer.js';
import { Refusal } from '../../../src/tensor/refusal.js';
import { choice, type GroupMember, group } from '../../../src/tensor/signature.js';
import { rowMajor, type Tensor, timeMajor } from '../../../src/tensor/tensor.js';
import { writeJson } from '../../ask.js';
import { tensor } from '../../symbols.js';

const roads = [
  { road: 'plain', codec: undefined },
  { road: 'fast', codec: loadJsonCodec() },
];
const signature = group('Request', '', {
  x: tensor('n m', 'input'),
  dtype: choice('Choice', ['float64', 'float32'], 'float64', 'number type'),
});

describe.each(roads)('the member dtype, $road road', ({ codec }) => {
  const read = (text: string, of: GroupMember = signature) => readJson(Buffer.from(text), of, codec).x as Tensor;
  const refused = (text: string): Refusal => {
    try {
      read(text);
    } catch (error) {
      if (error instanceof Refusal) return error;
      throw error;
    }
    throw new Error('was not refused');
  };

  it.each([
    '{"dtype":"float32","x":[[0.1,16777217.0000000001]]}',
    '{"x":[[0.1,16777217.0000000001]],"dtype":"float32"}',
    '{"x":[[0.1,16777217.0000000001]],"dtype":"\\u0066loat32"}',
    '{"x":[[0.1,16777217.0000000001]],"dty\\u0070e" : "float32"}',
  ])('makes all tensors float32, wherever it is: %s', (text) => {
    const { data, strides } = read(text);
    expect(data).toEqual(Float32Array.of(0.1, 16777218));
    expect(strides).toEqual([2, 1]);
  });

  it.each(['{"x":[[0.1,1e39]]}', '{"x":[[0.1,1e39]],"dtype":"float64"}', '{"dtype":"float64","x":[[0.1,1e39]]}'])(
    'leaves them float64: %s',
    (text) => {
      expect(read(text).data).toEqual(Float64Array.of(0.1, 1e39));
    },
  );

  it('is float64 where the signature has no such member, whatever is in the body', () => {
    const named = group('Request', '', {
      x: tensor('n', ''),
      mode: choice('Choice', ['float32', 'other'], 'other', ''),
    });
    expect(read('{"x":[0.1],"mode":"float32"}', named).data).toEqual(Float64Array.of(0.1));
  });

  it('decides what is too large', () => {
    const { code, faults } = refused('{"x":[[1,1e39]],"dtype":"float32"}');
    expect(code).toBe('invalid-tensor');
    expect(faults).toEqual([{ pointer: '/x/0/1', detail: '/x/0/1 is 1e39, which is too large for float32' }]);
    expect(refused('{"x":[[1,1e309]]}').faults[0].detail).toBe('/x/0/1 is 1e309, which is too large for float64');
  });

  it('is refused by its name, and an unknown member of its name does no harm', () => {
    expect(refused('{"x":[[1e39]],"dtype":"float16"}').faults).toEqual([
      { pointer: '/dtype', detail: '/dtype is "float16", but must be "float64" or "float32"' },
    ]);
    expect(refused('{"x":[[1e39]],"float32":1}').faults.map(({ pointer }) => pointer)).toEqual(['/float32']);
  });

  it('float32 is written in any layout, within the bound of its length', () => {
    const answer = group('Answer', '', { w: tensor('p q r', '') });
    const longest = Math.fround(-9.999999e15);
    const shape = [3, 50, 20];
    const data = new Float32Array(3000).fill(longest);
    const values = { w: { shape, strides: timeMajor(shape), data } };
    const bytes = writeJson(answer, values, codec);
    const bound = slicesOf(answer, values).reduce((sum, slice) => sum + longestSlice(slice), 0);
    expect(bytes.length).toBeLessThanOrEqual(bound);
    expect(bytes.length / bound).toBeGreaterThan(0.98);
    data.forEach((_, i) => {
      data[i] = i / 8;
    });
    const inOrder = readJson(writeJson(answer, values, codec), group('Request', '', answer.members), codec).w as Tensor;
    expect(inOrder.strides).toEqual(rowMajor(shape));
    expect(inOrder.data[(2 * 50 + 7) * 20 + 11]).toBe(data[(11 * 50 + 7) * 3 + 2]);
  });
});
