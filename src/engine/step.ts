import type { Kernels } from '../kernels/kernels.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Cell, CellTypes, Step } from './cell.js';
import { type Each, rows, rowsOf } from './layout.js';

/** One time step of any cell. */

/** What a step starts from, and what it leaves behind: states and what is kept are (n_a, m), the input (n_x, m). */
export interface StepTensors<C extends CellTypes> {
  readonly next: Each<C['State'], Tensor>;
  readonly kept: Each<C['Kept'], Tensor>;
  readonly xt: Tensor;
  readonly prev: Each<C['State'], Tensor>;
  readonly weights: C['Weights'];
}

/** @param step next and kept are written */
export function stepForward<C extends CellTypes>(kernels: Kernels, cell: Cell<C>, step: StepTensors<C>): void {
  const inRows = stepRows(cell, step);
  cell.projectInput(kernels, inRows, step.weights, rows(step.xt));
  cell.recur(kernels, inRows, step.weights);
}

/** The gradients of what a step starts from, each of its shape. */
export interface StepGradients<C extends CellTypes> {
  readonly dxt: Tensor;
  readonly d_prev: Each<C['State'], Tensor>;
  readonly parameters: Each<`d${C['Parameter']}`, Tensor | undefined>;
}

/**
 * @param gradients written; those of the parameters are zero when they arrive
 * @param dz        room to work in, (n_a, m)
 * @param d_next    gradients of the loss by the states after the step
 */
export function stepBackward<C extends CellTypes>(
  kernels: Kernels,
  cell: Cell<C>,
  gradients: StepGradients<C>,
  dz: Each<C['Gradient'], Tensor>,
  d_next: Each<C['State'], Tensor>,
  step: StepTensors<C>,
): void {
  const { weights } = step;
  const dWeights = cell.weightGradients(gradients.parameters);
  const inRows = stepRows(cell, step);
  const dzRows = rowsOf(cell.gradients, dz);
  const [d_prevRows, d_nextRows] = [rowsOf(cell.states, gradients.d_prev), rowsOf(cell.states, d_next)];
  cell.recurBackward(kernels, d_prevRows, dzRows, d_nextRows, inRows, weights);
  cell.addPastGradients(kernels, dWeights, dzRows, inRows);
  cell.projectInputBackward(kernels, rows(gradients.dxt), dWeights, dzRows, weights, rows(step.xt));
}

function stepRows<C extends CellTypes>({ states, kept }: Cell<C>, step: StepTensors<C>): Step<C> {
  return { next: rowsOf(states, step.next), kept: rowsOf(kept, step.kept), prev: rowsOf(states, step.prev) };
}
