import type { Operation } from '../operations/operation.js';
import type { Sizes } from '../tensor/shapes.js';
import { hasBatchAxis, type Values, withTensors } from '../tensor/signature.js';
import { arrayOf, type Dtype, elements, rowMajor, type Shape, type Tensor } from '../tensor/tensor.js';
import type { Computed, PlannedTensor } from './members.js';
import { type Cut, type JoinedCut, joinedOf } from './pieces.js';

/** What an operation does once, when the sums of its answer are complete: means, norms, clipping. */

/** The options of a request: its values without tensors. */
export function optionsOf(values: Values): Values {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => typeof value !== 'object'));
}

/** Joins the sums of all blocks, finishes them, and takes them apart again: one contribution to each cut. */
export function finishSums(
  operation: Operation,
  cuts: readonly JoinedCut[],
  options: Values,
  sizes: Sizes,
  dtype: Dtype,
): { readonly computed: readonly Computed[]; readonly contributions: readonly Tensor[] } {
  const sums = new Map<PlannedTensor['key'], Computed & { readonly tensor: Tensor }>();
  for (const cut of cuts) {
    const { planned, from } = cut;
    const { shape, key } = planned;
    const sum = sums.get(key) ?? { planned, tensor: zeros(shape, dtype) };
    sums.set(key, sum);
    sum.tensor.data.set(joinedOf(cut).tensor.data, from * elements(shape.slice(1)));
  }
  const computed = [...sums.values()];
  const values = withTensors(
    {},
    computed.map(({ planned: { path }, tensor }) => [path, tensor]),
  );
  operation.finish?.(values, options, sizes);
  const contributions = cuts.map(({ planned, from, contributions: [{ shape, data }] }) => {
    const row = elements(planned.shape.slice(1));
    const whole = sums.get(planned.key)?.tensor.data ?? data;
    return { shape, strides: rowMajor(shape), data: whole.slice(from * row, from * row + data.length) };
  });
  return { computed, contributions };
}

function zeros(shape: Shape, dtype: Dtype): Tensor {
  return { shape, strides: rowMajor(shape), data: new arrayOf[dtype](elements(shape)) };
}

/** The cuts of sums, with what the blocks have added to each. */
export function cutsOfSums(cuts: readonly Cut[], ofCuts: readonly (readonly Tensor[])[]): JoinedCut[] {
  return cuts.flatMap((cut, i) => (isOfSum(cut) ? [{ ...cut, contributions: ofCuts[i] }] : []));
}

/** What the blocks have added to each cut, with finished sums in the place of theirs. */
export function withFinished(
  cuts: readonly Cut[],
  ofCuts: readonly (readonly Tensor[])[],
  finished: readonly Tensor[],
): (readonly Tensor[])[] {
  let next = 0;
  return cuts.map((cut, i) => (isOfSum(cut) ? [finished[next++]] : ofCuts[i]));
}

function isOfSum({ planned: { part, member } }: Cut): boolean {
  return part === 'answer' && !hasBatchAxis(member);
}
