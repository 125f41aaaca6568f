import type { Kernels, Rows } from '../kernels/kernels.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Input } from './input.js';
import type { Each } from './layout.js';

/** What tells the types of one cell from those of another. */
export interface CellTypes {
  /** Names of the states, which a step hands to the next one. */
  readonly State: string;
  /** Names of what the backward step needs beside the states. */
  readonly Kept: string;
  /** Names of what the backward step computes for the gradients of input and weights, as of the pre-activations. */
  readonly Gradient: string;
  /** Names of the parameters. The gradient of W is called dW. */
  readonly Parameter: string;
  /** The parameters as the cell multiplies with them. */
  readonly Weights: unknown;
  /** Where their gradients are added up. */
  readonly WeightGradients: unknown;
}

/** What a step starts from, and what it leaves behind. Of one time step, or of many, one after the other. */
export interface Step<C extends CellTypes> {
  readonly next: Each<C['State'], Rows>;
  readonly kept: Each<C['Kept'], Rows>;
  readonly prev: Each<C['State'], Rows>;
}

/**
 * The equations of a recurrent cell. step.ts takes one time step with them; sequence.ts walks through time.
 *
 * What knows no past has functions of its own, so that a sequence can compute it for many time steps at once:
 * projectInput comes before recur, addPastGradients and projectInputBackward come after recurBackward. In one time step
 * the rows are (m, n_a), and those of the input (m, n_x).
 */
export interface Cell<C extends CellTypes> {
  readonly states: readonly C['State'][];
  readonly kept: readonly C['Kept'][];
  readonly gradients: readonly C['Gradient'][];

  weights(kernels: Kernels, parameters: Each<C['Parameter'], Tensor>): C['Weights'];
  /** @param gradients absent where they are not wanted */
  weightGradients(gradients: Each<`d${C['Parameter']}`, Tensor | undefined>): C['WeightGradients'];

  /** What the input gives to the pre-activations, written into next or kept. For one time step or many. */
  projectInput(kernels: Kernels, into: Omit<Step<C>, 'prev'>, weights: C['Weights'], xt: Input): void;

  /** The states and what is kept, from the states before and from what projectInput has left. For one time step. */
  recur(kernels: Kernels, step: Step<C>, weights: C['Weights']): void;

  /**
   * The gradients of the states before, and dz. For one time step.
   *
   * @param d_prev written; of each state it may be the same memory as d_next
   * @param dz     written
   */
  recurBackward(
    kernels: Kernels,
    d_prev: Each<C['State'], Rows>,
    dz: Each<C['Gradient'], Rows>,
    d_next: Each<C['State'], Rows>,
    step: Step<C>,
    weights: C['Weights'],
  ): void;

  /** Adds what the states before give to the gradients of the weights. For one time step or many. */
  addPastGradients(
    kernels: Kernels,
    dWeights: C['WeightGradients'],
    dz: Each<C['Gradient'], Rows>,
    step: Omit<Step<C>, 'next'>,
  ): void;

  /** The gradient of the input, where it is wanted; adds what the input gives to the gradients of the weights. For one time step or many. */
  projectInputBackward(
    kernels: Kernels,
    dxt: Rows | undefined,
    dWeights: C['WeightGradients'],
    dz: Each<C['Gradient'], Rows>,
    weights: C['Weights'],
    xt: Input,
  ): void;
}
