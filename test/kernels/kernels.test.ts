import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Kernels, Matrix, Rows } from '../../src/kernels/kernels.js';
import { reference } from '../../src/kernels/reference.js';
import { arrayOf, type Dtype } from '../../src/tensor/tensor.js';
import { allKernels, builds, fastBuilds } from './builds.js';
import { type Exactly, sigmoidExactly, tanhExactly, ulps, ulpsOfFloat32 } from './exact.js';

/** Stands around every array: what a kernel must leave alone. */
const UNTOUCHED = -77;
const AROUND = 9;

/** Memory for arrays that are made one after the other, each at its offset between numbers that stay as they are. */
function room(kernels: Kernels, numbers = 3000) {
  const allocate = kernels.reserve(numbers);
  return (values: ArrayLike<number>, offset = 0): Rows => {
    const data = allocate(offset + values.length + AROUND).fill(UNTOUCHED);
    data.set(values, offset);
    return { data, offset, length: values.length };
  };
}

function numbersOf({ data, offset, length }: Rows): number[] {
  return [...data.subarray(offset, offset + length)];
}

function part({ data, offset }: Rows, from: number, to: number): Rows {
  return { data, offset: offset + from, length: to - from };
}

/** The same bits, −0 and NaN included. `toEqual` explains a difference, but is slow where there is none. */
function expectSame(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  let same = actual.length === expected.length;
  for (let i = 0; same && i < actual.length; i++) same = Object.is(actual[i], expected[i]);
  if (!same) expect(Array.from(actual)).toEqual(Array.from(expected));
}

function expectUntouchedAround({ data, offset, length }: Rows): void {
  const around = [...data.subarray(0, offset), ...data.subarray(offset + length)];
  expectSame(around, new Array(offset + AROUND).fill(UNTOUCHED));
}

const upTo = (n: number) => Array.from({ length: n + 1 }, (_, i) => i);
const wave = (seed: number) => (i: number) => Math.sin(1 + seed * 7 + i * i);

/** Kernels whose arrays all have the same length, and that do to every element what they do to the first. */
interface ElementWise {
  readonly arrays: number;
  run(kernels: Kernels, arrays: readonly Rows[]): void;
}

const elementWise: Record<string, ElementWise> = {
  add: { arrays: 3, run: (kernels, [out, one, other]) => kernels.add(out, one, other) },
  tanh: { arrays: 1, run: (kernels, [v]) => kernels.tanh(v) },
  tanhGradient: { arrays: 3, run: (kernels, [dz, da, a]) => kernels.tanhGradient(dz, da, a) },
  lstmGates: {
    arrays: 7,
    run: (kernels, [ft, it, cct, ot, c_next, a_next, c_prev]) =>
      kernels.lstmGates({ ft, it, cct, ot }, c_next, a_next, c_prev),
  },
  lstmGateGradients: {
    arrays: 12,
    run: (kernels, [dzf, dzi, dzc, dzo, dc, da, ft, it, cct, ot, c_prev, c_next]) =>
      kernels.lstmGateGradients({ dzf, dzi, dzc, dzo }, dc, da, dc, { ft, it, cct, ot }, c_prev, c_next),
  },
  'lstmGateGradients in memory of its own': {
    arrays: 13,
    run: (kernels, [dzf, dzi, dzc, dzo, dc_prev, dc_next, da, ft, it, cct, ot, c_prev, c_next]) =>
      kernels.lstmGateGradients({ dzf, dzi, dzc, dzo }, dc_prev, da, dc_next, { ft, it, cct, ot }, c_prev, c_next),
  },
};

const TOLERANCES = { float64: 1e-14, float32: 1e-5 };

function expectNear(actual: readonly number[], expected: readonly number[], dtype: Dtype): void {
  expect(actual.length).toBe(expected.length);
  const wrong = actual.findIndex((value, i) => !(Math.abs(value - expected[i]) <= TOLERANCES[dtype]));
  if (wrong >= 0) expect.fail(`element ${wrong} is ${actual[wrong]}, but must be ${expected[wrong]}`);
}

