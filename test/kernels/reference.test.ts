import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Matrix } from '../../src/kernels/kernels.js';
import { reference } from '../../src/kernels/reference.js';

const apply = (kernel: 'sigmoid' | 'tanh', values: number[]) => {
  const v = Float64Array.from(values);
  reference[kernel](v);
  return [...v];
};

describe('σ and tanh', () => {
  it('are exact at both ends', () => {
    expect(apply('sigmoid', [1e308, 800, 0, -800, -1e308])).toEqual([1, 1, 0.5, 0, 0]);
    expect(apply('tanh', [1e308, 400, 0, -400, -1e308])).toEqual([1, 1, 0, -1, -1]);
    expect(apply('sigmoid', [Infinity, -Infinity])).toEqual([1, 0]);
    expect(apply('tanh', [Infinity, -Infinity, -0])).toEqual([1, -1, -0]);
  });

  it('σ keeps denormals: σ(−745) is the smallest double, not 0', () => {
    expect(apply('sigmoid', [-745])).toEqual([5e-324]);
  });

  it('never decrease', () => {
    const sorted = fc.array(fc.double({ noNaN: true }), { minLength: 2 }).map((values) => values.sort((a, b) => a - b));
    fc.assert(
      fc.property(sorted, fc.constantFrom('sigmoid' as const, 'tanh' as const), (values, kernel) => {
        const results = apply(kernel, values);
        results.forEach((value, i) => {
          if (i > 0) expect(value).toBeGreaterThanOrEqual(results[i - 1]);
        });
      }),
    );
  });

  it('σ(z) + σ(−z) = 1 to the last bits', () => {
    fc.assert(
      fc.property(fc.double({ min: -40, max: 40, noNaN: true }), (z) => {
        const [plus, minus] = apply('sigmoid', [z, -z]);
        expect(Math.abs(plus + minus - 1)).toBeLessThanOrEqual(2.3e-16);
      }),
    );
  });
});

describe('softmax', () => {
  const softmax = (values: number[], n: number) => {
    const v = Float64Array.from(values);
    reference.softmaxRows(v, n);
    return [...v];
  };

  it('works row by row and is stable for logits thousands apart', () => {
    expect(softmax([5000, -5000, 0, 0], 2)).toEqual([1, 0, 0.5, 0.5]);
    expect(softmax([-9000, -9000, 1e300, 1e300], 2)).toEqual([0.5, 0.5, 0.5, 0.5]);
    expect(softmax([3, -7000], 1)).toEqual([1, 1]);
  });

  it('adds up to 1', () => {
    const logits = fc.array(fc.double({ min: -1e4, max: 1e4, noNaN: true }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(logits, (values) => {
        const sum = softmax(values, values.length).reduce((a, b) => a + b, 0);
        expect(Math.abs(sum - 1)).toBeLessThanOrEqual(1e-14);
      }),
    );
  });
});

describe('products', () => {
  // W is a block inside a wider matrix, so that offset and stride matter.
  const matrix = (rows: number, columns: number, value: (i: number, k: number) => number): Matrix => {
    const [offset, stride] = [2, columns + 3];
    const data = new Float64Array(offset + rows * stride).fill(Number.NaN);
    for (let i = 0; i < rows; i++) for (let k = 0; k < columns; k++) data[offset + i * stride + k] = value(i, k);
    return { data, offset, rows, columns, stride };
  };
  const rowsOf = (m: number, n: number, value: (j: number, i: number) => number) =>
    Float64Array.from({ length: m * n }, (_, at) => value(Math.floor(at / n), at % n));
  const W = (i: number, k: number) => 1 + 3 * i - 2 * k;
  const v = (j: number, i: number) => 2 - j + 5 * i;
  const z = (j: number, i: number) => 7 * j - i;

  it.each([
    [1, 1, 1],
    [2, 3, 4],
    [3, 1, 5],
    [9, 8, 1],
    [4, 33, 2],
  ])('of a %i × %i block with a batch of %i agree with the definitions', (p, q, m) => {
    const sum = (n: number, term: (i: number) => number) =>
      Array.from({ length: n }, (_, i) => term(i)).reduce((a, b) => a + b, 0);

    const forward = rowsOf(m, p, () => 1);
    reference.addProduct(forward, matrix(p, q, W), rowsOf(m, q, v));
    expect(forward).toEqual(rowsOf(m, p, (j, i) => 1 + sum(q, (k) => W(i, k) * v(j, k))));

    const backward = rowsOf(m, q, () => 1);
    reference.addTransposedProduct(backward, matrix(p, q, W), rowsOf(m, p, z));
    expect(backward).toEqual(rowsOf(m, q, (j, k) => 1 + sum(p, (i) => W(i, k) * z(j, i))));

    const dW = matrix(p, q, () => 1);
    reference.addOuterProducts(dW, rowsOf(m, p, z), rowsOf(m, q, v));
    expect(dW).toEqual(matrix(p, q, (i, k) => 1 + sum(m, (j) => z(j, i) * v(j, k))));

    const db = Float64Array.from({ length: p }, () => 1);
    reference.addRows(db, rowsOf(m, p, z));
    expect(db).toEqual(Float64Array.from({ length: p }, (_, i) => 1 + sum(m, (j) => z(j, i))));

    const filled = new Float64Array(m * p);
    reference.fillRows(filled, db);
    expect(filled).toEqual(rowsOf(m, p, (_, i) => db[i]));
  });
});
