import { type Fault, Refusal } from '../tensor/refusal.js';
import { batchAxis, hasBatchAxis, symbolicShape, timeAxis } from '../tensor/signature.js';
import { dtypeOf, indexAt, isReal, type Numbers, type Tensor } from '../tensor/tensor.js';
import type { Computed, PlannedTensor } from './members.js';

/** The first non-finite element of one tensor, in the order in which the operation walks through time. */
export interface NonFinite {
  readonly part: Computed['planned']['part'];
  /** Time step, or −1 for a tensor without a time axis. */
  readonly step: number;
  /** The number of the tensor in the order of the plan; scratch tensors are not counted. */
  readonly order: number;
  /** The position in a sum, since all blocks of a large request add to the same tensor; 0 for a tensor with a batch axis. */
  readonly position: number;
  readonly fault: Fault;
}

/**
 * Finds the first result that has left the range of its type. JSON has no infinity and no NaN, and a caller must not get
 * null instead, so such a request is refused. The refusal names the tensor, time step and position where it happened
 * first: results of the forward pass come before gradients, and earlier steps (in the direction of the operation) before
 * later ones.
 *
 * @param first the numbers that the first example and the first row of these tensors have in the request
 */
export function firstNonFinite(
  computed: readonly Computed[],
  direction: 'forward' | 'backward',
  first: First = { example: 0, row: 0 },
): NonFinite | undefined {
  const checked = computed.filter(({ planned }) => planned.part !== 'scratch');
  const findings = checked.map((one, order) => {
    return search(one, order, one.planned.part === 'forward' ? 'forward' : direction, first);
  });
  return earliest(findings, direction);
}

interface First {
  readonly example: number;
  readonly row: number;
}

/** The finding that the caller is told about. */
export function earliest(
  findings: readonly (NonFinite | undefined)[],
  direction: 'forward' | 'backward',
): NonFinite | undefined {
  let first: NonFinite | undefined;
  for (const one of findings) if (one && (first === undefined || isEarlier(one, first, direction))) first = one;
  return first;
}

/** @throws Refusal non-finite-result */
export function refuseNonFinite(finding: NonFinite | undefined): void {
  if (finding) throw new Refusal('non-finite-result', [finding.fault]);
}

function isEarlier(one: NonFinite, other: NonFinite, direction: 'forward' | 'backward'): boolean {
  if (one.part !== other.part) return one.part === 'forward';
  if (one.step === other.step) {
    return one.order < other.order || (one.order === other.order && one.position < other.position);
  }
  if (one.step < 0) return false;
  if (other.step < 0) return true;
  return direction === 'forward' || one.part === 'forward' ? one.step < other.step : one.step > other.step;
}

function search(
  { planned, tensor }: Computed,
  order: number,
  direction: 'forward' | 'backward',
  first: First,
): NonFinite | undefined {
  if (!isReal(tensor)) return undefined;
  const { data, shape, strides } = tensor;
  const axis = timeAxis(planned.member);
  // Time is the slowest axis in memory, so the numbers of one step are contiguous.
  const [T, length] = axis < 0 ? [1, data.length] : [shape[axis], strides[axis]];
  for (let i = 0; i < T; i++) {
    const t = direction === 'forward' ? i : T - 1 - i;
    const position = nonFiniteIn(data, t * length, (t + 1) * length);
    if (position < 0) continue;
    const step = axis < 0 ? -1 : t;
    const fault = faultAt(planned, tensor, position, step, first);
    return { part: planned.part, step, order, position: hasBatchAxis(planned.member) ? 0 : position, fault };
  }
  return undefined;
}

/** The position of the first non-finite number from … to − 1, or −1. */
function nonFiniteIn(data: Numbers, from: number, to: number): number {
  for (let i = from; i < to; i++) if (!Number.isFinite(data[i])) return i;
  return -1;
}

function faultAt(
  { path, pointer, member }: PlannedTensor,
  tensor: Tensor,
  position: number,
  step: number,
  first: First,
): Fault {
  const index = indexAt(tensor, position);
  if (index.length > 0) index[0] += first.row;
  if (hasBatchAxis(member)) index[batchAxis(member)] += first.example;
  const when = step < 0 ? '' : ` at time step ${step}`;
  const element = index.length > 0 ? `${path.at(-1)}[${index.join(', ')}] of ${symbolicShape(member)}` : path.at(-1);
  const detail = `${element} is ${tensor.data[position]}${when}: the result has left the range of ${dtypeOf(tensor.data)}`;
  return { pointer: [pointer, ...index].join('/'), detail };
}