describe.each(allKernels)('$tier $dtype: element by element', ({ kernels, dtype }) => {
  const runs = Object.entries(elementWise).map(([name, kernel]) => ({ name, ...kernel }));

  describe.each(runs)('$name', ({ arrays, run }) => {
    const LONGEST = 70;
    /** Array number `array`, whose offset is unlike those of the others. */
    const runOn = (on: Kernels, from: number, to: number, offset: number): Rows[] => {
      const make = room(on);
      const all = upTo(arrays - 1).map((array) => {
        const numbers = upTo(LONGEST).map(wave(array)).slice(from, to);
        return make(numbers, offset === 0 ? 0 : offset + (array % 5));
      });
      run(on, all);
      return all;
    };

    it('is what it is defined as, for lengths 0 to 70 at odd offsets, and touches its own numbers only', () => {
      for (const length of upTo(LONGEST)) {
        for (const offset of [0, 1]) {
          const [actual, expected] = [runOn(kernels, 0, length, offset), runOn(reference[dtype], 0, length, offset)];
          for (const [i, array] of actual.entries()) {
            expectUntouchedAround(array);
            expectNear(numbersOf(array), numbersOf(expected[i]), dtype);
          }
        }
      }
    });

    it('gives an element the same bits alone and wherever it stands', () => {
      const alone = upTo(LONGEST - 1).map((i) => runOn(kernels, i, i + 1, 0).map((array) => numbersOf(array)[0]));
      for (const length of upTo(LONGEST)) {
        for (const offset of [0, 3]) {
          const together = runOn(kernels, 0, length, offset).map(numbersOf);
          for (const [array, numbers] of together.entries()) {
            expectSame(
              numbers,
              alone.slice(0, length).map((results) => results[array]),
            );
          }
        }
      }
    });
  });

  it('is exact where whole numbers are enough', () => {
    const make = room(kernels);
    const [da, a] = [
      [3, -5, 7, 2, -4],
      [2, 0, -3, 1, 5],
    ].map((values) => make(values, 1));
    const dz = make(new Array(5).fill(0), 3);
    kernels.tanhGradient(dz, da, a);
    expect(numbersOf(dz)).toEqual([-9, -5, -56, 0, 96]);
    kernels.add(dz, da, dz);
    expect(numbersOf(dz)).toEqual([-6, -10, -49, 2, 92]);

    // Gates that are wide open or shut, so that σ is 1 or 0 and tanh ±1.
    const gates = { ft: [900, -900, 900], it: [900, 900, -900], cct: [900, -900, 900], ot: [900, 900, 0] };
    const [ft, it, cct, ot] = Object.values(gates).map((values) => make(values, 5));
    const [c_prev, c_next, a_next] = [
      [1000, 1000, -1000],
      [0, 0, 0],
      [0, 0, 0],
    ].map((values) => make(values, 2));
    kernels.lstmGates({ ft, it, cct, ot }, c_next, a_next, c_prev);
    expect(numbersOf(c_next)).toEqual([1001, -1, -1000]);
    expect(numbersOf(a_next)[2]).toBe(-0.5);
    expect(numbersOf(a_next)[0]).toBe(1);
    expect([ft, it, cct, ot].map(numbersOf)).toEqual([
      [1, 0, 1],
      [1, 1, 0],
      [1, -1, 1],
      [1, 1, 0.5],
    ]);

    const g = { ft: [2, 3, -1], it: [4, -2, 3], cct: [-3, 2, 2], ot: [5, 2, 3] };
    const [f, i, c, o] = Object.values(g).map((values) => make(values, 3));
    const [da_next, dc_next, c_before, c_after] = [
      [1, 2, -3],
      [2, 1, 5],
      [3, -1, 2],
      [0, 900, -900],
    ].map((values) => make(values, 1));
    const [dzf, dzi, dzc, dzo, dc_prev] = upTo(4).map(() => make([0, 0, 0], 3));
    const all = { ft: f, it: i, cct: c, ot: o };
    kernels.lstmGateGradients({ dzf, dzi, dzc, dzo }, dc_prev, da_next, dc_next, all, c_before, c_after);
    // g = dc_next + da_next·ot·(1 − tanh²(c_next)) = 2 + 1·5·1, 1, 5
    const plusZero = (rows: Rows) => numbersOf(rows).map((value) => value + 0);
    expect(plusZero(dzf)).toEqual([7 * 3 * 2 * -1, -1 * 3 * -2, 5 * 2 * -1 * 2]);
    expect(plusZero(dzi)).toEqual([7 * -3 * 4 * -3, 2 * -2 * 3, 5 * 2 * 3 * -2]);
    expect(plusZero(dzc)).toEqual([7 * 4 * -8, -2 * -3, 5 * 3 * -3]);
    expect(plusZero(dzo)).toEqual([0, 2 * 2 * -1, 3 * 3 * -2]);
    expect(plusZero(dc_prev)).toEqual([14, 3, -5]);
  });
});

