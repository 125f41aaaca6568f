import type { Operation } from '../operations/operation.js';
import type { Sizes } from '../tensor/shapes.js';
import { hasBatchAxis, type Values, withTensors } from '../tensor/signature.js';
import { arrayOf, type Dtype, elements, rowMajor, type Shape, type Tensor } from '../tensor/tensor.js';
import type { Computed, PlannedTensor } from './members.js';
import { joinedOf, type PlannedSlice, type SliceToJoin } from './pieces.js';

/** The step an operation takes once, when the sums of its answer are complete: means, norms, clipping. */

/** The options of a request: its values that are neither tensors nor groups. */
export function optionsOf(values: Values): Values {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => typeof value !== 'object'));
}

/** Joins the sums of all blocks, finishes them, and takes them apart again: one contribution to each planned slice. */
export function finishSums(
  operation: Operation,
  slices: readonly SliceToJoin[],
  options: Values,
  sizes: Sizes,
  dtype: Dtype,
): { readonly computed: readonly Computed[]; readonly contributions: readonly Tensor[] } {
  const sums = new Map<PlannedTensor['key'], Computed & { readonly tensor: Tensor }>();
  for (const slice of slices) {
    const { planned, from } = slice;
    const { shape, key } = planned;
    const sum = sums.get(key) ?? { planned, tensor: zeros(shape, dtype) };
    sums.set(key, sum);
    sum.tensor.data.set(joinedOf(slice).tensor.data, from * elements(shape.slice(1)));
  }
  const computed = [...sums.values()];
  const values = withTensors(
    {},
    computed.map(({ planned: { path }, tensor }) => [path, tensor]),
  );
  operation.finish?.(values, options, sizes);
  const contributions = slices.map(({ planned, from, contributions: [{ shape, data }] }) => {
    const row = elements(planned.shape.slice(1));
    const whole = sums.get(planned.key)?.tensor.data ?? data;
    return { shape, strides: rowMajor(shape), data: whole.slice(from * row, from * row + data.length) };
  });
  return { computed, contributions };
}

function zeros(shape: Shape, dtype: Dtype): Tensor {
  return { shape, strides: rowMajor(shape), data: new arrayOf[dtype](elements(shape)) };
}

/** The slices of sums, each with the contributions of all blocks. */
export function slicesOfSums(slices: readonly PlannedSlice[], ofSlices: readonly (readonly Tensor[])[]): SliceToJoin[] {
  return slices.flatMap((slice, i) => (isOfSum(slice) ? [{ ...slice, contributions: ofSlices[i] }] : []));
}

/** The contributions to each slice, with the finished sum in place of those that were to be added up. */
export function withFinished(
  slices: readonly PlannedSlice[],
  ofSlices: readonly (readonly Tensor[])[],
  finished: readonly Tensor[],
): (readonly Tensor[])[] {
  let next = 0;
  return slices.map((slice, i) => (isOfSum(slice) ? [finished[next++]] : ofSlices[i]));
}

/** Is this slice part of a sum over the batch? */
function isOfSum({ planned: { part, member } }: PlannedSlice): boolean {
  return part === 'answer' && !hasBatchAxis(member);
}
