import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type {
  GruGateGradients,
  GruGates,
  Kernels,
  LstmGateGradients,
  LstmGates,
  Matrix,
  Rows,
} from '../../src/kernels/kernels.js';
import { call, type KernelName, kernelNames, operandsOf, type Sizes } from '../../src/kernels/list.js';
import { reference } from '../../src/kernels/reference.js';
import { buildOf } from '../../src/kernels/simd.js';
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

const sigma = (z: number) => 1 / (1 + Math.exp(-z));

/**
 * What a kernel does to every element, where all its arrays have the same length: from the elements of all of them, in
 * the order of the arguments, to what the first of them become. The others stay as they are.
 */
const elementWise: Partial<Record<KernelName, (...elements: number[]) => number[]>> = {
  add: (_, one, other) => [one + other],
  subtract: (_, one, other) => [one - other],
  hadamard: (_, one, other) => [one * other],
  addHadamard: (out, one, other) => [out + one * other],
  sigmoid: (v) => [sigma(v)],
  sigmoidGradient: (_, da, a) => [da * a * (1 - a)],
  tanh: (v) => [Math.tanh(v)],
  tanhGradient: (_, da, a) => [da * (1 - a ** 2)],
  lstmGates(zf, zi, zc, zo, _c_next, _a_next, c_prev) {
    const [f, i, c, o] = [sigma(zf), sigma(zi), Math.tanh(zc), sigma(zo)];
    const c_next = f * c_prev + i * c;
    return [f, i, c, o, c_next, o * Math.tanh(c_next)];
  },
  lstmGateGradients(_dzf, _dzi, _dzc, _dzo, _dc_prev, da, dc, f, i, c, o, c_prev, c_next) {
    const tanh = Math.tanh(c_next);
    const g = dc + da * o * (1 - tanh ** 2);
    return [g * c_prev * f * (1 - f), g * c * i * (1 - i), g * i * (1 - c ** 2), da * tanh * o * (1 - o), g * f];
  },
  gruOutput(zz, zc, _a_next, a_prev) {
    const [z, c] = [sigma(zz), Math.tanh(zc)];
    return [z, c, z * a_prev + (1 - z) * c];
  },
  gruOutputGradients(_dzz, _dzc, _da_prev, da, z, c, a_prev) {
    return [da * (a_prev - c) * z * (1 - z), da * (1 - z) * (1 - c ** 2), da * z];
  },
};

const TOLERANCES = { float64: 1e-14, float32: 1e-5 };

function expectNear(actual: readonly number[], expected: readonly number[], dtype: Dtype): void {
  expect(actual.length).toBe(expected.length);
  const wrong = actual.findIndex((value, i) => !(Math.abs(value - expected[i]) <= TOLERANCES[dtype]));
  if (wrong >= 0) expect.fail(`element ${wrong} is ${actual[wrong]}, but must be ${expected[wrong]}`);
}