/** σ and tanh of many numbers. The gates are where a kernel computes σ. */
const activations: Record<'σ' | 'tanh', (kernels: Kernels, values: ArrayLike<number>) => number[]> = {
  σ: (kernels, values) => {
    const make = room(kernels, 8 * (values.length + 50));
    const ft = make(values);
    const [it, cct, ot, c_next, a_next, c_prev] = upTo(5).map(() => make(new Float64Array(values.length)));
    kernels.lstmGates({ ft, it, cct, ot }, c_next, a_next, c_prev);
    return numbersOf(ft);
  },
  tanh: (kernels, values) => {
    const v = room(kernels, values.length + 50)(values);
    kernels.tanh(v);
    return numbersOf(v);
  },
};

describe.each(allKernels)('$tier $dtype: σ and tanh', ({ kernels, dtype }) => {
  const sigmoid = (...values: number[]) => activations.σ(kernels, values);
  const tanh = (...values: number[]) => activations.tanh(kernels, values);
  const LARGEST = dtype === 'float64' ? Number.MAX_VALUE : 3.4028234663852886e38;
  const SMALLEST = dtype === 'float64' ? 5e-324 : 2 ** -149;
  const anyFloat32 = fc.integer({ min: 0, max: 2 ** 32 - 1 }).map((bits) => {
    return new Float32Array(new Uint32Array([bits]).buffer)[0];
  });
  /** Any number of the type but NaN. */
  const any = dtype === 'float64' ? fc.double({ noNaN: true }) : anyFloat32.filter((value) => !Number.isNaN(value));
  const name = fc.constantFrom('σ' as const, 'tanh' as const);

  it('are exact at both ends and at 0', () => {
    expect(sigmoid(LARGEST, 800, 0, -0, -800, -LARGEST)).toEqual([1, 1, 0.5, 0.5, 0, 0]);
    expect(tanh(LARGEST, 400, 0, -0, -400, -LARGEST)).toEqual([1, 1, 0, -0, -1, -1]);
    expect(sigmoid(Infinity, -Infinity)).toEqual([1, 0]);
    expect(tanh(Infinity, -Infinity)).toEqual([1, -1]);
  });

  it('keep NaN, wherever it stands, and nothing finite becomes NaN', () => {
    for (const at of upTo(19)) {
      const values = upTo(19).map((i) => (i === at ? Number.NaN : i));
      for (const of of [sigmoid, tanh]) {
        expect(of(...values).map(Number.isNaN)).toEqual(values.map(Number.isNaN));
      }
    }
    fc.assert(
      fc.property(fc.array(any, { minLength: 50, maxLength: 50 }), name, (values, which) => {
        expect(activations[which](kernels, values).some(Number.isNaN)).toBe(false);
      }),
    );
  });

  it('keep denormals', () => {
    expect(tanh(SMALLEST, -SMALLEST, 9 * SMALLEST)).toEqual([SMALLEST, -SMALLEST, 9 * SMALLEST]);
    expect(sigmoid(dtype === 'float64' ? -745 : -103.5)).toEqual([SMALLEST]);
    expect(sigmoid(SMALLEST, -SMALLEST)).toEqual([0.5, 0.5]);
  });

  it('never decrease', () => {
    const near = fc.double({ min: -40, max: 40, noNaN: true });
    fc.assert(
      fc.property(fc.array(fc.oneof(any, near), { minLength: 200, maxLength: 200 }), name, (values, which) => {
        const sorted = new arrayOf[dtype](values).sort();
        const results = activations[which](kernels, sorted);
        const wrong = results.findIndex((value, i) => i > 0 && value < results[i - 1]);
        expect(wrong, `${which}(${sorted[wrong]}) is less than ${which}(${sorted[wrong - 1]})`).toBe(-1);
      }),
    );
  });

  const expectWithinTwo = (
    values: ArrayLike<number>,
    which: 'σ' | 'tanh',
    distance: (y: number, z: number) => number,
  ) => {
    activations[which](kernels, values).forEach((value, i) => {
      const off = distance(value, values[i]);
      if (!(off <= 2)) expect.fail(`${which}(${values[i]}) is ${value}, ${off} ulp from the true value`);
    });
  };

  it('are within 2 units in the last place of the true value', () => {
    if (dtype === 'float64') {
      const exactly: Record<'σ' | 'tanh', (z: number) => Exactly> = { σ: sigmoidExactly, tanh: tanhExactly };
      const within = (size: number) => fc.double({ min: -size, max: size, noNaN: true });
      const spread = fc.oneof(within(1e-3), within(1), within(40), within(745));
      fc.assert(
        fc.property(fc.array(spread, { minLength: 20, maxLength: 20 }), name, (values, which) => {
          expectWithinTwo(values, which, (y, z) => ulps(y, exactly[which](z)));
        }),
        { numRuns: 150 },
      );
      return;
    }
    // In float64 the same functions are exact to far more bits than a float32 has.
    const exactly = { σ: (z: number) => 1 / (1 + Math.exp(-z)), tanh: Math.tanh };
    const values = new Float32Array(400_000);
    const bits = new Uint32Array(values.buffer);
    const seed = Math.floor(Math.random() * 2 ** 32);
    for (let i = 0, state = seed; i < values.length; i++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      if (i % 2 === 0) bits[i] = state;
      else values[i] = (state / 2 ** 32 - 0.5) * (i % 4 === 1 ? 220 : 24);
      if (Number.isNaN(values[i])) values[i] = 0;
    }
    for (const which of ['σ', 'tanh'] as const) {
      expectWithinTwo(values, which, (y, z) => ulpsOfFloat32(y, exactly[which](z)));
    }
  });

  it('are the same function in every kernel', () => {
    const make = room(kernels);
    const values = upTo(40).map((i) => 3 * wave(i)(i));
    const [ft, it, cct, ot] = upTo(3).map(() => make(values));
    const [c_next, a_next, c_prev] = upTo(2).map(() => make(values));
    kernels.lstmGates({ ft, it, cct, ot }, c_next, a_next, c_prev);
    expect(numbersOf(it)).toEqual(numbersOf(ft));
    expect(numbersOf(ot)).toEqual(numbersOf(ft));
    expect(numbersOf(cct)).toEqual(tanh(...values));
  });
});

