import type { Kernels } from '../kernels/kernels.js';
import { isArranged, stridesFor, tensorsIn } from '../tensor/shapes.js';
import { type AnyTensor, type Values, withTensors } from '../tensor/signature.js';
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
  const computed = plan.planned.map((one): Computed => {
    const tensor = room(one, allocate);
    tensors.set(one.key, tensor);
    return { ...one, tensor };
  });
  const values = arrange(request, allocate);
  return {
    request: values,
    answer: valuesOf(plan, 'answer', values, tensors),
    scratch: valuesOf(plan, 'scratch', values, tensors),
    forward: plan.origins.forward.length > 0 ? valuesOf(plan, 'forward', values, tensors) : undefined,
    computed,
    tensors,
  };
}

function room({ member, shape }: Plan['planned'][number], allocate: (length: number) => Numbers): AnyTensor {
  const strides = stridesFor(member, shape);
  const length = elements(shape);
  return { shape, strides, data: member.numbers === 'whole' ? new Int32Array(length) : allocate(length) };
}

/** The request as the engine works on it: tensors of the batch move to where the kernels work, weights stay. */
function arrange({ operation, values }: Request, allocate: (length: number) => Numbers): Values {
  const arranged: [readonly string[], AnyTensor][] = [];
  for (const { path, member, tensor } of tensorsIn(operation.tensors.request, values)) {
    if (!isArranged(member)) continue;
    const { shape, data } = tensor as Tensor;
    const moved: Tensor = { shape, strides: stridesFor(member, shape), data: allocate(data.length) };
    reorder(moved, data);
    arranged.push([path, moved]);
  }
  return withTensors(values, arranged);
}
