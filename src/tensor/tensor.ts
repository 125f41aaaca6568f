/** The type of all numbers of a request, and what arrays hold them. */
export type Dtype = 'float64' | 'float32';
export type Numbers = Float64Array | Float32Array;

export const arrayOf = { float64: Float64Array, float32: Float32Array } as const satisfies Record<Dtype, unknown>;

export function dtypeOf(data: Numbers): Dtype {
  return data instanceof Float32Array ? 'float32' : 'float64';
}

/**
 * A tensor. Element [i, j, …] is data[i · strides[0] + j · strides[1] + …]; `data` holds exactly the
 * tensor's elements, whatever their order.
 */
export interface Tensor {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly data: Numbers;
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
 * Turns the order of up to three axes around, from row-major to time-major or back, for some of the last axis:
 * out[k − from, j, i] = data[i, j, k] for from ≤ k < to.
 *
 * @param shape of `data`, whose last axis is contiguous; `out` has the reverse shape
 */
export function reverseAxes(out: Numbers, data: Numbers, shape: Shape, from = 0, to = shape[shape.length - 1]): void {
  const [a, b, c] = shape.length === 3 ? shape : [shape[0], 1, shape[1] ?? 1];
  for (let j = 0; j < b; j++) {
    for (let i0 = 0; i0 < a; i0 += BLOCK) {
      const i1 = Math.min(i0 + BLOCK, a);
      for (let k0 = from; k0 < to; k0 += BLOCK) {
        const k1 = Math.min(k0 + BLOCK, to);
        for (let i = i0; i < i1; i++) {
          const row = (i * b + j) * c;
          for (let k = k0; k < k1; k++) out[((k - from) * b + j) * a + i] = data[row + k];
        }
      }
    }
  }
}

/**
 * Copies numbers `from` to `to` (not included) of a tensor, counted in row-major order: out[p − from] = tensor[i, j, k] for
 * p = (i · m + j) · T + k.
 */
export function rowMajorRange(out: Numbers, { shape, strides, data }: Tensor, from: number, to: number): void {
  if (strides.at(-1) === 1) {
    out.set(data.subarray(from, to));
    return;
  }
  // Time-major: the first axis is contiguous.
  const row = elements(shape.slice(1));
  if (from % row === 0 && to % row === 0) reverseAxes(out, data, shape.toReversed(), from / row, to / row);
  else copyRuns(out, { shape, strides, data }, from, to);
}

/** The same for any range: run by run along the last axis. */
function copyRuns(out: Numbers, { shape, strides, data }: Tensor, from: number, to: number): void {
  const [stride, length] = [strides[strides.length - 1], shape[shape.length - 1]];
  for (let p = from; p < to; ) {
    let rest = p;
    let at = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += (rest % shape[axis]) * strides[axis];
      rest = Math.floor(rest / shape[axis]);
    }
    const end = Math.min(to, p - (p % length) + length);
    for (; p < end; p++, at += stride) out[p - from] = data[at];
  }
}

/** The index [i, j, …] of the element at `position` in the data of a time-major or row-major tensor. */
export function indexAt({ shape, strides }: Tensor, position: number): number[] {
  return shape.map((n, axis) => Math.floor(position / strides[axis]) % n);
}

/** Examples from … to − 1 of a row-major (n, m) or (n, m, T) tensor, row-major, in memory of their own. */
export function sliceExamples({ shape, data }: Tensor, from: number, to: number): Tensor {
  const [n, m, T = 1] = shape;
  const sliced = shape.with(1, to - from);
  const out = new arrayOf[dtypeOf(data)](elements(sliced));
  const length = (to - from) * T;
  for (let i = 0; i < n; i++) {
    const start = (i * m + from) * T;
    out.set(data.subarray(start, start + length), i * length);
  }
  return { shape: sliced, strides: rowMajor(sliced), data: out };
}

/** The reverse: the examples of several row-major tensors, which agree in all else, as one. */
export function joinExamples(parts: readonly Tensor[]): Tensor {
  const [{ shape, data }] = parts;
  const m = parts.reduce((sum, part) => sum + part.shape[1], 0);
  const [n, , T = 1] = shape;
  const joined = shape.with(1, m);
  const out = new arrayOf[dtypeOf(data)](elements(joined));
  let example = 0;
  for (const part of parts) {
    const length = part.shape[1] * T;
    for (let i = 0; i < n; i++) out.set(part.data.subarray(i * length, (i + 1) * length), (i * m + example) * T);
    example += part.shape[1];
  }
  return { shape: joined, strides: rowMajor(joined), data: out };
}
