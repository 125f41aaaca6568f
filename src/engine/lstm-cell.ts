import type { Kernels, Matrix } from '../kernels/kernels.js';
import type { Tensor } from '../tensor/tensor.js';
import { columnBlock } from './layout.js';

/** What a caller sends as `parameters`: Wf, Wi, Wc, Wo (n_a, n_a + n_x), bf, bi, bc, bo (n_a, 1). */
export interface LstmParameters {
  readonly Wf: Tensor;
  readonly bf: Tensor;
  readonly Wi: Tensor;
  readonly bi: Tensor;
  readonly Wc: Tensor;
  readonly bc: Tensor;
  readonly Wo: Tensor;
  readonly bo: Tensor;
}

/** One gate's weights, W = [Wa | Wx]: the columns belong to z = [a_prev ; xt]. Its gradient has the same form. */
export interface GateWeights {
  readonly Wa: Matrix; //      (n_a, n_a)
  readonly Wx: Matrix; //      (n_a, n_x)
  readonly b: Float64Array; // (n_a)
}

/** The gates' weights: forget f, update i, candidate c, output o. */
export interface LstmWeights {
  readonly f: GateWeights;
  readonly i: GateWeights;
  readonly c: GateWeights;
  readonly o: GateWeights;
}

export function lstmWeights(p: LstmParameters): LstmWeights {
  return {
    f: gateWeights(p.Wf, p.bf),
    i: gateWeights(p.Wi, p.bi),
    c: gateWeights(p.Wc, p.bc),
    o: gateWeights(p.Wo, p.bo),
  };
}

function gateWeights(W: Tensor, b: Tensor): GateWeights {
  const [n_a, n_a_plus_n_x] = W.shape;
  return { Wa: columnBlock(W, 0, n_a), Wx: columnBlock(W, n_a, n_a_plus_n_x), b: b.data };
}

/** The gates' values at one time step, each (m, n_a). */
export interface Gates {
  readonly ft: Float64Array;
  readonly it: Float64Array;
  readonly cct: Float64Array;
  readonly ot: Float64Array;
}

/**
 * One time step forward, z = [a_prev ; xt].
 *
 *     ft  = σ(Wf·z + bf)     forget gate
 *     it  = σ(Wi·z + bi)     update gate
 *     cct = tanh(Wc·z + bc)  candidate
 *     ot  = σ(Wo·z + bo)     output gate
 *     c_next = ft∘c_prev + it∘cct
 *     a_next = ot∘tanh(c_next)
 *
 * @param a_next (m, n_a), written
 * @param c_next (m, n_a), written
 * @param gates  ft, it, cct, ot, each (m, n_a), written
 * @param xt     (m, n_x)
 * @param a_prev (m, n_a)
 * @param c_prev (m, n_a)
 */
export function lstmCellForward(
  kernels: Kernels,
  a_next: Float64Array,
  c_next: Float64Array,
  gates: Gates,
  weights: LstmWeights,
  xt: Float64Array,
  a_prev: Float64Array,
  c_prev: Float64Array,
): void {
  const { ft, it, cct, ot } = gates;
  preActivation(kernels, ft, weights.f, a_prev, xt);
  kernels.sigmoid(ft);
  preActivation(kernels, it, weights.i, a_prev, xt);
  kernels.sigmoid(it);
  preActivation(kernels, cct, weights.c, a_prev, xt);
  kernels.tanh(cct);
  preActivation(kernels, ot, weights.o, a_prev, xt);
  kernels.sigmoid(ot);

  for (let i = 0; i < c_next.length; i++) c_next[i] = ft[i] * c_prev[i] + it[i] * cct[i];
  a_next.set(c_next);
  kernels.tanh(a_next);
  for (let i = 0; i < a_next.length; i++) a_next[i] *= ot[i];
}

/** u = W·[a_prev ; xt] + b */
function preActivation(
  kernels: Kernels,
  u: Float64Array,
  { Wa, Wx, b }: GateWeights,
  a_prev: Float64Array,
  xt: Float64Array,
): void {
  kernels.fillRows(u, b);
  kernels.addProduct(u, Wa, a_prev);
  kernels.addProduct(u, Wx, xt);
}