describe.each(allKernels)('$tier $dtype: softmax', ({ kernels, dtype }) => {
  const softmax = (values: number[], n: number, offset = 0) => {
    const v = room(kernels)(values, offset);
    kernels.softmaxRows(v, n);
    expectUntouchedAround(v);
    return numbersOf(v);
  };

  it('works row by row and is stable for logits thousands apart', () => {
    const large = dtype === 'float64' ? 1e300 : 1e38;
    expect(softmax([5000, -5000, 0, 0], 2)).toEqual([1, 0, 0.5, 0.5]);
    expect(softmax([-9000, -9000, large, large], 2, 1)).toEqual([0.5, 0.5, 0.5, 0.5]);
    expect(softmax([3, -7000], 1)).toEqual([1, 1]);
    expect(softmax([Number.NaN, 1, 0, 0], 2).map(Number.isNaN)).toEqual([true, true, false, false]);
    expect(softmax([1, Number.NaN, 0, 0], 2).map(Number.isNaN)).toEqual([true, true, false, false]);
  });

  it('is what it is defined as, and a row gives the same bits alone and in a batch', () => {
    for (const n of upTo(33).slice(1)) {
      for (const m of [1, 2, 3, 5]) {
        const logits = upTo(n * m - 1).map((i) => Math.fround(20 * wave(n)(i)));
        const actual = softmax(logits, n, n % 4);
        for (const row of upTo(m - 1)) {
          const exponentials = logits.slice(row * n, (row + 1) * n).map(Math.exp);
          const sum = exponentials.reduce((a, b) => a + b, 0);
          const here = actual.slice(row * n, (row + 1) * n);
          expectNear(
            here,
            exponentials.map((value) => value / sum),
            dtype,
          );
          expectSame(here, softmax(logits.slice(row * n, (row + 1) * n), n));
        }
      }
    }
  });

  it('adds up to 1', () => {
    const logits = fc.array(fc.double({ min: -1e4, max: 1e4, noNaN: true }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(logits, (values) => {
        const sum = softmax(values, values.length).reduce((a, b) => a + b, 0);
        expect(Math.abs(sum - 1)).toBeLessThanOrEqual(TOLERANCES[dtype]);
      }),
    );
  });
});

// Small whole numbers, so that sums are exact in any order and in either type: every build must give the very same.
const small = (a: number, b: number) => (i: number, k: number) => ((a * i + b * k + 11 * i * k) % 13) - 6;
const [W, v, z] = [small(3, 2), small(5, 7), small(2, 9)];
const rowsOf = (m: number, n: number, value: (j: number, i: number) => number) =>
  Float64Array.from({ length: m * n }, (_, at) => value(Math.floor(at / n), at % n));
const sum = (n: number, term: (i: number) => number) => upTo(n - 1).reduce((total, i) => total + term(i), 0);

/** A (p, q) block inside a wider matrix, so that offset and stride matter. */
function blockIn(p: number, q: number, value: (i: number, k: number) => number) {
  const [offset, stride] = [3, q + 2];
  const numbers = new Float64Array(offset + p * stride).fill(Number.NaN);
  for (let i = 0; i < p; i++) for (let k = 0; k < q; k++) numbers[offset + i * stride + k] = value(i, k);
  return { numbers, block: { offset, rows: p, columns: q, stride } };
}

const roomFor = (p: number, q: number, m: number) => 8 * (p + 24) * (q + 24) + 8 * (m + 3) * (p + q + 40);

describe.each(allKernels)('$tier $dtype: products', ({ kernels, dtype }) => {
  const sizes = fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 31, 33, 65);

  it.each([
    [1, 1, 1],
    [9, 8, 1],
    [8, 300, 3],
    [4, 33, 2],
    [130, 9, 2],
    [3, 5, 600],
    [61, 35, 23],
  ])('of a %i × %i block with a batch of %i are what they are defined as', (p, q, m) => expectProducts(p, q, m, 1));

  it('are what they are defined as for sizes around the width of vectors, at any offset', () => {
    fc.assert(
      fc.property(sizes, sizes, sizes, fc.integer({ min: 0, max: 9 }), (p, q, m, offset) => {
        expectProducts(p, q, m, offset);
      }),
      { numRuns: 60 },
    );
  });

  it('are what they are defined as where no size is a multiple of a vector, 1 to 70 wide', () => {
    for (const n of upTo(70).slice(1)) expectProducts(n, ((n * 29) % 70) + 1, ((n * 13) % 11) + 1, n % 7);
  });

  function expectProducts(p: number, q: number, m: number, offset: number): void {
    const make = room(kernels, roomFor(p, q, m));
    const matrix = (value: (i: number, k: number) => number): Matrix => {
      const { numbers, block } = blockIn(p, q, value);
      return { ...block, data: make(numbers).data };
    };
    const outside = (value: (i: number, k: number) => number): Matrix => {
      const { numbers, block } = blockIn(p, q, value);
      return { ...block, data: new arrayOf[dtype](numbers) };
    };
    const expectRows = (rows: Rows, expected: ArrayLike<number>) => {
      expectUntouchedAround(rows);
      expectSame(numbersOf(rows), expected);
    };

    const forward = rowsOf(m, p, (j, i) => 1 + sum(q, (k) => W(i, k) * v(j, k)));
    const backward = rowsOf(m, q, (j, k) => 1 + sum(p, (i) => W(i, k) * z(j, i)));
    for (const weights of [matrix(W), outside(W)]) {
      const factor = kernels.factor(weights);
      const out = make(new Float64Array(m * p).fill(1), offset);
      kernels.addProduct(out, factor, make(rowsOf(m, q, v), offset + 1));
      expectRows(out, forward);

      const transposed = make(new Float64Array(m * q).fill(1), offset);
      kernels.addTransposedProduct(transposed, factor, make(rowsOf(m, p, z), offset + 1));
      expectRows(transposed, backward);
    }

    const dW = matrix(() => 1);
    kernels.addOuterProducts(dW, make(rowsOf(m, p, z), offset), make(rowsOf(m, q, v), offset + 1));
    const expected = blockIn(p, q, (i, k) => 1 + sum(m, (j) => z(j, i) * v(j, k))).numbers;
    expectSame(dW.data.subarray(0, expected.length), expected);

    const db = make(new Float64Array(p).fill(1), offset);
    kernels.addRows(db, make(rowsOf(m, p, z), offset + 1));
    expectRows(
      db,
      Float64Array.from({ length: p }, (_, i) => 1 + sum(m, (j) => z(j, i))),
    );

    const filled = make(new Float64Array(m * p), offset);
    kernels.fillRows(filled, db);
    expectRows(
      filled,
      rowsOf(m, p, (_, i) => numbersOf(db)[i]),
    );
  }

  it('give a row the same bits alone and in a batch, with weights inside and outside of the reserved memory', () => {
    const size = fc.integer({ min: 1, max: 40 });
    fc.assert(
      fc.property(size, size, fc.integer({ min: 2, max: 13 }), fc.integer({ min: 0, max: 3 }), (p, q, m, offset) => {
        const make = room(kernels, roomFor(p, q, m));
        const irrational = (seed: number) => (j: number, i: number) => wave(seed)(100 * j + i);
        const weights = rowsOf(p, q, irrational(1));
        const shape = { offset: 0, rows: p, columns: q, stride: q };
        const inside = kernels.factor({ ...shape, data: make(weights).data });
        const outside = kernels.factor({ ...shape, data: new arrayOf[dtype](weights) });
        const [forward, backward] = [rowsOf(m, q, irrational(2)), rowsOf(m, p, irrational(3))].map((n) =>
          make(n, offset),
        );
        const [a, b] = upTo(1).map(() => make(rowsOf(m, p, irrational(4)), offset));
        const [da, db] = upTo(1).map(() => make(rowsOf(m, q, irrational(5)), offset));

        kernels.addProduct(a, inside, forward);
        kernels.addTransposedProduct(da, inside, backward);
        for (const j of upTo(m - 1)) {
          const [ofP, ofQ] = [p, q].map((n) => (rows: Rows) => part(rows, j * n, (j + 1) * n));
          kernels.addProduct(ofP(b), outside, ofQ(forward));
          kernels.addTransposedProduct(ofQ(db), outside, ofP(backward));
        }
        expectSame(numbersOf(b), numbersOf(a));
        expectSame(numbersOf(db), numbersOf(da));
      }),
      { numRuns: 60 },
    );
  });

  it('tell blocks of one matrix apart, and matrices that follow each other in the same memory', () => {
    const [n_a, n_x, m] = [19, 11, 3];
    const wide = new arrayOf[dtype](rowsOf(n_a, n_a + n_x, W));
    const block = (offset: number, columns: number) =>
      kernels.factor({ data: wide, offset, rows: n_a, columns, stride: n_a + n_x });
    for (const _ of ['read', 'remembered']) {
      const make = room(kernels);
      const out = make(new Float64Array(m * n_a));
      kernels.addProduct(out, block(0, n_a), make(rowsOf(m, n_a, v)));
      kernels.addProduct(out, block(n_a, n_x), make(rowsOf(m, n_x, z)));
      const expected = rowsOf(m, n_a, (j, i) => {
        return sum(n_a, (k) => W(i, k) * v(j, k)) + sum(n_x, (k) => W(i, n_a + k) * z(j, k));
      });
      expect(numbersOf(out)).toEqual([...expected]);
    }
    // The memory of one request is the next one's: what stood there is not what stands there.
    for (const weight of [2, 3]) {
      const make = room(kernels);
      const factor = kernels.factor({ data: make([weight]).data, offset: 0, rows: 1, columns: 1, stride: 1 });
      const out = make([0]);
      kernels.addProduct(out, factor, make([5]));
      expect(numbersOf(out)).toEqual([5 * weight]);
    }
  });
});

