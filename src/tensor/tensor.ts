/**
 * A float64 tensor. Element [i, j, …] is data[i · strides[0] + j · strides[1] + …]; `data` holds exactly the
 * tensor's elements, whatever their order.
 */
export interface Tensor {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly data: Float64Array;
}

export type Shape = readonly number[];

export function elements(shape: Shape): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** Strides of nested arrays as they are written: the last axis is contiguous. */
export function rowMajor(shape: Shape): number[] {
  return shape.map((_, axis) => elements(shape.slice(axis + 1)));
}

/** Strides of time steps × examples × features: (n, m, T) lies as (T, m, n), the first axis is contiguous. */
export function timeMajor(shape: Shape): number[] {
  return shape.map((_, axis) => elements(shape.slice(0, axis)));
}

/** Numbers that are turned over at a time, in each direction: a block of both sides stays in the first cache. */
const BLOCK = 8;

/**
 * Turns the order of up to three axes around, from row-major to time-major or back: out[k, j, i] = data[i, j, k].
 *
 * @param shape of `data`, whose last axis is contiguous; `out` has the reverse shape
 */
export function reverseAxes(out: Float64Array, data: Float64Array, shape: Shape): void {
  const [a, b, c] = shape.length === 3 ? shape : [shape[0], 1, shape[1] ?? 1];
  for (let j = 0; j < b; j++) {
    for (let i0 = 0; i0 < a; i0 += BLOCK) {
      const i1 = Math.min(i0 + BLOCK, a);
      for (let k0 = 0; k0 < c; k0 += BLOCK) {
        const k1 = Math.min(k0 + BLOCK, c);
        for (let i = i0; i < i1; i++) {
          const row = (i * b + j) * c;
          for (let k = k0; k < k1; k++) out[(k * b + j) * a + i] = data[row + k];
        }
      }
    }
  }
}

/** The index [i, j, …] of the element at `position` in the data of a time-major or row-major tensor. */
export function indexAt({ shape, strides }: Tensor, position: number): number[] {
  return shape.map((n, axis) => Math.floor(position / strides[axis]) % n);
}
