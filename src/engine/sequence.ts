import type { Kernels, Rows } from '../kernels/kernels.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Cell, CellTypes } from './cell.js';
import { clear, type Each, each, rangesOf, rowsOf, stepsIn, stepsOf, timeRange } from './layout.js';

/** A walk through time with any cell, forward and backward. */

/** What a sequence starts from, and what it leaves behind. */
export interface SequenceTensors<C extends CellTypes> {
  /** The states after each step, (n_a, m, T). With fewer time steps than x, the sequence ends there. */
  readonly states: Each<C['State'], Tensor>;
  /** (n_a, m, T): what each step has kept; or (n_a, m, T_c), room for as many steps as are worked on together. */
  readonly kept: Each<C['Kept'], Tensor>;
  /** (n_x, m, T_x) */
  readonly x: Tensor;
  /** The states before the first step, (n_a, m). */
  readonly initial: Each<C['State'], Tensor>;
  readonly weights: C['Weights'];
}

/**
 * The cell at each time step, from the first to the last. Time is walked in chunks of as many steps as there is room for
 * in what is kept: what the input gives to them is one product for a chunk.
 *
 * @param sequence states and kept are written
 */
export function sequenceForward<C extends CellTypes>(
  kernels: Kernels,
  cell: Cell<C>,
  { states, kept, x, initial, weights }: SequenceTensors<C>,
): void {
  const T = stepsOf(states[cell.states[0]]);
  const chunk = cell.kept.length > 0 ? stepsOf(kept[cell.kept[0]]) : T;
  const statesAt = stepsIn(cell.states, states);
  const keptAt = stepsIn(cell.kept, kept);
  const statesBefore = before(cell, states, initial);

  for (let start = 0; start < T; start += chunk) {
    const end = Math.min(start + chunk, T);
    const into = { next: rangesOf(cell.states, states, start, end), kept: rangesOf(cell.kept, kept, 0, end - start) };
    cell.projectInput(kernels, into, weights, timeRange(x, start, end));
    for (let t = start; t < end; t++) {
      cell.recur(kernels, { next: statesAt(t), kept: keptAt(t - start), prev: statesBefore(t) }, weights);
    }
  }
}

/** The gradients of what a sequence starts from: each of its shape, but dx (n_x, m, T_da). */
export interface SequenceGradients<C extends CellTypes> {
  readonly dx: Tensor;
  readonly initial: Each<C['State'], Tensor>;
  readonly parameters: Each<`d${C['Parameter']}`, Tensor>;
}

/** The gradients of the loss by the states, (n_a, m, T_da); absent: zero. The sequence ends after T_da steps. */
export type LossGradients<C extends CellTypes> = Each<C['State'], Tensor | undefined>;

/** Room to work in: the gradients that reach one step, (n_a, m), and dz of a chunk of T_c steps, (n_a, m, T_c). */
export interface SequenceScratch<C extends CellTypes> {
  readonly d_next: Each<C['State'], Tensor>;
  readonly dz: Each<C['Gradient'], Tensor>;
}

/**
 * Backpropagation through time, from the last step to the first. What reaches step t is, for each state,
 *
 *     d_next(t) = d[:, :, t] + d_prev(t + 1)      d_prev dropped where (t + 1) mod bptt_steps = 0
 *
 * Time is walked in chunks: within one, only what is carried goes step by step; its gradients of the input and of
 * the parameters are then one product each.
 *
 * @param gradients  written; zero when they arrive
 * @param bptt_steps truncated backpropagation cuts the sequence into segments of so many steps, counted from t = 0, and
 *                   drops what would cross a cut; Infinity drops nothing
 */
export function sequenceBackward<C extends CellTypes>(
  kernels: Kernels,
  cell: Cell<C>,
  gradients: SequenceGradients<C>,
  scratch: SequenceScratch<C>,
  d: LossGradients<C>,
  { states, kept, x, initial, weights }: SequenceTensors<C>,
  bptt_steps: number,
): void {
  const dWeights = cell.weightGradients(gradients.parameters);
  const chunk = stepsOf(scratch.dz[cell.gradients[0]]);
  const statesAt = stepsIn(cell.states, states);
  const keptAt = stepsIn(cell.kept, kept);
  const statesBefore = before(cell, states, initial);
  const dzAt = stepsIn(cell.gradients, scratch.dz);
  // Each step hands d_prev back here, and step 0 leaves the gradients of the initial states.
  const d_prev = rowsOf(cell.states, gradients.initial);
  const d_next = reaching(kernels, cell, rowsOf(cell.states, scratch.d_next), d, d_prev, bptt_steps);

  for (let end = stepsOf(gradients.dx); end > 0; end -= chunk) {
    const start = Math.max(0, end - chunk);
    for (let t = end - 1; t >= start; t--) {
      const step = { next: statesAt(t), kept: keptAt(t), prev: statesBefore(t) };
      cell.recurBackward(kernels, d_prev, dzAt(t - start), d_next(t), step, weights);
    }
    // Step 0 has no step before it in the states.
    for (const [from, to] of start === 0
      ? [
          [0, 1],
          [1, end],
        ]
      : [[start, end]]) {
      if (from === to) continue;
      const prev = from === 0 ? rowsOf(cell.states, initial) : rangesOf(cell.states, states, from - 1, to - 1);
      const dz = rangesOf(cell.gradients, scratch.dz, from - start, to - start);
      cell.addPastGradients(kernels, dWeights, dz, { kept: rangesOf(cell.kept, kept, from, to), prev });
    }
    const dz = rangesOf(cell.gradients, scratch.dz, 0, end - start);
    const [dxs, xs] = [timeRange(gradients.dx, start, end), timeRange(x, start, end)];
    cell.projectInputBackward(kernels, dxs, dWeights, dz, weights, xs);
  }
}

/** The states before step t: what the step before has left, or the initial ones. */
function before<C extends CellTypes>(
  cell: Cell<C>,
  states: Each<C['State'], Tensor>,
  initial: Each<C['State'], Tensor>,
): (t: number) => Each<C['State'], Rows> {
  const [first, statesAt] = [rowsOf(cell.states, initial), stepsIn(cell.states, states)];
  return (t) => (t === 0 ? first : statesAt(t - 1));
}

/**
 * The gradients that reach step t, (n_a, m). Steps are asked for from the last to the first.
 *
 * @param sums   written
 * @param d_prev what step t + 1 has handed back; zero at the last step
 */
function reaching<C extends CellTypes>(
  kernels: Kernels,
  cell: Cell<C>,
  sums: Each<C['State'], Rows>,
  d: LossGradients<C>,
  d_prev: Each<C['State'], Rows>,
  bptt_steps: number,
): (t: number) => Each<C['State'], Rows> {
  const given = cell.states.filter((state) => d[state] !== undefined);
  const dAt = stepsIn(given, d as Each<C['State'], Tensor>);
  const d_next = each(cell.states, (state) => (given.includes(state) ? sums[state] : d_prev[state]));
  return (t) => {
    const isCut = (t + 1) % bptt_steps === 0;
    if (isCut) for (const state of cell.states) clear(d_prev[state]);
    const ofStep = dAt(t);
    for (const state of given) kernels.add(d_next[state], ofStep[state], d_prev[state]);
    return d_next;
  };
}