/** Memory of one backward step, each (m, n_a): the pre-activations' gradients and tanh(c_next). */
export interface LstmCellScratch {
  readonly dzf: Float64Array;
  readonly dzi: Float64Array;
  readonly dzc: Float64Array;
  readonly dzo: Float64Array;
  readonly tanh_c: Float64Array;
}

/**
 * One time step backward. With g = dc_next + da_next∘ot∘(1 − tanh²(c_next)), the gradients of the four
 * pre-activations and what follows from them are
 *
 *     dzf = g∘c_prev∘ft∘(1 − ft)       dzi = g∘cct∘it∘(1 − it)
 *     dzc = g∘it∘(1 − cct²)            dzo = da_next∘tanh(c_next)∘ot∘(1 − ot)
 *     dW• += dz•·zᵀ      db• += Σ_m dz•
 *     [da_prev ; dxt] = Wfᵀ·dzf + Wiᵀ·dzi + Wcᵀ·dzc + Woᵀ·dzo
 *     dc_prev = g∘ft
 *
 * @param dxt       (m, n_x), written
 * @param da_prev   (m, n_a), written
 * @param dc_prev   (m, n_a), written; may be the same memory as dc_next
 * @param gradients dW•, db•: added to, so that a sequence can sum over its time steps
 * @param da_next   (m, n_a)
 * @param dc_next   (m, n_a)
 * @param c_next    (m, n_a) and gates: what the forward step wrote
 */
export function lstmCellBackward(
  kernels: Kernels,
  dxt: Float64Array,
  da_prev: Float64Array,
  dc_prev: Float64Array,
  gradients: LstmWeights,
  scratch: LstmCellScratch,
  da_next: Float64Array,
  dc_next: Float64Array,
  weights: LstmWeights,
  c_next: Float64Array,
  { ft, it, cct, ot }: Gates,
  xt: Float64Array,
  a_prev: Float64Array,
  c_prev: Float64Array,
): void {
  const { dzf, dzi, dzc, dzo, tanh_c } = scratch;
  tanh_c.set(c_next);
  kernels.tanh(tanh_c);
  for (let i = 0; i < c_next.length; i++) {
    const g = dc_next[i] + da_next[i] * ot[i] * (1 - tanh_c[i] * tanh_c[i]);
    dzf[i] = g * c_prev[i] * ft[i] * (1 - ft[i]);
    dzi[i] = g * cct[i] * it[i] * (1 - it[i]);
    dzc[i] = g * it[i] * (1 - cct[i] * cct[i]);
    dzo[i] = da_next[i] * tanh_c[i] * ot[i] * (1 - ot[i]);
    dc_prev[i] = g * ft[i];
  }

  dxt.fill(0);
  da_prev.fill(0);
  gateBackward(kernels, dxt, da_prev, gradients.f, dzf, weights.f, xt, a_prev);
  gateBackward(kernels, dxt, da_prev, gradients.i, dzi, weights.i, xt, a_prev);
  gateBackward(kernels, dxt, da_prev, gradients.c, dzc, weights.c, xt, a_prev);
  gateBackward(kernels, dxt, da_prev, gradients.o, dzo, weights.o, xt, a_prev);
}

/** [da_prev ; dxt] += Wᵀ·dz, dW += dz·[a_prev ; xt]ᵀ, db += Σ_m dz */
function gateBackward(
  kernels: Kernels,
  dxt: Float64Array,
  da_prev: Float64Array,
  gradient: GateWeights,
  dz: Float64Array,
  { Wa, Wx }: GateWeights,
  xt: Float64Array,
  a_prev: Float64Array,
): void {
  kernels.addTransposedProduct(da_prev, Wa, dz);
  kernels.addTransposedProduct(dxt, Wx, dz);
  kernels.addOuterProducts(gradient.Wa, dz, a_prev);
  kernels.addOuterProducts(gradient.Wx, dz, xt);
  kernels.addRows(gradient.b, dz);
}
