import type { Kernels } from '../kernels/kernels.js';
import type { Tensor } from '../tensor/tensor.js';
import { timeSteps } from './layout.js';
import { type RnnParameters, rnnCellBackward, rnnCellForward, rnnWeights } from './rnn-cell.js';
import { addCarried } from './truncation.js';

/**
 * The cell at t = 0 … T_x − 1, starting from a0.
 *
 * @param a  hidden states, (n_a, m, T_x), written. With fewer time steps than x, the sequence ends there.
 * @param x  input, (n_x, m, T_x)
 * @param a0 initial hidden state, (n_a, m)
 */
export function rnnForward(kernels: Kernels, a: Tensor, parameters: RnnParameters, x: Tensor, a0: Tensor): void {
  const weights = rnnWeights(parameters);
  const [at, xt] = [timeSteps(a), timeSteps(x)];
  for (let t = 0; t < at.length; t++) {
    rnnCellForward(kernels, at[t], weights, xt[t], t === 0 ? a0.data : at[t - 1]);
  }
}

/** Gradients of a sequence: dx (n_x, m, T_da), da0 (n_a, m), and one for each parameter, of its shape. */
export interface RnnGradients {
  readonly dx: Tensor;
  readonly da0: Tensor;
  readonly dWax: Tensor;
  readonly dWaa: Tensor;
  readonly dba: Tensor;
}

/** What the forward pass kept: the hidden states a (n_a, m, T_x), and what it was given. */
export interface RnnCaches {
  readonly a: Tensor;
  readonly a0: Tensor;
  readonly x: Tensor;
  readonly parameters: RnnParameters;
}

/**
 * Backpropagation through time, from the last step of da to the first, with
 *
 *     da_next(t) = da[:, :, t] + da_prev(t + 1)
 *
 * @param gradients written; zero when it arrives
 * @param scratch   da_next and dz, each (n_a, m)
 * @param da        gradient of the loss by each hidden state, (n_a, m, T_da); T_da ≤ T_x, and the sequence ends there
 * @param steps     bptt_steps: what is carried is dropped at every multiple of it; Infinity drops nothing
 */
export function rnnBackward(
  kernels: Kernels,
  gradients: RnnGradients,
  scratch: { da_next: Tensor; dz: Tensor },
  da: Tensor,
  caches: RnnCaches,
  steps: number,
): void {
  const weights = rnnWeights(caches.parameters);
  const dWeights = rnnWeights({ Wax: gradients.dWax, Waa: gradients.dWaa, ba: gradients.dba });
  const [at, xt, dat, dxt] = [timeSteps(caches.a), timeSteps(caches.x), timeSteps(da), timeSteps(gradients.dx)];
  const [da_next, dz] = [scratch.da_next.data, scratch.dz.data];
  // Each step hands da_prev back here, and step 0 leaves da0.
  const da_prev = gradients.da0.data;

  for (let t = dat.length - 1; t >= 0; t--) {
    addCarried(da_next, dat[t], da_prev, t, steps);
    const a_prev = t === 0 ? caches.a0.data : at[t - 1];
    rnnCellBackward(kernels, dxt[t], da_prev, dWeights, dz, da_next, weights, at[t], xt[t], a_prev);
  }
}
