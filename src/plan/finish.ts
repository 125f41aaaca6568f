import type { Operation } from '../operations/operation.js';
import type { Sizes } from '../tensor/shapes.js';
import { hasBatchAxis, type Values, withTensors } from '../tensor/signature.js';
import { arrayOf, type Dtype, elements, rowMajor, type Tensor } from '../tensor/tensor.js';
import type { Computed, PlannedTensor } from './members.js';
import { joinedOf, type SliceToJoin } from './pieces.js';

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
    const data = new arrayOf[dtype](elements(shape));
    const sum = sums.get(key) ?? { planned, tensor: { shape, strides: rowMajor(shape), data } };
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

/** Is this slice part of a sum over the batch? */
export function isOfSum({ planned: { part, member } }: Pick<SliceToJoin, 'planned'>): boolean {
  return part === 'answer' && !hasBatchAxis(member);
}