/** Every kernel, one after the other, on numbers that have to be rounded. */
function everything(kernels: Kernels, p: number, q: number, m: number, offset: number): number[] {
  const make = room(kernels, roomFor(p, q, m) + 30 * (m * p + offset + 40));
  const rows = (n: number, seed: number) =>
    make(
      Float64Array.from({ length: m * n }, (_, i) => wave(seed)(i)),
      offset,
    );
  const [ft, it, cct, ot, dzf, dzi, dzc, dzo, c_prev, c_next, a_next, dc, da] = upTo(12).map((seed) => rows(p, seed));
  const [x, dx] = [rows(q, 20), rows(q, 21)];
  const [w, dw] = [22, 23].map((seed): Matrix => {
    const { numbers, block } = blockIn(p, q, (i, k) => wave(seed)(i * q + k));
    return { ...block, data: make(numbers).data };
  });
  const b = make(
    Float64Array.from({ length: p }, (_, i) => wave(24)(i)),
    offset,
  );
  const factor = kernels.factor(w);
  const gates = { ft, it, cct, ot };

  kernels.fillRows(ft, b);
  kernels.addProduct(ft, factor, x);
  kernels.lstmGates(gates, c_next, a_next, c_prev);
  kernels.tanh(da);
  kernels.add(da, da, a_next);
  kernels.lstmGateGradients({ dzf, dzi, dzc, dzo }, dc, da, dc, gates, c_prev, c_next);
  kernels.tanhGradient(da, da, c_next);
  kernels.addTransposedProduct(dx, factor, dzf);
  kernels.addOuterProducts(dw, dzo, x);
  kernels.addRows(b, dzc);
  kernels.softmaxRows(x, q);
  const arrays = [ft, it, cct, ot, dzf, dzi, dzc, dzo, c_prev, c_next, a_next, dc, da, x, dx, b].map(numbersOf);
  return [...arrays.flat(), ...[...dw.data].filter((value) => !Number.isNaN(value))];
}

