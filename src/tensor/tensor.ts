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

/** Copies numbers in row-major order to where the strides put them. */
export function scatter(data: Float64Array, numbers: Float64Array, shape: Shape, strides: readonly number[]): void {
  let read = 0;
  const walk = (axis: number, at: number): void => {
    const [count, stride] = [shape[axis], strides[axis]];
    if (axis === shape.length - 1) {
      for (let i = 0; i < count; i++) data[at + i * stride] = numbers[read++];
    } else {
      for (let i = 0; i < count; i++) walk(axis + 1, at + i * stride);
    }
  };
  walk(0, 0);
}

/** The index [i, j, …] of the element at `position` in the data of a time-major or row-major tensor. */
export function indexAt({ shape, strides }: Tensor, position: number): number[] {
  return shape.map((n, axis) => Math.floor(position / strides[axis]) % n);
}
