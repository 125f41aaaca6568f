import type { Kernels } from '../kernels/kernels.js';
import type { Tensor } from '../tensor/tensor.js';
import { timeSteps } from './layout.js';
import { type Gates, type LstmParameters, lstmCellBackward, lstmCellForward, lstmWeights } from './lstm-cell.js';
import { addCarried } from './truncation.js';

/** The gates of a sequence, each (n_a, m, T_x); of a single step, each (n_a, m). */
export interface GateTensors {
  readonly ft: Tensor;
  readonly it: Tensor;
  readonly cct: Tensor;
  readonly ot: Tensor;
}

/**
 * The cell at t = 0 … T_x − 1, starting from a0 and c0.
 *
 * @param a     hidden states, (n_a, m, T_x), written. With fewer time steps than x, the sequence ends there.
 * @param c     memory states, of the shape of a, written
 * @param gates written: every step's, of the shape of a, or one (n_a, m) that each step overwrites
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
  const weights = lstmWeights(parameters);
  const [at, ct, xt] = [timeSteps(a), timeSteps(c), timeSteps(x)];
  const gatesAt = gateSteps(gates);
  for (let t = 0; t < at.length; t++) {
    const a_prev = t === 0 ? a0.data : at[t - 1];
    const c_prev = t === 0 ? c0.data : ct[t - 1];
    lstmCellForward(kernels, at[t], ct[t], gatesAt(t), weights, xt[t], a_prev, c_prev);
  }
}

function gateSteps({ ft, it, cct, ot }: GateTensors): (t: number) => Gates {
  if (ft.shape.length === 2) {
    const single = { ft: ft.data, it: it.data, cct: cct.data, ot: ot.data };
    return () => single;
  }
  const [fts, its, ccts, ots] = [timeSteps(ft), timeSteps(it), timeSteps(cct), timeSteps(ot)];
  return (t) => ({ ft: fts[t], it: its[t], cct: ccts[t], ot: ots[t] });
}

/** Gradients of a sequence: dx (n_x, m, T_da), da0 and dc0 (n_a, m), and one for each parameter, of its shape. */
export interface LstmGradients {
  readonly dx: Tensor;
  readonly da0: Tensor;
  readonly dc0: Tensor;
  readonly dWf: Tensor;
  readonly dbf: Tensor;
  readonly dWi: Tensor;
  readonly dbi: Tensor;
  readonly dWc: Tensor;
  readonly dbc: Tensor;
  readonly dWo: Tensor;
  readonly dbo: Tensor;
}

/** The parameters' gradients by the names of the parameters. */
export function lstmGradientWeights(d: Omit<LstmGradients, 'dx' | 'da0' | 'dc0'>) {
  return lstmWeights({ Wf: d.dWf, bf: d.dbf, Wi: d.dWi, bi: d.dbi, Wc: d.dWc, bc: d.dbc, Wo: d.dWo, bo: d.dbo });
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

/** Memory of the backward pass, each (n_a, m). */
export interface LstmScratch {
  readonly da_next: Tensor;
  readonly dc_next: Tensor;
  readonly dzf: Tensor;
  readonly dzi: Tensor;
  readonly dzc: Tensor;
  readonly dzo: Tensor;
  readonly tanh_c: Tensor;
}

/** The part of the scratch that one cell works in. */
export function lstmCellScratch({ dzf, dzi, dzc, dzo, tanh_c }: Omit<LstmScratch, 'da_next' | 'dc_next'>) {
  return { dzf: dzf.data, dzi: dzi.data, dzc: dzc.data, dzo: dzo.data, tanh_c: tanh_c.data };
}

/**
 * Backpropagation through time, from the last step of da to the first, with
 *
 *     da_next(t) = da[:, :, t] + da_prev(t + 1)
 *     dc_next(t) = dc[:, :, t] + dc_prev(t + 1)
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
  const weights = lstmWeights(caches.parameters);
  const dWeights = lstmGradientWeights(gradients);
  const [at, ct, xt] = [timeSteps(caches.a), timeSteps(caches.c), timeSteps(caches.x)];
  const [dat, dct, dxt] = [timeSteps(da), dc && timeSteps(dc), timeSteps(gradients.dx)];
  const gatesAt = gateSteps(caches);
  const cellScratch = lstmCellScratch(scratch);
  const [da_next, dc_next] = [scratch.da_next.data, scratch.dc_next.data];
  // Each step hands da_prev and dc_prev back here, and step 0 leaves da0 and dc0.
  const [da_prev, dc_prev] = [gradients.da0.data, gradients.dc0.data];

  for (let t = dat.length - 1; t >= 0; t--) {
    addCarried(da_next, dat[t], da_prev, t, steps);
    addCarried(dc_next, dct?.[t], dc_prev, t, steps);
    const a_prev = t === 0 ? caches.a0.data : at[t - 1];
    const c_prev = t === 0 ? caches.c0.data : ct[t - 1];
    lstmCellBackward(
      kernels,
      dxt[t],
      da_prev,
      dc_prev,
      dWeights,
      cellScratch,
      da_next,
      dc_next,
      weights,
      ct[t],
      gatesAt(t),
      xt[t],
      a_prev,
      c_prev,
    );
  }
}
