import { arrayOf, type Dtype, type Numbers } from '../tensor/tensor.js';
import type {
  Build,
  Factor,
  GruGateGradients,
  GruGates,
  Kernels,
  LstmGateGradients,
  LstmGates,
  Matrix,
  Rows,
} from './kernels.js';

/**
 * The kernels in plain TypeScript: the oracle for any faster build, and what computes where there is none. Every
 * element of a product is the sum c + a_0·b_0 + a_1·b_1 + … in that order. Numbers of type float32 are stored as such;
 * between two stores JavaScript computes in float64.
 */
export const reference: Build = {
  tier: 'scalar',
  float64: plain('float64'),
  float32: plain('float32'),
  release: () => false,
};

function plain(dtype: Dtype): Kernels {
  return {
    dtype,
    reserve: () => (length) => new arrayOf[dtype](length),
    elementsFor: (length) => length,
    elementsForFactor: () => 0,
    factor: (matrix) => ({ matrix }),
    fillRows,
    addProduct,
    addTransposedProduct,
    addOuterProducts,
    addRows,
    add,
    subtract,
    hadamard,
    addHadamard,
    sigmoid,
    sigmoidGradient,
    tanh,
    tanhGradient,
    softmaxRows,
    lstmGates,
    lstmGateGradients,
    gruOutput,
    gruOutputGradients,
  };
}

export function fillRows(out: Rows, row: Rows): void {
  const { data, offset, length } = out;
  for (let i = 0; i < row.length; i++) data[offset + i] = row.data[row.offset + i];
  // What is filled doubles each time.
  for (let done = row.length; done < length; done *= 2) {
    data.copyWithin(offset + done, offset, offset + Math.min(done, length - done));
  }
}

function addProduct(out: Rows, { matrix: W }: Factor, v: Rows): void {
  const m = v.length / W.columns;
  const inputs = { data: v.data, offset: v.offset, along: W.columns, step: 1 };
  const weights = { data: W.data, offset: W.offset, along: W.stride, step: 1 };
  accumulate(out.data, out.offset, W.rows, inputs, weights, m, W.rows, W.columns);
}

function addTransposedProduct(out: Rows, { matrix: W }: Factor, v: Rows): void {
  const m = v.length / W.rows;
  const inputs = { data: v.data, offset: v.offset, along: W.rows, step: 1 };
  const weights = { data: W.data, offset: W.offset, along: 1, step: W.stride };
  accumulate(out.data, out.offset, W.columns, inputs, weights, m, W.columns, W.rows);
}

function addOuterProducts(dW: Matrix, dz: Rows, v: Rows): void {
  const m = dz.length / dW.rows;
  const gradients = { data: dz.data, offset: dz.offset, along: 1, step: dW.rows };
  const inputs = { data: v.data, offset: v.offset, along: 1, step: dW.columns };
  accumulate(dW.data, dW.offset, dW.stride, gradients, inputs, dW.rows, dW.columns, m);
}

/** One side of a product: row r, step k is data[offset + r · along + k · step]. */
interface Side {
  readonly data: Numbers;
  readonly offset: number;
  readonly along: number;
  readonly step: number;
}

/** C(r, s) += Σ_k A(r, k) · B(s, k), where C(r, s) is C[offset + r · stride + s]: in tiles of 4 × 4, which stay in registers. */
function accumulate(
  C: Numbers,
  offset: number,
  stride: number,
  A: Side,
  B: Side,
  rows: number,
  columns: number,
  depth: number,
): void {
  const [tiledRows, tiledColumns] = [rows - (rows % 4), columns - (columns % 4)];
  for (let s = 0; s < tiledColumns; s += 4) {
    for (let r = 0; r < tiledRows; r += 4) addTile(C, offset + r * stride + s, stride, A, B, r, s, depth);
    for (let r = tiledRows; r < rows; r++) {
      for (let i = 0; i < 4; i++) addElement(C, offset + r * stride + s + i, A, B, r, s + i, depth);
    }
  }
  for (let r = 0; r < rows; r++) {
    for (let s = tiledColumns; s < columns; s++) addElement(C, offset + r * stride + s, A, B, r, s, depth);
  }
}

function addElement(C: Numbers, at: number, A: Side, B: Side, r: number, s: number, depth: number): void {
  const { data: a, step: aStep } = A;
  const { data: b, step: bStep } = B;
  let i = A.offset + r * A.along;
  let j = B.offset + s * B.along;
  let sum = C[at];
  for (let k = 0; k < depth; k++) {
    sum += a[i] * b[j];
    i += aStep;
    j += bStep;
  }
  C[at] = sum;
}

