import { Refusal } from '../tensor/refusal.js';
import { symbolicShape, timeAxis } from '../tensor/signature.js';
import { indexAt } from '../tensor/tensor.js';
import type { Computed } from './workspace.js';

/** The first element that is not finite in one tensor, on the way the operation takes through time. */
interface Finding {
  readonly computed: Computed;
  readonly position: number;
  /** Time step, or −1 for a tensor without a time axis. */
  readonly step: number;
}

/**
 * JSON has no infinity and no NaN, and a caller must not get null for them. Where a result has left the range of
 * float64, the answer is a refusal that names the tensor, time step and position where it happened first: what
 * the forward pass kept comes before gradients, and a tensor that is wrong at an earlier step (in the direction
 * of the operation) before one that is wrong at a later one.
 *
 * @throws Refusal non-finite-result
 */
export function refuseNonFinite(computed: readonly Computed[], direction: 'forward' | 'backward'): void {
  const forward = computed.filter(({ role }) => role === 'forward');
  const answered = computed.filter(({ role }) => role === 'answer');
  const first = earliest(forward, 'forward') ?? earliest(answered, direction);
  if (first === undefined) return;

  const { name, pointer: parent, member, tensor } = first.computed;
  const index = indexAt(tensor, first.position);
  const step = first.step < 0 ? '' : ` at time step ${first.step}`;
  const detail = `${name}[${index.join(', ')}] of ${symbolicShape(member)} is ${tensor.data[first.position]}${step}: the result has left the range of float64`;
  const pointer = `${parent}/${index.join('/')}`;
  throw new Refusal('non-finite-result', [{ pointer, detail }]);
}

function earliest(computed: readonly Computed[], direction: 'forward' | 'backward'): Finding | undefined {
  let first: Finding | undefined;
  for (const one of computed) {
    const finding = search(one, direction);
    if (finding && (first === undefined || isEarlier(finding, first, direction))) first = finding;
  }
  return first;
}

function isEarlier(one: Finding, other: Finding, direction: 'forward' | 'backward'): boolean {
  if (one.step < 0) return false;
  if (other.step < 0) return true;
  return direction === 'forward' ? one.step < other.step : one.step > other.step;
}

function search(computed: Computed, direction: 'forward' | 'backward'): Finding | undefined {
  const { member, tensor } = computed;
  const { data, shape, strides } = tensor;
  const axis = timeAxis(member);
  if (axis < 0) {
    const position = data.findIndex((value) => !Number.isFinite(value));
    return position < 0 ? undefined : { computed, position, step: -1 };
  }
  // Time is the slowest axis in memory, so one step is one run of numbers.
  const [T, length] = [shape[axis], strides[axis]];
  for (let i = 0; i < T; i++) {
    const step = direction === 'forward' ? i : T - 1 - i;
    for (let position = step * length; position < (step + 1) * length; position++) {
      if (!Number.isFinite(data[position])) return { computed, position, step };
    }
  }
  return undefined;
}
