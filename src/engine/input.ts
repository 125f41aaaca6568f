import type { Factor, Kernels, Matrix, Rows } from '../kernels/kernels.js';
import { range, type Track } from './layout.js';

/**
 * The input of a network: features, or class indices that stand for one-hot features. The product of a matrix with a one-hot
 * vector is one of its columns.
 */
export type Input = Rows | Indices;

/** A run of class indices: number i is ids[offset + i]. */
export interface Indices {
  readonly ids: Int32Array;
  readonly offset: number;
  readonly length: number;
}

/** The input of a sequence: rows of features, or an index for each row. */
export type InputTrack = Track | { readonly ids: Int32Array };

export function inputRange(x: InputTrack, from: number, to: number): Input {
  return 'ids' in x ? { ids: x.ids, offset: from, length: to - from } : range(x, from, to);
}

/** u += Wx·xt, for each row. */
export function addInputProduct(kernels: Kernels, u: Rows, Wx: Factor, xt: Input): void {
  if (!('ids' in xt)) kernels.addProduct(u, Wx, xt);
  else {
    const { data, offset, rows: p, stride } = Wx.matrix;
    for (let j = 0; j < xt.length; j++) {
      let from = offset + xt.ids[xt.offset + j];
      for (let to = u.offset + j * p; to < u.offset + (j + 1) * p; to++, from += stride) u.data[to] += data[from];
    }
  }
}

/** dWx += Σ dz·xtᵀ over the rows. */
export function addInputOuterProducts(kernels: Kernels, dWx: Matrix, dz: Rows, xt: Input): void {
  if (!('ids' in xt)) kernels.addOuterProducts(dWx, dz, xt);
  else {
    const { data, offset, rows: p, stride } = dWx;
    for (let j = 0; j < xt.length; j++) {
      let to = offset + xt.ids[xt.offset + j];
      for (let from = dz.offset + j * p; from < dz.offset + (j + 1) * p; from++, to += stride)
        data[to] += dz.data[from];
    }
  }
}