function addTile(C: Numbers, at: number, stride: number, A: Side, B: Side, r: number, s: number, depth: number): void {
  const { data: a, step: aStep } = A;
  const { data: b, step: bStep } = B;
  let i0 = A.offset + r * A.along;
  let i1 = i0 + A.along;
  let i2 = i1 + A.along;
  let i3 = i2 + A.along;
  let j0 = B.offset + s * B.along;
  let j1 = j0 + B.along;
  let j2 = j1 + B.along;
  let j3 = j2 + B.along;
  const at1 = at + stride;
  const at2 = at1 + stride;
  const at3 = at2 + stride;
  let c00 = C[at];
  let c01 = C[at + 1];
  let c02 = C[at + 2];
  let c03 = C[at + 3];
  let c10 = C[at1];
  let c11 = C[at1 + 1];
  let c12 = C[at1 + 2];
  let c13 = C[at1 + 3];
  let c20 = C[at2];
  let c21 = C[at2 + 1];
  let c22 = C[at2 + 2];
  let c23 = C[at2 + 3];
  let c30 = C[at3];
  let c31 = C[at3 + 1];
  let c32 = C[at3 + 2];
  let c33 = C[at3 + 3];
  for (let k = 0; k < depth; k++) {
    const b0 = b[j0];
    const b1 = b[j1];
    const b2 = b[j2];
    const b3 = b[j3];
    const a0 = a[i0];
    c00 += a0 * b0;
    c01 += a0 * b1;
    c02 += a0 * b2;
    c03 += a0 * b3;
    const a1 = a[i1];
    c10 += a1 * b0;
    c11 += a1 * b1;
    c12 += a1 * b2;
    c13 += a1 * b3;
    const a2 = a[i2];
    c20 += a2 * b0;
    c21 += a2 * b1;
    c22 += a2 * b2;
    c23 += a2 * b3;
    const a3 = a[i3];
    c30 += a3 * b0;
    c31 += a3 * b1;
    c32 += a3 * b2;
    c33 += a3 * b3;
    i0 += aStep;
    i1 += aStep;
    i2 += aStep;
    i3 += aStep;
    j0 += bStep;
    j1 += bStep;
    j2 += bStep;
    j3 += bStep;
  }
  C[at] = c00;
  C[at + 1] = c01;
  C[at + 2] = c02;
  C[at + 3] = c03;
  C[at1] = c10;
  C[at1 + 1] = c11;
  C[at1 + 2] = c12;
  C[at1 + 3] = c13;
  C[at2] = c20;
  C[at2 + 1] = c21;
  C[at2 + 2] = c22;
  C[at2 + 3] = c23;
  C[at3] = c30;
  C[at3 + 1] = c31;
  C[at3 + 2] = c32;
  C[at3 + 3] = c33;
}

function addRows(db: Rows, dz: Rows): void {
  const n = db.length;
  for (let start = dz.offset; start < dz.offset + dz.length; start += n) {
    for (let i = 0; i < n; i++) db.data[db.offset + i] += dz.data[start + i];
  }
}

function add(out: Rows, one: Rows, other: Rows): void {
  for (let i = 0; i < out.length; i++) {
    out.data[out.offset + i] = one.data[one.offset + i] + other.data[other.offset + i];
  }
}

function subtract(out: Rows, one: Rows, other: Rows): void {
  for (let i = 0; i < out.length; i++) {
    out.data[out.offset + i] = one.data[one.offset + i] - other.data[other.offset + i];
  }
}

function hadamard(out: Rows, one: Rows, other: Rows): void {
  for (let i = 0; i < out.length; i++) {
    out.data[out.offset + i] = one.data[one.offset + i] * other.data[other.offset + i];
  }
}

function addHadamard(out: Rows, one: Rows, other: Rows): void {
  for (let i = 0; i < out.length; i++) {
    out.data[out.offset + i] += one.data[one.offset + i] * other.data[other.offset + i];
  }
}

/**
 * σ(z) = 1 / (1 + e^−z). The exponential is taken of −|z|, so it never overflows: σ(−745) is the smallest
 * denormal rather than 0, and σ of a very large |z| is exactly 0 or 1. At most 2 units in the last place off.
 */
function sigmoidOf(z: number): number {
  const e = Math.exp(-Math.abs(z));
  const sum = 1 + e;
  const y = z < 0 ? e / sum : 1 / sum;
  return y - (y * (e - (sum - 1))) / sum; // what rounding the sum left out
}

function sigmoid({ data, offset, length }: Rows): void {
  for (let i = offset; i < offset + length; i++) data[i] = sigmoidOf(data[i]);
}

function sigmoidGradient(dz: Rows, da: Rows, a: Rows): void {
  for (let i = 0; i < dz.length; i++) {
    const y = a.data[a.offset + i];
    dz.data[dz.offset + i] = da.data[da.offset + i] * y * (1 - y);
  }
}

