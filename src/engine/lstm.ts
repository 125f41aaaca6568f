import type { Kernels, LstmGateGradients, LstmGates } from '../kernels/kernels.js';
import type { Tensor } from '../tensor/tensor.js';
import { rows, stepsOf, timeRange, timeStep } from './layout.js';
import {
  forEachGate,
  type LstmParameterGradients,
  type LstmParameters,
  lstmWeightGradients,
  lstmWeights,
  projectInput,
  projectInputBackward,
  recur,
  recurBackward,
} from './lstm-cell.js';
import { addPastOuterProducts } from './rnn.js';
import { carried } from './truncation.js';

/** The gates of a sequence, each (n_a, m, T). */
export interface GateTensors {
  readonly ft: Tensor;
  readonly it: Tensor;
  readonly cct: Tensor;
  readonly ot: Tensor;
}

function gatesAt({ ft, it, cct, ot }: GateTensors, from: number, to: number): LstmGates {
  const range = (gate: Tensor) => timeRange(gate, from, to);
  return { ft: range(ft), it: range(it), cct: range(cct), ot: range(ot) };
}

/**
 * The cell at t = 0 … T_x − 1, starting from a0 and c0. Time is walked in chunks of as many steps as the gates have
 * room for: what the input gives to the gates is one product for a chunk.
 *
 * @param a     hidden states, (n_a, m, T_x), written. With fewer time steps than x, the sequence ends there.
 * @param c     memory states, of the shape of a, written
 * @param gates written: every step's, if they have the shape of a; else those of the last chunk
 * @param x     input, (n_x, m, T_x)
 * @param a0    initial hidden state, (n_a, m)
 * @param c0    initial memory state, (n_a, m)
 */
export function lstmForward(
  kernels: Kernels,
  a: Tensor,
  c: Tensor,
  gates: GateTensors,
  parameters: LstmParameters,
  x: Tensor,
  a0: Tensor,
  c0: Tensor,
): void {
  const weights = lstmWeights(kernels, parameters);
  const [T, chunk] = [stepsOf(a), stepsOf(gates.ft)];
  for (let start = 0; start < T; start += chunk) {
    const end = Math.min(start + chunk, T);
    projectInput(kernels, gatesAt(gates, 0, end - start), weights, timeRange(x, start, end));
    for (let t = start; t < end; t++) {
      const a_prev = t === 0 ? rows(a0) : timeStep(a, t - 1);
      const c_prev = t === 0 ? rows(c0) : timeStep(c, t - 1);
      const gatesOfStep = gatesAt(gates, t - start, t - start + 1);
      recur(kernels, timeStep(a, t), timeStep(c, t), gatesOfStep, weights, a_prev, c_prev);
    }
  }
}

/** Gradients of a sequence: dx (n_x, m, T_da), da0 and dc0 (n_a, m), and one for each parameter, of its shape. */
export interface LstmGradients extends LstmParameterGradients {
  readonly dx: Tensor;
  readonly da0: Tensor;
  readonly dc0: Tensor;
}

/** What the forward pass kept: states and gates, each (n_a, m, T_x), and what it was given. */
export interface LstmCaches extends GateTensors {
  readonly a: Tensor;
  readonly c: Tensor;
  readonly a0: Tensor;
  readonly c0: Tensor;
  readonly x: Tensor;
  readonly parameters: LstmParameters;
}

/** Memory of the backward pass: dz• (n_a, m, T_c), whose T_c is the length of a chunk; the others (n_a, m). */
export interface LstmScratch {
  readonly da_next: Tensor;
  readonly dc_next: Tensor;
  readonly dzf: Tensor;
  readonly dzi: Tensor;
  readonly dzc: Tensor;
  readonly dzo: Tensor;
}

function dzAt({ dzf, dzi, dzc, dzo }: LstmScratch, from: number, to: number): LstmGateGradients {
  const range = (dz: Tensor) => timeRange(dz, from, to);
  return { dzf: range(dzf), dzi: range(dzi), dzc: range(dzc), dzo: range(dzo) };
}

/**
 * Backpropagation through time, from the last step of da to the first, with
 *
 *     da_next(t) = da[:, :, t] + da_prev(t + 1)
 *     dc_next(t) = dc[:, :, t] + dc_prev(t + 1)
 *
 * Time is walked in chunks: within one, only what is carried goes step by step; its gradients of the input and of
 * the parameters are then one product each.
 *
 * @param gradients written; zero when it arrives
 * @param da        gradient of the loss by each hidden state, (n_a, m, T_da); T_da ≤ T_x, and the sequence ends there
 * @param dc        gradient of the loss by each memory state, of the shape of da; absent: zero
 * @param steps     bptt_steps: what is carried is dropped at every multiple of it; Infinity drops nothing
 */
export function lstmBackward(
  kernels: Kernels,
  gradients: LstmGradients,
  scratch: LstmScratch,
  da: Tensor,
  dc: Tensor | undefined,
  caches: LstmCaches,
  steps: number,
): void {
  const weights = lstmWeights(kernels, caches.parameters);
  const dWeights = lstmWeightGradients(gradients);
  const chunk = stepsOf(scratch.dzf);
  // Each step hands da_prev and dc_prev back here, and step 0 leaves da0 and dc0.
  const [da_prev, dc_prev] = [rows(gradients.da0), rows(gradients.dc0)];

  for (let end = stepsOf(da); end > 0; end -= chunk) {
    const start = Math.max(0, end - chunk);
    for (let t = end - 1; t >= start; t--) {
      const da_next = carried(kernels, rows(scratch.da_next), timeStep(da, t), da_prev, t, steps);
      const dc_next = carried(kernels, rows(scratch.dc_next), dc && timeStep(dc, t), dc_prev, t, steps);
      const dz = dzAt(scratch, t - start, t - start + 1);
      const c_prev = t === 0 ? rows(caches.c0) : timeStep(caches.c, t - 1);
      const gates = gatesAt(caches, t, t + 1);
      const c_next = timeStep(caches.c, t);
      recurBackward(kernels, da_prev, dc_prev, dz, da_next, dc_next, weights, c_next, gates, c_prev);
    }
    const dzs = dzAt(scratch, 0, end - start);
    const [dxs, xs] = [timeRange(gradients.dx, start, end), timeRange(caches.x, start, end)];
    projectInputBackward(kernels, dxs, dWeights, dzs, weights, xs);
    forEachGate(dWeights, dzs, ({ dWa }, dz) => {
      addPastOuterProducts(kernels, dWa, dz, start, end, caches.a, caches.a0);
    });
  }
}
