import type { Kernels } from '../kernels/kernels.js';
import { type AnyTensor, type Values, valueAt, withTensors } from '../tensor/signature.js';
import { elements, type Numbers, reorder, type Tensor } from '../tensor/tensor.js';
import { type Computed, valuesOf } from './members.js';
import type { Plan } from './plan.js';
import type { Request } from './request.js';

/** The tensors of one request in the memory of the kernels. They are void as soon as the next request reserves memory. */
export interface Workspace {
  readonly request: Values;
  readonly answer: Values;
  readonly scratch: Values;
  /** The results of the forward pass; undefined if the request brings them. */
  readonly forward: Values | undefined;
  /** In the order in which they are checked for non-finite numbers. */
  readonly computed: readonly Computed[];
  /** The computed tensors by key. */
  readonly tensors: ReadonlyMap<string, AnyTensor>;
}

/**
 * Reserves the memory of a request at once, and copies the tensors of its batch there, in the order in which the engine
 * walks through them. Weights stay where they were read.
 */
export function reserve(kernels: Kernels, request: Request, plan: Plan): Workspace {
  const allocate = kernels.reserve(plan.numbers);
  const tensors = new Map<string, AnyTensor>();
  const computed = plan.planned.map((planned): Computed => {
    const { member, shape, strides, key } = planned;
    const length = elements(shape);
    const data = member.numbers === 'whole' ? new Int32Array(length) : allocate(length);
    const tensor = { shape, strides, data };
    tensors.set(key, tensor);
    return { planned, tensor };
  });
  const values = arrange(request.values, plan, allocate);
  return {
    request: values,
    answer: valuesOf(plan, 'answer', values, tensors),
    scratch: valuesOf(plan, 'scratch', values, tensors),
    forward: plan.origins.forward.length > 0 ? valuesOf(plan, 'forward', values, tensors) : undefined,
    computed,
    tensors,
  };
}

/** The values of a request, with each tensor of the batch in the memory of the kernels. */
function arrange(values: Values, { arranged }: Plan, allocate: (length: number) => Numbers): Values {
  const moved = arranged.map(({ path, shape, strides }): [readonly string[], AnyTensor] => {
    const { data } = valueAt(values, path) as Tensor;
    const tensor = { shape, strides, data: allocate(data.length) };
    reorder(tensor, data);
    return [path, tensor];
  });
  return withTensors(values, moved);
}