/** tanh(z) = t / (t + 2) with the sign of z, where t = e^(2|z|) − 1. At most 2 units in the last place off. */
function tanhOf(z: number): number {
  const t = Math.expm1(2 * Math.min(Math.abs(z), 20));
  const sum = t + 2;
  const y = t / sum;
  const size = y - (y * (t - (sum - 2))) / sum;
  return z < 0 || Object.is(z, -0) ? -size : size;
}

function tanh({ data, offset, length }: Rows): void {
  for (let i = offset; i < offset + length; i++) data[i] = tanhOf(data[i]);
}

function tanhGradient(dz: Rows, da: Rows, a: Rows): void {
  for (let i = 0; i < dz.length; i++) {
    const y = a.data[a.offset + i];
    dz.data[dz.offset + i] = da.data[da.offset + i] * (1 - y * y);
  }
}

/** The row's maximum is subtracted first: e^0 = 1 is then the largest term, and logits thousands apart are fine. */
function softmaxRows({ data, offset, length }: Rows, n: number): void {
  for (let start = offset; start < offset + length; start += n) {
    let max = data[start];
    for (let i = 1; i < n; i++) max = Math.max(max, data[start + i]);
    let sum = 0;
    for (let i = 0; i < n; i++) {
      data[start + i] = Math.exp(data[start + i] - max);
      sum += data[start + i];
    }
    for (let i = 0; i < n; i++) data[start + i] /= sum;
  }
}

function lstmGates({ ft, it, cct, ot }: LstmGates, c_next: Rows, a_next: Rows, c_prev: Rows): void {
  for (let k = 0; k < c_next.length; k++) {
    const f = sigmoidOf(ft.data[ft.offset + k]);
    const i = sigmoidOf(it.data[it.offset + k]);
    const cc = tanhOf(cct.data[cct.offset + k]);
    const o = sigmoidOf(ot.data[ot.offset + k]);
    const c = f * c_prev.data[c_prev.offset + k] + i * cc;
    ft.data[ft.offset + k] = f;
    it.data[it.offset + k] = i;
    cct.data[cct.offset + k] = cc;
    ot.data[ot.offset + k] = o;
    c_next.data[c_next.offset + k] = c;
    a_next.data[a_next.offset + k] = o * tanhOf(c);
  }
}

function lstmGateGradients(
  { dzf, dzi, dzc, dzo }: LstmGateGradients,
  dc_prev: Rows,
  da_next: Rows,
  dc_next: Rows,
  { ft, it, cct, ot }: LstmGates,
  c_prev: Rows,
  c_next: Rows,
): void {
  for (let k = 0; k < c_next.length; k++) {
    const f = ft.data[ft.offset + k];
    const i = it.data[it.offset + k];
    const cc = cct.data[cct.offset + k];
    const o = ot.data[ot.offset + k];
    const da = da_next.data[da_next.offset + k];
    const tanh_c = tanhOf(c_next.data[c_next.offset + k]);
    const g = dc_next.data[dc_next.offset + k] + da * o * (1 - tanh_c * tanh_c);
    dzf.data[dzf.offset + k] = g * c_prev.data[c_prev.offset + k] * f * (1 - f);
    dzi.data[dzi.offset + k] = g * cc * i * (1 - i);
    dzc.data[dzc.offset + k] = g * i * (1 - cc * cc);
    dzo.data[dzo.offset + k] = da * tanh_c * o * (1 - o);
    dc_prev.data[dc_prev.offset + k] = g * f;
  }
}

function gruOutput({ zt, cct }: GruGates, a_next: Rows, a_prev: Rows): void {
  for (let k = 0; k < a_next.length; k++) {
    const z = sigmoidOf(zt.data[zt.offset + k]);
    const cc = tanhOf(cct.data[cct.offset + k]);
    zt.data[zt.offset + k] = z;
    cct.data[cct.offset + k] = cc;
    a_next.data[a_next.offset + k] = cc + z * (a_prev.data[a_prev.offset + k] - cc);
  }
}

function gruOutputGradients(
  { dzz, dzc }: GruGateGradients,
  da_prev: Rows,
  da_next: Rows,
  { zt, cct }: GruGates,
  a_prev: Rows,
): void {
  for (let k = 0; k < a_prev.length; k++) {
    const da = da_next.data[da_next.offset + k];
    const z = zt.data[zt.offset + k];
    const cc = cct.data[cct.offset + k];
    dzz.data[dzz.offset + k] = da * z * (a_prev.data[a_prev.offset + k] - cc) * (1 - z);
    dzc.data[dzc.offset + k] = da * (1 - z) * (1 - cc * cc);
    da_prev.data[da_prev.offset + k] = da * z;
  }
}
