import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Kernels, Matrix } from '../../src/kernels/kernels.js';
import { builds, fastBuilds } from './builds.js';
import { sigmoidExactly, tanhExactly, ulps } from './exact.js';

/** Memory for arrays that are made one after the other. */
function room(kernels: Kernels, numbers = 100_000) {
  const allocate = kernels.reserve(numbers);
  return (values: ArrayLike<number>): Float64Array => {
    const array = allocate(values.length);
    array.set(values);
    return array;
  };
}

const apply = (kernels: Kernels, name: 'sigmoid' | 'tanh', values: number[]) => {
  const v = room(kernels)(values);
  kernels[name](v);
  return [...v];
};

describe.each(builds.map((kernels) => ({ tier: kernels.tier, kernels })))('$tier: σ and tanh', ({ kernels }) => {
  it('are exact at both ends', () => {
    expect(apply(kernels, 'sigmoid', [1e308, 800, 0, -800, -1e308])).toEqual([1, 1, 0.5, 0, 0]);
    expect(apply(kernels, 'tanh', [1e308, 400, 0, -400, -1e308])).toEqual([1, 1, 0, -1, -1]);
    expect(apply(kernels, 'sigmoid', [Infinity, -Infinity])).toEqual([1, 0]);
    expect(apply(kernels, 'tanh', [Infinity, -Infinity, -0])).toEqual([1, -1, -0]);
  });

  it('keep NaN, and nothing finite becomes NaN', () => {
    expect(apply(kernels, 'sigmoid', [Number.NaN, 1])[0]).toBeNaN();
    expect(apply(kernels, 'tanh', [1, 2, Number.NaN])[2]).toBeNaN();
    fc.assert(
      fc.property(fc.double({ noNaN: true }), fc.constantFrom('sigmoid' as const, 'tanh' as const), (z, name) => {
        expect(apply(kernels, name, [z])[0]).not.toBeNaN();
      }),
    );
  });

  it('keep denormals', () => {
    expect(apply(kernels, 'sigmoid', [-745])).toEqual([5e-324]);
    expect(apply(kernels, 'tanh', [5e-324, -5e-324, 1e-310])).toEqual([5e-324, -5e-324, 1e-310]);
  });

  it('never decrease', () => {
    const sorted = fc.array(fc.double({ noNaN: true }), { minLength: 2 }).map((values) => values.sort((a, b) => a - b));
    fc.assert(
      fc.property(sorted, fc.constantFrom('sigmoid' as const, 'tanh' as const), (values, name) => {
        const results = apply(kernels, name, values);
        results.forEach((value, i) => {
          if (i > 0) expect(value).toBeGreaterThanOrEqual(results[i - 1]);
        });
      }),
    );
  });

  it('are within 2 units in the last place of the true value', () => {
    const spread = fc.oneof(
      fc.double({ min: -1, max: 1, noNaN: true }),
      fc.double({ min: -40, max: 40, noNaN: true }),
      fc.double({ min: -745, max: 745, noNaN: true }),
    );
    fc.assert(
      fc.property(fc.array(spread, { minLength: 20, maxLength: 20 }), (values) => {
        apply(kernels, 'sigmoid', values).forEach((value, i) => {
          expect(ulps(value, sigmoidExactly(values[i])), `σ(${values[i]})`).toBeLessThanOrEqual(2);
        });
        apply(kernels, 'tanh', values).forEach((value, i) => {
          expect(ulps(value, tanhExactly(values[i])), `tanh(${values[i]})`).toBeLessThanOrEqual(2);
        });
      }),
      { numRuns: 200 },
    );
  });
});

