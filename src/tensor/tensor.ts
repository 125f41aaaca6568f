/** The type of all real numbers of a request, and what arrays hold them. */
export type Dtype = 'float64' | 'float32';
export type Numbers = Float64Array | Float32Array;

/** What arrays hold counts and choices: lengths, classes. */
export type WholeNumbers = Int32Array;

export const arrayOf = { float64: Float64Array, float32: Float32Array } as const satisfies Record<Dtype, unknown>;

export function dtypeOf(data: Numbers): Dtype {
  return data instanceof Float32Array ? 'float32' : 'float64';
}

/**
 * A tensor. Element [i, j, …] is data[i · strides[0] + j · strides[1] + …]; `data` holds exactly the
 * tensor's elements, whatever their order.
 */
export interface Tensor<N extends Numbers | WholeNumbers = Numbers> {
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly data: N;
}

export type Shape = readonly number[];

export function isReal(tensor: Tensor<Numbers | WholeNumbers>): tensor is Tensor {
  return !(tensor.data instanceof Int32Array);
}

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

/** Are these the strides of nested arrays as they are written? */
function isRowMajor({ shape, strides }: Pick<Tensor, 'shape' | 'strides'>): boolean {
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] > 1 && strides[axis] !== stride) return false;
    stride *= shape[axis];
  }
  return true;
}

/** Is the order of the axes in memory the reverse of that? */
function isReversed({ shape, strides }: Pick<Tensor, 'shape' | 'strides'>): boolean {
  let stride = 1;
  for (let axis = 0; axis < shape.length; axis++) {
    if (shape[axis] > 1 && strides[axis] !== stride) return false;
    stride *= shape[axis];
  }
  return shape.length <= 3;
}

/** Copies a row-major tensor into another order of its axes, which the strides of `out` say. */
export function reorder(out: Tensor, data: Numbers): void {
  if (isRowMajor(out)) out.data.set(data);
  else if (isReversed(out)) reverseAxes(out.data, data, out.shape);
  else
    forEachRun(out, 0, data.length, (p, end, at, stride) => {
      for (; p < end; p++, at += stride) out.data[at] = data[p];
    });
}

/**
 * Copies numbers `from` to `to` (not included) of a tensor, counted in row-major order: out[p − from] = tensor[i, j, k] for
 * p = (i · m + j) · T + k.
 */
export function rowMajorRange<N extends Numbers | WholeNumbers>(
  out: N,
  tensor: Tensor<N>,
  from: number,
  to: number,
): void {
  const { shape, data } = tensor;
  const row = elements(shape.slice(1));
  if (isRowMajor(tensor)) out.set(data.subarray(from, to));
  else if (from % row === 0 && to % row === 0 && isReversed(tensor)) {
    reverseAxes(out as Numbers, data as Numbers, shape.toReversed(), from / row, to / row);
  } else
    forEachRun(tensor, from, to, (p, end, at, stride) => {
      for (; p < end; p++, at += stride) out[p - from] = data[at];
    });
}

/** Calls `copy` for each run of a range along the last axis: row-major positions p to end − 1, which lie at `at` and `stride` apart. */
function forEachRun(
  { shape, strides }: Pick<Tensor, 'shape' | 'strides'>,
  from: number,
  to: number,
  copy: (p: number, end: number, at: number, stride: number) => void,
): void {
  const [stride, length] = [strides[strides.length - 1], shape[shape.length - 1]];
  for (let p = from; p < to; ) {
    let rest = p;
    let at = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += (rest % shape[axis]) * strides[axis];
      rest = Math.floor(rest / shape[axis]);
    }
    const end = Math.min(to, p - (p % length) + length);
    copy(p, end, at, stride);
    p = end;
  }
}

/** The index [i, j, …] of the element at `position` in the data of a time-major or row-major tensor. */
export function indexAt({ shape, strides }: Pick<Tensor, 'shape' | 'strides'>, position: number): number[] {
  return shape.map((n, axis) => Math.floor(position / strides[axis]) % n);
}

/** Examples from … to − 1, along the axis that counts them, of a row-major tensor: row-major, in memory of their own. */
export function sliceExamples<N extends Numbers | WholeNumbers>(
  { shape, data }: Tensor<N>,
  axis: number,
  from: number,
  to: number,
): Tensor<N> {
  const sliced = shape.with(axis, to - from);
  const [outer, inner] = [elements(shape.slice(0, axis)), elements(shape.slice(axis + 1))];
  const out = new (data.constructor as new (length: number) => N)(elements(sliced));
  const length = (to - from) * inner;
  for (let i = 0; i < outer; i++) {
    const start = (i * shape[axis] + from) * inner;
    out.set(data.subarray(start, start + length), i * length);
  }
  return { shape: sliced, strides: rowMajor(sliced), data: out };
}

/** The reverse: the examples of several row-major tensors, which agree in all else, as one. */
export function joinExamples(parts: readonly Tensor[], axis: number): Tensor {
  const [{ shape, data }] = parts;
  const m = parts.reduce((sum, part) => sum + part.shape[axis], 0);
  const joined = shape.with(axis, m);
  const [outer, inner] = [elements(shape.slice(0, axis)), elements(shape.slice(axis + 1))];
  const out = new arrayOf[dtypeOf(data)](elements(joined));
  let example = 0;
  for (const part of parts) {
    const length = part.shape[axis] * inner;
    for (let i = 0; i < outer; i++)
      out.set(part.data.subarray(i * length, (i + 1) * length), (i * m + example) * inner);
    example += part.shape[axis];
  }
  return { shape: joined, strides: rowMajor(joined), data: out };
}