const sizesOfAll = fc.tuple(
  fc.integer({ min: 1, max: 70 }),
  fc.integer({ min: 1, max: 40 }),
  fc.integer({ min: 1, max: 12 }),
  fc.integer({ min: 0, max: 5 }),
);

describe.each(['float64', 'float32'] as const)('%s', (dtype) => {
  const build = (name: string) => builds.find(({ tier }) => tier === name) ?? expect.fail(name);

  it('every kernel gives the same bits on fma and wide', () => {
    fc.assert(
      fc.property(sizesOfAll, (sizes) => {
        expectSame(everything(build('wide')[dtype], ...sizes), everything(build('fma')[dtype], ...sizes));
      }),
    );
  });

  it.each(fastBuilds.map(({ tier }) => tier))('every kernel gives on %s what it gives in plain TypeScript', (tier) => {
    fc.assert(
      fc.property(sizesOfAll, (sizes) => {
        const [actual, expected] = [build(tier)[dtype], reference[dtype]].map((one) => everything(one, ...sizes));
        // Sums of up to 70 products are around 10.
        expectNear(
          actual.map((value) => value / 10),
          expected.map((value) => value / 10),
          dtype,
        );
      }),
    );
  });
});

describe.each(fastBuilds)('the memory of $tier', (build) => {
  it('is not given beyond what was reserved, and is zero again for the next request', () => {
    for (const dtype of ['float64', 'float32'] as const) {
      const kernels = build[dtype];
      const allocate = kernels.reserve(16);
      allocate(16).fill(7);
      expect(() => allocate(1)).toThrow(RangeError);
      expect([...kernels.reserve(16)(16)]).toEqual(new Array(16).fill(0));
    }
  });

  it('is the same for both types, one request after the other, and is small again after a large one', () => {
    const sizes = [
      ['float64', 10],
      ['float32', 10_000_000],
      ['float64', 1000],
      ['float32', 10],
    ] as const;
    for (const [dtype, length] of sizes) {
      const kernels = build[dtype];
      const data = kernels.reserve(kernels.elementsFor(length))(length);
      expect(data).toBeInstanceOf(arrayOf[dtype]);
      expect((data as Float64Array).findIndex((value) => value !== 0)).toBe(-1);
      data.fill(1);
      const v = { data, offset: 0, length: 10 };
      kernels.add(v, v, v);
      expect(data[9]).toBe(2);
    }
    expect(build.float64.reserve(8)(8).buffer.byteLength).toBeLessThan(2 ** 26);
  });

  it('is enough for what elementsFor and elementsForFactor say', () => {
    const size = fc.integer({ min: 1, max: 70 });
    fc.assert(
      fc.property(size, size, fc.constantFrom('float64' as const, 'float32' as const), (p, q, dtype) => {
        const kernels = build[dtype];
        const lengths = [p * q, p, q, p, q];
        const arrays = lengths.reduce((total, length) => total + kernels.elementsFor(length), 0);
        const allocate = kernels.reserve(arrays + kernels.elementsForFactor(p, q));
        const [data, ...others] = lengths.map((length) => allocate(length));
        const [forward, v, back, dz] = [others[0], others[1], others[3], others[2]].map((array) => ({
          data: array,
          offset: 0,
          length: array.length,
        }));
        // Wa and Wx are made of one tensor.
        const shape = { data, rows: p, stride: q };
        const cut = Math.floor(q / 2);
        const blocks = [
          { ...shape, offset: 0, columns: cut },
          { ...shape, offset: cut, columns: q - cut },
        ].filter(({ columns }) => columns > 0);
        for (const block of blocks) {
          const factor = kernels.factor(block);
          kernels.addProduct(forward, factor, part(v, 0, block.columns));
          kernels.addTransposedProduct(part(back, 0, block.columns), factor, dz);
        }
      }),
    );
  });
});
