import type { Kernels } from '../kernels/kernels.js';
import { type AnyTensor, type Values, valueAt, withTensors } from '../tensor/signature.js';
import { elements, type Numbers, reorder, type Tensor } from '../tensor/tensor.js';
import { type Computed, valuesOf } from './members.js';
import type { Plan } from './plan.js';
import type { Request } from './request.js';

/** The values of one request where the kernels work, void with the next one. */
export interface Workspace {
  readonly request: Values;
  readonly answer: Values;
  readonly scratch: Values;
  /** Absent where the request brings what it would leave. */
  readonly forward: Values | undefined;
  /** In the order in which they are checked for numbers that are not finite. */
  readonly computed: readonly Computed[];
  /** The same by key. */
  readonly tensors: ReadonlyMap<string, AnyTensor>;
}

/** Reserves the memory of a request in one piece, and puts the request's tensors there as the engine works on them. */
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

/** The request as the engine works on it: tensors of the batch move to where the kernels work, weights stay. */
function arrange(values: Values, { arranged }: Plan, allocate: (length: number) => Numbers): Values {
  const moved = arranged.map(({ path, shape, strides }): [readonly string[], AnyTensor] => {
    const { data } = valueAt(values, path) as Tensor;
    const tensor = { shape, strides, data: allocate(data.length) };
    reorder(tensor, data);
    return [path, tensor];
  });
  return withTensors(values, moved);
}
