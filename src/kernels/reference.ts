import type { Factor, Kernels, Matrix } from './kernels.js';

/**
 * The kernels in plain TypeScript: every sum in the order it is written down, nothing blocked or unrolled.
 * They are the oracle for any faster build.
 */
export const reference: Kernels = {
  tier: 'scalar',
  reserve: () => (length) => new Float64Array(length),
  elementsFor: (length) => length,
  elementsForFactor: () => 0,
  factor: (matrix) => ({ matrix }),
  fillRows,
  addProduct,
  addTransposedProduct,
  addOuterProducts,
  addRows,
  sigmoid,
  tanh,
  softmaxRows,
};

function fillRows(out: Float64Array, row: Float64Array): void {
  for (let start = 0; start < out.length; start += row.length) out.set(row, start);
}

function addProduct(out: Float64Array, { matrix }: Factor, v: Float64Array): void {
  const { data, offset, rows, columns, stride } = matrix;
  const m = v.length / columns;
  for (let j = 0; j < m; j++) {
    for (let i = 0; i < rows; i++) {
      const w = offset + i * stride;
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += data[w + k] * v[j * columns + k];
      out[j * rows + i] += sum;
    }
  }
}

function addTransposedProduct(out: Float64Array, { matrix }: Factor, v: Float64Array): void {
  const { data, offset, rows, columns, stride } = matrix;
  const m = v.length / rows;
  for (let j = 0; j < m; j++) {
    for (let i = 0; i < rows; i++) {
      const w = offset + i * stride;
      const factor = v[j * rows + i];
      for (let k = 0; k < columns; k++) out[j * columns + k] += data[w + k] * factor;
    }
  }
}

function addOuterProducts(dW: Matrix, dz: Float64Array, v: Float64Array): void {
  const { data, offset, rows, columns, stride } = dW;
  const m = v.length / columns;
  for (let j = 0; j < m; j++) {
    for (let i = 0; i < rows; i++) {
      const w = offset + i * stride;
      const factor = dz[j * rows + i];
      for (let k = 0; k < columns; k++) data[w + k] += factor * v[j * columns + k];
    }
  }
}

function addRows(db: Float64Array, dz: Float64Array): void {
  const n = db.length;
  for (let start = 0; start < dz.length; start += n) {
    for (let i = 0; i < n; i++) db[i] += dz[start + i];
  }
}

/**
 * σ(z) = 1 / (1 + e^−z). The exponential is taken of −|z|, so it never overflows: σ(−745) is the smallest
 * denormal rather than 0, and σ of a very large |z| is exactly 0 or 1. At most 2 units in the last place off.
 */
function sigmoid(v: Float64Array): void {
  for (let i = 0; i < v.length; i++) {
    const z = v[i];
    const e = Math.exp(-Math.abs(z));
    const sum = 1 + e;
    const y = z < 0 ? e / sum : 1 / sum;
    v[i] = y - (y * (e - (sum - 1))) / sum; // what rounding the sum left out
  }
}

/** tanh(z) = t / (t + 2) with the sign of z, where t = e^(2|z|) − 1. At most 2 units in the last place off. */
function tanh(v: Float64Array): void {
  for (let i = 0; i < v.length; i++) {
    const z = v[i];
    const t = Math.expm1(2 * Math.min(Math.abs(z), 20));
    const sum = t + 2;
    const y = t / sum;
    const size = y - (y * (t - (sum - 2))) / sum;
    v[i] = z < 0 || Object.is(z, -0) ? -size : size;
  }
}

/** The row's maximum is subtracted first: e^0 = 1 is then the largest term, and logits thousands apart are fine. */
function softmaxRows(v: Float64Array, n: number): void {
  for (let start = 0; start < v.length; start += n) {
    let max = v[start];
    for (let i = 1; i < n; i++) max = Math.max(max, v[start + i]);
    let sum = 0;
    for (let i = 0; i < n; i++) {
      v[start + i] = Math.exp(v[start + i] - max);
      sum += v[start + i];
    }
    for (let i = 0; i < n; i++) v[start + i] /= sum;
  }
}