describe.each(builds.map((kernels) => ({ tier: kernels.tier, kernels })))('$tier: softmax', ({ kernels }) => {
  const softmax = (values: number[], n: number) => {
    const v = room(kernels)(values);
    kernels.softmaxRows(v, n);
    return [...v];
  };

  it('works row by row and is stable for logits thousands apart', () => {
    expect(softmax([5000, -5000, 0, 0], 2)).toEqual([1, 0, 0.5, 0.5]);
    expect(softmax([-9000, -9000, 1e300, 1e300], 2)).toEqual([0.5, 0.5, 0.5, 0.5]);
    expect(softmax([3, -7000], 1)).toEqual([1, 1]);
    expect(softmax([Number.NaN, 1, 0, 0], 2).map(Number.isNaN)).toEqual([true, true, false, false]);
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

// Whole numbers, so that sums are exact in any order: every build must give the very same.
const W = (i: number, k: number) => 1 + 3 * i - 2 * k;
const v = (j: number, i: number) => 2 - j + 5 * i;
const z = (j: number, i: number) => 7 * j - i;
const rowsOf = (m: number, n: number, value: (j: number, i: number) => number) =>
  Float64Array.from({ length: m * n }, (_, at) => value(Math.floor(at / n), at % n));
const sum = (n: number, term: (i: number) => number) =>
  Array.from({ length: n }, (_, i) => term(i)).reduce((a, b) => a + b, 0);

describe.each(builds.map((kernels) => ({ tier: kernels.tier, kernels })))('$tier: products', ({ kernels }) => {
  const sizes = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33];
  const triples = fc.tuple(fc.constantFrom(...sizes), fc.constantFrom(...sizes), fc.constantFrom(...sizes));

  it.each([
    [1, 1, 1],
    [9, 8, 1],
    [8, 300, 3],
    [4, 33, 2],
    [130, 9, 2],
    [3, 5, 600],
  ])('of a %i × %i block with a batch of %i are what they are defined as', (p, q, m) => expectProducts(p, q, m));

  it('are what they are defined as for sizes around the width of vectors', () => {
    fc.assert(fc.property(triples, ([p, q, m]) => expectProducts(p, q, m)));
  });

  function expectProducts(p: number, q: number, m: number): void {
    const make = room(kernels, 20 * (p + 8) * (q + 8) + 20 * (m + 8) * (p + q + 16));
    // W is a block inside a wider matrix, so that offset and stride matter.
    const matrix = (value: (i: number, k: number) => number): Matrix => {
      const [offset, stride] = [2, q + 3];
      const data = make(new Float64Array(offset + p * stride).fill(Number.NaN));
      for (let i = 0; i < p; i++) for (let k = 0; k < q; k++) data[offset + i * stride + k] = value(i, k);
      return { data, offset, rows: p, columns: q, stride };
    };
    const factor = kernels.factor(matrix(W));

    const forward = make(rowsOf(m, p, () => 1));
    kernels.addProduct(forward, factor, make(rowsOf(m, q, v)));
    expect([...forward]).toEqual([...rowsOf(m, p, (j, i) => 1 + sum(q, (k) => W(i, k) * v(j, k)))]);

    const backward = make(rowsOf(m, q, () => 1));
    kernels.addTransposedProduct(backward, factor, make(rowsOf(m, p, z)));
    expect([...backward]).toEqual([...rowsOf(m, q, (j, k) => 1 + sum(p, (i) => W(i, k) * z(j, i)))]);

    const dW = matrix(() => 1);
    kernels.addOuterProducts(dW, make(rowsOf(m, p, z)), make(rowsOf(m, q, v)));
    expect([...dW.data]).toEqual([...matrix((i, k) => 1 + sum(m, (j) => z(j, i) * v(j, k))).data]);

    const db = make(new Float64Array(p).fill(1));
    kernels.addRows(db, make(rowsOf(m, p, z)));
    expect([...db]).toEqual([...Float64Array.from({ length: p }, (_, i) => 1 + sum(m, (j) => z(j, i)))]);

    const filled = make(new Float64Array(m * p));
    kernels.fillRows(filled, db);
    expect([...filled]).toEqual([...rowsOf(m, p, (_, i) => db[i])]);
  }
});

describe.each(fastBuilds.map((kernels) => ({ tier: kernels.tier, kernels })))('$tier', ({ kernels }) => {
  it('σ and tanh of lengths 0 to 70 at odd offsets touch their own numbers only, each with the same bits', () => {
    for (let length = 0; length <= 70; length++) {
      for (const offset of [0, 1, 3]) {
        for (const name of ['sigmoid', 'tanh'] as const) {
          const numbers = Array.from({ length: length + 8 }, (_, i) => Math.sin(i) * 3);
          const all = room(kernels)(numbers);
          kernels[name](all.subarray(offset, offset + length));
          [...all].forEach((value, i) => {
            const inside = i >= offset && i < offset + length;
            expect(value).toBe(inside ? apply(kernels, name, [numbers[i]])[0] : numbers[i]);
          });
        }
      }
    }
  });

  it('a row gives the same bits alone and in a batch', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 2, max: 9 }),
        (p, q, m) => {
          const make = room(kernels);
          const irrational = (j: number, i: number) => Math.sin(3 + j * 7 + i);
          const factor = kernels.factor({
            data: make(rowsOf(p, q, irrational)),
            offset: 0,
            rows: p,
            columns: q,
            stride: q,
          });
          const batch = make(rowsOf(m, p, irrational));
          const inputs = make(rowsOf(m, q, irrational));
          const alone = make(batch);
          kernels.addProduct(batch, factor, inputs);
          for (let j = 0; j < m; j++) {
            kernels.addProduct(alone.subarray(j * p, (j + 1) * p), factor, inputs.subarray(j * q, (j + 1) * q));
          }
          expect(alone).toEqual(batch);
        },
      ),
    );
  });

  it('refuses to give more memory than was reserved, and gives zeros again after a request', () => {
    const allocate = kernels.reserve(16);
    allocate(16).fill(7);
    expect(() => allocate(1)).toThrow(RangeError);
    expect([...kernels.reserve(16)(16)]).toEqual(new Array(16).fill(0));
  });
});