describe.each(allKernels)('$tier $dtype: element by element', ({ kernels, dtype }) => {
  const definitions = Object.entries(elementWise).map(([name, define]) => ({ name: name as KernelName, define }));

  describe.each(definitions)('$name', ({ name, define }) => {
    const LONGEST = 70;
    const valuesOf = (array: number, from: number, to: number) => upTo(LONGEST).map(wave(array)).slice(from, to);
    /** Runs the kernel on elements from … to − 1 of all arrays, the offset of each unlike those of the others. */
    const runOn = (from: number, to: number, offset: number): Rows[] => {
      const make = room(kernels);
      const arrays: Rows[] = [];
      const operands = operandsOf(kernels, name, { m: 1, p: to - from, q: 1 }, () => {
        const values = valuesOf(arrays.length, from, to);
        arrays.push(make(values, offset === 0 ? 0 : offset + (arrays.length % 5)));
        return arrays[arrays.length - 1];
      });
      call(kernels, name, operands);
      return arrays;
    };

    it('is what it is defined as, for lengths 0 to 70 at odd offsets, and touches its own numbers only', () => {
      for (const length of upTo(LONGEST)) {
        for (const offset of [0, 1]) {
          const arrays = runOn(0, length, offset);
          const before = arrays.map((_, array) => [...new arrayOf[dtype](valuesOf(array, 0, length))]);
          const after = upTo(length - 1).map((i) => define(...before.map((values) => values[i])));
          for (const [array, actual] of arrays.entries()) {
            expectUntouchedAround(actual);
            const expected = after.map((results, i) => results[array] ?? before[array][i]);
            expectNear(numbersOf(actual), expected, dtype);
          }
        }
      }
    });

    it('gives an element the same bits alone and wherever it stands', () => {
      const alone = upTo(LONGEST - 1).map((i) => runOn(i, i + 1, 0).map((array) => numbersOf(array)[0]));
      for (const length of upTo(LONGEST)) {
        for (const offset of [0, 3]) {
          const together = runOn(0, length, offset).map(numbersOf);
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

/** σ and tanh of many numbers. */
const activations: Record<'σ' | 'tanh', (kernels: Kernels, values: ArrayLike<number>) => number[]> = {
  σ: (kernels, values) => {
    const v = room(kernels, values.length + 50)(values);
    kernels.sigmoid(v);
    return numbersOf(v);
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
    const [f, i, c, o] = [ft, it, cct, ot].map(numbersOf);
    for (const gate of [f, i, o]) expect(gate).toEqual(sigmoid(...values));
    expect(c).toEqual(tanh(...values));
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

interface OnSizes extends Sizes {
  readonly kernels: Kernels;
  make(values: ArrayLike<number>): Rows;
  /** A matrix in the reserved memory, and one outside of it. */
  matrix(value: (i: number, k: number) => number): Matrix;
  outside(value: (i: number, k: number) => number): Matrix;
}

const expectRows = (rows: Rows, expected: ArrayLike<number>) => {
  expectUntouchedAround(rows);
  expectSame(numbersOf(rows), expected);
};

/** What a kernel does with whole rows and matrices: calls it, and compares. */
const rowWise: Partial<Record<KernelName, (on: OnSizes) => void>> = {
  fillRows({ kernels, m, p, make }) {
    const out = make(new Float64Array(m * p));
    kernels.fillRows(out, make(rowsOf(1, p, z)));
    expectRows(
      out,
      rowsOf(m, p, (_, i) => z(0, i)),
    );
  },
  addProduct({ kernels, m, p, q, make, matrix, outside }) {
    for (const weights of [matrix(W), outside(W)]) {
      const out = make(new Float64Array(m * p).fill(1));
      kernels.addProduct(out, kernels.factor(weights), make(rowsOf(m, q, v)));
      expectRows(
        out,
        rowsOf(m, p, (j, i) => 1 + sum(q, (k) => W(i, k) * v(j, k))),
      );
    }
  },
  addTransposedProduct({ kernels, m, p, q, make, matrix, outside }) {
    for (const weights of [matrix(W), outside(W)]) {
      const out = make(new Float64Array(m * q).fill(1));
      kernels.addTransposedProduct(out, kernels.factor(weights), make(rowsOf(m, p, z)));
      expectRows(
        out,
        rowsOf(m, q, (j, k) => 1 + sum(p, (i) => W(i, k) * z(j, i))),
      );
    }
  },
  addOuterProducts({ kernels, m, p, q, make, matrix }) {
    const dW = matrix(() => 1);
    kernels.addOuterProducts(dW, make(rowsOf(m, p, z)), make(rowsOf(m, q, v)));
    const expected = blockIn(p, q, (i, k) => 1 + sum(m, (j) => z(j, i) * v(j, k))).numbers;
    expectSame(dW.data.subarray(0, expected.length), expected);
  },
  addRows({ kernels, m, p, make }) {
    const db = make(new Float64Array(p).fill(1));
    kernels.addRows(db, make(rowsOf(m, p, z)));
    expectRows(
      db,
      Float64Array.from({ length: p }, (_, i) => 1 + sum(m, (j) => z(j, i))),
    );
  },
  softmaxRows({ kernels, m, p, make }) {
    const out = make(rowsOf(m, p, z));
    kernels.softmaxRows(out, p);
    const total = (j: number) => sum(p, (i) => Math.exp(z(j, i)));
    const expected = [...rowsOf(m, p, (j, i) => Math.exp(z(j, i)) / total(j))];
    expectUntouchedAround(out);
    expectNear(numbersOf(out), expected, kernels.dtype);
  },
};

it.each(kernelNames)('%s has a definition that it is compared with', (name) => {
  expect(Object.keys({ ...elementWise, ...rowWise })).toContain(name);
});

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
    for (const define of Object.values(rowWise)) {
      const make = room(kernels, roomFor(p, q, m));
      const matrix = (value: (i: number, k: number) => number): Matrix => {
        const { numbers, block } = blockIn(p, q, value);
        return { ...block, data: make(numbers).data };
      };
      const outside = (value: (i: number, k: number) => number): Matrix => {
        const { numbers, block } = blockIn(p, q, value);
        return { ...block, data: new arrayOf[dtype](numbers) };
      };
      define({ kernels, p, q, m, make: (values) => make(values, offset), matrix, outside });
    }
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

/** All numbers that a kernel was called with, after the call; before it they were such that results have to be rounded. */
function resultsOf(kernels: Kernels, name: KernelName, sizes: Sizes, offset: number): number[] {
  const { m, p, q } = sizes;
  const make = room(kernels, roomFor(p, q, m) + 13 * (m * p + offset + 40));
  const arrays: Rows[] = [];
  const operands = operandsOf(kernels, name, sizes, (length) => {
    arrays.push(
      make(
        Float64Array.from({ length }, (_, i) => wave(arrays.length)(i)),
        offset,
      ),
    );
    return arrays[arrays.length - 1];
  });
  call(kernels, name, operands);
  for (const array of arrays) expectUntouchedAround(array);
  return arrays.flatMap(numbersOf);
}

const anySizes = fc.record({
  m: fc.integer({ min: 1, max: 12 }),
  p: fc.integer({ min: 1, max: 70 }),
  q: fc.integer({ min: 1, max: 40 }),
});
const anyOffset = fc.integer({ min: 0, max: 5 });

describe.each(['float64', 'float32'] as const)('%s', (dtype) => {
  const build = (name: string) => builds.find(({ tier }) => tier === name) ?? expect.fail(name);

  describe.each(kernelNames)('%s', (name) => {
    it('gives the same bits on fma and wide', () => {
      fc.assert(
        fc.property(anySizes, anyOffset, (sizes, offset) => {
          const [actual, expected] = ['wide', 'fma'].map((one) => resultsOf(build(one)[dtype], name, sizes, offset));
          expectSame(actual, expected);
        }),
        { numRuns: 15 },
      );
    });

    it.each(fastBuilds.map(({ tier }) => tier))('gives on %s what it gives in plain TypeScript', (tier) => {
      fc.assert(
        fc.property(anySizes, anyOffset, (sizes, offset) => {
          const [actual, expected] = [build(tier), reference].map((one) => resultsOf(one[dtype], name, sizes, offset));
          // Sums of up to 70 products are around 10.
          expectNear(
            actual.map((value) => value / 10),
            expected.map((value) => value / 10),
            dtype,
          );
        }),
        { numRuns: 15 },
      );
    });
  });
});

/** What lstmGates does, in elementary kernels. */
function composedGates(
  kernels: Kernels,
  { ft, it, cct, ot }: LstmGates,
  c_next: Rows,
  a_next: Rows,
  c_prev: Rows,
): void {
  for (const gate of [ft, it, ot]) kernels.sigmoid(gate);
  kernels.tanh(cct);
  kernels.hadamard(c_next, it, cct);
  kernels.addHadamard(c_next, ft, c_prev);
  kernels.fillRows(a_next, c_next);
  kernels.tanh(a_next);
  kernels.hadamard(a_next, ot, a_next);
}

/** What lstmGateGradients does, in elementary kernels. */
function composedGradients(
  kernels: Kernels,
  { dzf, dzi, dzc, dzo }: LstmGateGradients,
  dc_prev: Rows,
  da_next: Rows,
  dc_next: Rows,
  { ft, it, cct, ot }: LstmGates,
  c_prev: Rows,
  c_next: Rows,
): void {
  const [tanh, g] = [dzf, dzi]; // until they are needed
  kernels.fillRows(tanh, c_next);
  kernels.tanh(tanh);
  kernels.hadamard(dzo, da_next, tanh);
  kernels.sigmoidGradient(dzo, dzo, ot);
  kernels.hadamard(g, da_next, ot);
  kernels.tanhGradient(g, g, tanh);
  kernels.add(g, dc_next, g);
  kernels.hadamard(dzf, g, c_prev);
  kernels.sigmoidGradient(dzf, dzf, ft);
  kernels.hadamard(dzc, g, it);
  kernels.tanhGradient(dzc, dzc, cct);
  kernels.hadamard(dc_prev, g, ft);
  kernels.hadamard(dzi, g, cct);
  kernels.sigmoidGradient(dzi, dzi, it);
}

/** What gruOutput does, in elementary kernels. @param difference room to work in */
function composedOutput(kernels: Kernels, { zt, cct }: GruGates, a_next: Rows, a_prev: Rows, difference: Rows): void {
  kernels.sigmoid(zt);
  kernels.tanh(cct);
  kernels.fillRows(a_next, cct);
  kernels.subtract(difference, a_prev, cct);
  kernels.addHadamard(a_next, zt, difference);
}

/** What gruOutputGradients does, in elementary kernels. @param rest, ones room to work in; ones holds ones */
function composedOutputGradients(
  kernels: Kernels,
  { dzz, dzc }: GruGateGradients,
  da_prev: Rows,
  da_next: Rows,
  { zt, cct }: GruGates,
  a_prev: Rows,
  [rest, ones]: readonly Rows[],
): void {
  kernels.subtract(rest, ones, zt);
  kernels.hadamard(dzc, da_next, rest);
  kernels.tanhGradient(dzc, dzc, cct);
  kernels.hadamard(da_prev, da_next, zt);
  kernels.subtract(dzz, a_prev, cct);
  kernels.hadamard(dzz, da_prev, dzz);
  kernels.hadamard(dzz, dzz, rest);
}

describe.each(allKernels)('$tier $dtype: the fused kernels', ({ kernels, dtype, tier }) => {
  /** Plain TypeScript computes in float64 between two stores, and a fused kernel stores less. */
  const expectEqual = (actual: number[], expected: number[]) =>
    tier === 'scalar' && dtype === 'float32' ? expectNear(actual, expected, dtype) : expectSame(actual, expected);
  /** Runs a kernel on arrays of this length; all numbers afterwards. */
  const run = (count: number, length: number, offset: number, kernel: (arrays: Rows[]) => void): number[] => {
    const make = room(kernels, 20 * (length + 40));
    const arrays = upTo(count - 1).map((array) => make(upTo(length - 1).map(wave(array)), offset));
    kernel(arrays);
    return arrays.flatMap(numbersOf);
  };
  /** A fused kernel works through 2 KiB of each array at a time. */
  const lengths = [...upTo(37), 255, 256, 257, 515, 700];

  it('of the GRU give what the elementary kernels give', () => {
    for (const length of lengths) {
      for (const offset of [0, 3]) {
        const [fused, composed] = [kernels.gruOutput, composedOutput.bind(undefined, kernels)].map((output) =>
          run(5, length, offset, ([zt, cct, a_next, a_prev, difference]) => {
            output({ zt, cct }, a_next, a_prev, difference);
            difference.data.fill(0);
          }),
        );
        expectEqual(fused, composed);
      }
    }
  });

  it.each([
    ['memory of its own', false],
    ['the memory of da_next', true],
  ])('of the GRU hand back what the elementary kernels hand back, with da_prev in %s', (_, inPlace) => {
    for (const length of lengths) {
      const [fused, composed] = [kernels.gruOutputGradients, composedOutputGradients.bind(undefined, kernels)].map(
        (gradients) =>
          run(9, length, 1, ([dzz, dzc, da_prev, da_next, zt, cct, a_prev, rest, ones]) => {
            for (let i = 0; i < length; i++) ones.data[ones.offset + i] = 1;
            const room = [rest, ones];
            gradients({ dzz, dzc }, inPlace ? da_next : da_prev, da_next, { zt, cct }, a_prev, room);
            rest.data.fill(0);
          }),
      );
      expectEqual(fused, composed);
    }
  });

  it('of the LSTM give what the elementary kernels give', () => {
    for (const length of lengths) {
      for (const offset of [0, 3]) {
        const [fused, composed] = [kernels.lstmGates, composedGates.bind(undefined, kernels)].map((gates) =>
          run(7, length, offset, ([ft, it, cct, ot, c_next, a_next, c_prev]) =>
            gates({ ft, it, cct, ot }, c_next, a_next, c_prev),
          ),
        );
        expectEqual(fused, composed);
      }
    }
  });

  it.each([
    ['memory of its own', false],
    ['the memory of dc_next', true],
  ])('of the LSTM hand back what the elementary kernels hand back, with dc_prev in %s', (_, inPlace) => {
    for (const length of lengths) {
      const [fused, composed] = [kernels.lstmGateGradients, composedGradients.bind(undefined, kernels)].map(
        (gradients) =>
          run(13, length, 1, ([dzf, dzi, dzc, dzo, dc_prev, da_next, dc_next, ft, it, cct, ot, c_prev, c_next]) => {
            const [dz, gates] = [
              { dzf, dzi, dzc, dzo },
              { ft, it, cct, ot },
            ];
            gradients(dz, inPlace ? dc_next : dc_prev, da_next, dc_next, gates, c_prev, c_next);
          }),
      );
      expectEqual(fused, composed);
    }
  });
});

describe.each(fastBuilds)('the module of $tier', ({ tier }) => {
  const module = readFileSync(new URL(`../../dist/kernels/${tier}.wasm`, import.meta.url));

  it.each(['addProduct64', 'sigmoid32', 'lstmGates64'])('is refused when it is loaded if it lacks %s', (name) => {
    const lacking = Buffer.from(module);
    lacking.write('-', lacking.indexOf(name)); // its export has another name
    expect(() => buildOf(tier, lacking)).toThrow(`no ${name}`);
    expect(() => buildOf(tier, module)).not.toThrow();
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
