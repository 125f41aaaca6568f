import type { Kernels, Matrix, Rows } from '../kernels/kernels.js';
import type { Tensor } from '../tensor/tensor.js';
import { rows, stepsOf, timeRange, timeStep } from './layout.js';
import {
  projectInput,
  projectInputBackward,
  type RnnParameters,
  recur,
  recurBackward,
  rnnWeightGradients,
  rnnWeights,
} from './rnn-cell.js';
import { carried } from './truncation.js';

/**
 * The cell at t = 0 … T_x − 1, starting from a0. What the input gives to all time steps is one product.
 *
 * @param a  hidden states, (n_a, m, T_x), written. With fewer time steps than x, the sequence ends there.
 * @param x  input, (n_x, m, T_x)
 * @param a0 initial hidden state, (n_a, m)
 */
export function rnnForward(kernels: Kernels, a: Tensor, parameters: RnnParameters, x: Tensor, a0: Tensor): void {
  const weights = rnnWeights(kernels, parameters);
  const T = stepsOf(a);
  projectInput(kernels, rows(a), weights, timeRange(x, 0, T));
  for (let t = 0; t < T; t++) recur(kernels, timeStep(a, t), weights, t === 0 ? rows(a0) : timeStep(a, t - 1));
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
 * Time is walked in chunks: within one, only what is carried goes step by step; its gradients of the input and of
 * the parameters are then one product each.
 *
 * @param gradients written; zero when it arrives
 * @param scratch   da_next (n_a, m), and dz (n_a, m, T_c), whose T_c is the length of a chunk
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
  const weights = rnnWeights(kernels, caches.parameters);
  const dWeights = rnnWeightGradients(gradients);
  const chunk = stepsOf(scratch.dz);
  // Each step hands da_prev back here, and step 0 leaves da0.
  const da_prev = rows(gradients.da0);

  for (let end = stepsOf(da); end > 0; end -= chunk) {
    const start = Math.max(0, end - chunk);
    for (let t = end - 1; t >= start; t--) {
      const da_next = carried(kernels, rows(scratch.da_next), timeStep(da, t), da_prev, t, steps);
      recurBackward(kernels, da_prev, timeStep(scratch.dz, t - start), da_next, weights, timeStep(caches.a, t));
    }
    const dzs = timeRange(scratch.dz, 0, end - start);
    const [dxs, xs] = [timeRange(gradients.dx, start, end), timeRange(caches.x, start, end)];
    projectInputBackward(kernels, dxs, dWeights, dzs, weights, xs);
    addPastOuterProducts(kernels, dWeights.dWaa, dzs, start, end, caches.a, caches.a0);
  }
}

/**
 * dWaa += Σ_t dz(t)·a_prev(t)ᵀ for start ≤ t < end, where a_prev(t) is a(t − 1), and a0 at t = 0.
 *
 * @param dz the time steps start … end − 1 as rows
 */
export function addPastOuterProducts(
  kernels: Kernels,
  dW: Matrix,
  dz: Rows,
  start: number,
  end: number,
  a: Tensor,
  a0: Tensor,
): void {
  const first = start === 0 ? a0.data.length : 0; // what belongs to step 0
  if (first > 0) kernels.addOuterProducts(dW, { ...dz, length: first }, rows(a0));
  const past = timeRange(a, Math.max(start, 1) - 1, end - 1);
  const rest = { ...dz, offset: dz.offset + first, length: dz.length - first };
  if (rest.length > 0) kernels.addOuterProducts(dW, rest, past);
}
