import type { Kernels, Rows } from '../kernels/kernels.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Cell, CellTypes } from './cell.js';
import { type InputTrack, inputRange } from './input.js';
import {
  clear,
  type Each,
  each,
  examplesIn,
  movingRows,
  range,
  rangesOf,
  rowOf,
  rowsOf,
  type Steps,
  type Track,
  track,
  tracksOf,
} from './layout.js';

/** A walk through time with any cell, forward and backward. */

/** What a sequence starts from, and what it leaves behind. */
export interface Sequence<C extends CellTypes> {
  readonly steps: Steps;
  /** The states after each step; on the way forward, room for the rows of a chunk of steps is enough where `last` is there. */
  readonly states: Each<C['State'], Track>;
  /** What each step has kept; or room for the rows of a chunk. */
  readonly kept: Each<C['Kept'], Track>;
  readonly x: InputTrack;
  /** The states before the first step, (n_a, m). */
  readonly initial: Each<C['State'], Tensor>;
  /** The states after the last step of each example, (n_a, m), where they are wanted. */
  readonly last?: Each<C['State'], Tensor> | undefined;
  readonly weights: C['Weights'];
}

/**
 * The cell at each time step, from the first to the last. Time is walked in chunks of as many steps as there is room for:
 * what the input gives to them is one product for a chunk.
 *
 * @param sequence states, kept and last are written
 * @param visit    called with the hidden states of each chunk, and which rows of the sequence they are
 */
export function sequenceForward<C extends CellTypes>(
  kernels: Kernels,
  cell: Cell<C>,
  { steps, states, kept, x, initial, last, weights }: Sequence<C>,
  visit: (hidden: Rows, from: number, to: number) => void = () => {},
): void {
  const [hidden] = cell.states;
  const statesAt = movingRows(cell.states, states);
  const keptAt = movingRows(cell.kept, kept);
  const prevAt = movingRows(cell.states, states);
  const before = rowsOf(cell.states, initial);
  const carriedAt = last && movingRows(cell.states, tracksOf(cell.states, last));
  const all = rowOf(steps, steps.T);
  const room = Math.min(rowsIn(states[hidden]), cell.kept.length > 0 ? rowsIn(kept[cell.kept[0]]) : all);
  const isRolling = rowsIn(states[hidden]) < all;

  for (let start = 0; start < steps.T; ) {
    const first = rowOf(steps, start);
    let end = start + 1;
    while (end < steps.T && rowOf(steps, end + 1) - first <= room) end++;
    const behind = rowOf(steps, end);
    const offset = isRolling ? first : 0; // of the rows that the states have room for
    const next = rangesOf(cell.states, states, first - offset, behind - offset);
    const into = { next, kept: rangesOf(cell.kept, kept, 0, behind - first) };
    cell.projectInput(kernels, into, weights, inputRange(x, first, behind));
    for (let t = start; t < end; t++) {
      const [row, count] = [rowOf(steps, t), examplesIn(steps, t)];
      let prev = before;
      if (t > 0) {
        const isCarried = isRolling && t === start && carriedAt !== undefined;
        prev = isCarried ? carriedAt(0, count) : prevAt(rowOf(steps, t - 1) - offset, count);
      }
      cell.recur(kernels, { next: statesAt(row - offset, count), kept: keptAt(row - first, count), prev }, weights);
    }
    if (last) {
      for (let t = start; t < end; t++) keepLast(cell, last, states, rowOf(steps, t) - offset, steps, t, t === end - 1);
    }
    visit(next[hidden], first, behind);
    start = end;
  }
}

/**
 * Keeps the states of the examples that are over after step t, and those of all its examples where the next chunk starts
 * from them.
 */
function keepLast<C extends CellTypes>(
  cell: Cell<C>,
  last: Each<C['State'], Tensor>,
  states: Each<C['State'], Track>,
  row: number,
  steps: Steps,
  t: number,
  areAllKept: boolean,
): void {
  const count = examplesIn(steps, t);
  const from = areAllKept || t + 1 === steps.T ? 0 : examplesIn(steps, t + 1);
  for (const state of cell.states) {
    const { data, n } = states[state];
    last[state].data.set(data.subarray((row + from) * n, (row + count) * n), from * n);
  }
}

/** The gradients of what a sequence starts from, each of its shape. */
export interface SequenceGradients<C extends CellTypes> {
  /** Absent where it is not wanted, or the input is indices. */
  readonly dx: Track | undefined;
  readonly initial: Each<C['State'], Tensor>;
  /** Absent where they are not wanted. */
  readonly parameters: Each<`d${C['Parameter']}`, Tensor | undefined>;
}

/** The gradients of the loss by the states; absent: zero. */
export type LossGradients<C extends CellTypes> = Each<C['State'], Track | undefined>;

/** Room to work in: the gradients that reach one step, (n_a, m), and dz for the rows of a chunk of steps. */
export interface SequenceScratch<C extends CellTypes> {
  readonly d_next: Each<C['State'], Tensor>;
  readonly dz: Each<C['Gradient'], Track>;
}

/** Looks at the gradients of each step on the way back. */
export interface Observer<C extends CellTypes> {
  /** Called with what reaches step t. */
  reached(t: number, d_next: Each<C['State'], Rows>): void;
  /** Called with the gradients within step t. */
  left(t: number, dz: Each<C['Gradient'], Rows>): void;
}

/**
 * Backpropagation through time, from the last step to the first. What reaches step t is, for each state,
 *
 *     d_next(t) = d(t) + d_prev(t + 1)      d_prev dropped where (t + 1) mod bptt_steps = 0
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
  { steps, states, kept, x, initial, weights }: Sequence<C>,
  bptt_steps: number,
  observer?: Observer<C>,
): void {
  const dWeights = cell.weightGradients(gradients.parameters);
  const statesAt = movingRows(cell.states, states);
  const keptAt = movingRows(cell.kept, kept);
  const statesBefore = before(cell, steps, states, initial);
  const dzAt = movingRows(cell.gradients, scratch.dz);
  const room = rowsIn(scratch.dz[cell.gradients[0]]);
  const carried = carrying(kernels, cell, steps, scratch.d_next, d, gradients.initial, bptt_steps);

  for (let end = steps.T; end > 0; ) {
    const behind = rowOf(steps, end);
    let start = end - 1;
    while (start > 0 && behind - rowOf(steps, start - 1) <= room) start--;
    const first = rowOf(steps, start);
    for (let t = end - 1; t >= start; t--) {
      const [row, count] = [rowOf(steps, t), examplesIn(steps, t)];
      const step = { next: statesAt(row, count), kept: keptAt(row, count), prev: statesBefore(t) };
      const [{ d_prev, d_next }, dz] = [carried(t), dzAt(row - first, count)];
      observer?.reached(t, d_next);
      cell.recurBackward(kernels, d_prev, dz, d_next, step, weights);
      observer?.left(t, dz);
    }
    for (let from = start; from < end; ) {
      const to = endOfRun(steps, from, end);
      const [row, rowBehind] = [rowOf(steps, from), rowOf(steps, to)];
      const rowBefore = from === 0 ? 0 : rowOf(steps, from - 1);
      const prev =
        from === 0
          ? rowsOf(cell.states, initial)
          : rangesOf(cell.states, states, rowBefore, rowBefore + rowBehind - row);
      const dz = rangesOf(cell.gradients, scratch.dz, row - first, rowBehind - first);
      cell.addPastGradients(kernels, dWeights, dz, { kept: rangesOf(cell.kept, kept, row, rowBehind), prev });
      from = to;
    }
    const dz = rangesOf(cell.gradients, scratch.dz, 0, behind - first);
    cell.projectInputBackward(
      kernels,
      gradients.dx && range(gradients.dx, first, behind),
      dWeights,
      dz,
      weights,
      inputRange(x, first, behind),
    );
    end = start;
  }
}

/** How many rows there is room for. */
function rowsIn({ data, n }: Track): number {
  return data.length / n;
}

/**
 * The end of a run of steps whose states before lie one after the other, as the steps themselves do. Step 0 starts from the
 * initial states, and a step with fewer examples than the one before from some of its rows only: each is a run of its own.
 */
function endOfRun(steps: Steps, from: number, end: number): number {
  const hasFewer = (t: number) => examplesIn(steps, t) < examplesIn(steps, t - 1);
  if (from === 0 || hasFewer(from)) return from + 1;
  if (!steps.starts) return end;
  let to = from + 1;
  while (to < end && !hasFewer(to)) to++;
  return to;
}

/** The states before step t: what the step before has left, or the initial ones. */
function before<C extends CellTypes>(
  cell: Cell<C>,
  steps: Steps,
  states: Each<C['State'], Track>,
  initial: Each<C['State'], Tensor>,
): (t: number) => Each<C['State'], Rows> {
  const [first, statesAt] = [rowsOf(cell.states, initial), movingRows(cell.states, states)];
  return (t) => (t === 0 ? first : statesAt(rowOf(steps, t - 1), examplesIn(steps, t)));
}

interface Carried<C extends CellTypes> {
  /** Where step t writes what it hands back. */
  readonly d_prev: Each<C['State'], Rows>;
  /** The gradients that reach step t. */
  readonly d_next: Each<C['State'], Rows>;
}

/**
 * What is carried from step to step, for the examples of step t. Steps are asked for from the last to the first.
 *
 * @param sums  written where the loss has gradients of its own
 * @param first what step 0 hands back; zero at the last step. All steps hand back there
 */
function carrying<C extends CellTypes>(
  kernels: Kernels,
  cell: Cell<C>,
  steps: Steps,
  sums: Each<C['State'], Tensor>,
  d: LossGradients<C>,
  first: Each<C['State'], Tensor>,
  bptt_steps: number,
): (t: number) => Carried<C> {
  const given = cell.states.filter((state) => d[state] !== undefined);
  const dAt = movingRows(given, d as Each<C['State'], Track>);
  const d_prevAt = movingRows(cell.states, tracksOf(cell.states, first));
  const d_nextAt = movingRows(
    cell.states,
    each(cell.states, (state) => track(given.includes(state) ? sums[state] : first[state])),
  );
  return (t) => {
    const count = examplesIn(steps, t);
    const d_prev = d_prevAt(0, count);
    const d_next = d_nextAt(0, count);
    const isCut = (t + 1) % bptt_steps === 0;
    if (isCut) for (const state of cell.states) clear(d_prev[state]);
    const ofStep = dAt(rowOf(steps, t), count);
    for (const state of given) kernels.add(d_next[state], ofStep[state], d_prev[state]);
    return { d_prev, d_next };
  };
}
