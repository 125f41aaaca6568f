import type { Factor, Kernels, Matrix } from '../kernels/kernels.js';
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

/** One gate's weights, W = [Wa | Wx]: the columns belong to z = [a_prev ; xt]. */
export interface GateWeights {
  readonly Wa: Factor; //      (n_a, n_a)
  readonly Wx: Factor; //      (n_a, n_x)
  readonly b: Float64Array; // (n_a)
}

/** The gradients of one gate's weights. */
export interface GateWeightGradients {
  readonly dWa: Matrix; //      (n_a, n_a)
  readonly dWx: Matrix; //      (n_a, n_x)
  readonly db: Float64Array; // (n_a)
}

/** One of something for each gate: forget f, update i, candidate c, output o. */
export interface PerGate<Item> {
  readonly f: Item;
  readonly i: Item;
  readonly c: Item;
  readonly o: Item;
}

export function lstmWeights(kernels: Kernels, p: LstmParameters): PerGate<GateWeights> {
  const gate = (W: Tensor, b: Tensor): GateWeights => {
    const { Wa, Wx } = blocks(W);
    return { Wa: kernels.factor(Wa), Wx: kernels.factor(Wx), b: b.data };
  };
  return { f: gate(p.Wf, p.bf), i: gate(p.Wi, p.bi), c: gate(p.Wc, p.bc), o: gate(p.Wo, p.bo) };
}

/** The gradients of the parameters, each of the shape of its parameter. */
export interface LstmParameterGradients {
  readonly dWf: Tensor;
  readonly dbf: Tensor;
  readonly dWi: Tensor;
  readonly dbi: Tensor;
  readonly dWc: Tensor;
  readonly dbc: Tensor;
  readonly dWo: Tensor;
  readonly dbo: Tensor;
}

export function lstmWeightGradients(d: LstmParameterGradients): PerGate<GateWeightGradients> {
  const gate = (dW: Tensor, db: Tensor): GateWeightGradients => {
    const { Wa, Wx } = blocks(dW);
    return { dWa: Wa, dWx: Wx, db: db.data };
  };
  return { f: gate(d.dWf, d.dbf), i: gate(d.dWi, d.dbi), c: gate(d.dWc, d.dbc), o: gate(d.dWo, d.dbo) };
}

function blocks(W: Tensor): { Wa: Matrix; Wx: Matrix } {
  const [n_a, n_a_plus_n_x] = W.shape;
  return { Wa: columnBlock(W, 0, n_a), Wx: columnBlock(W, n_a, n_a_plus_n_x) };
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
 * The part that knows no past comes first, so that a sequence can compute it for many time steps at once.
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
  weights: PerGate<GateWeights>,
  xt: Float64Array,
  a_prev: Float64Array,
  c_prev: Float64Array,
): void {
  projectInput(kernels, gates, weights, xt);
  recur(kernels, a_next, c_next, gates, weights, a_prev, c_prev);
}

/** u• = Wx•·xt + b•, into each gate, for the examples of one time step or of many */
export function projectInput(kernels: Kernels, u: Gates, weights: PerGate<GateWeights>, xt: Float64Array): void {
  const { f, i, c, o } = weights;
  projectGate(kernels, u.ft, f, xt);
  projectGate(kernels, u.it, i, xt);
  projectGate(kernels, u.cct, c, xt);
  projectGate(kernels, u.ot, o, xt);
}

function projectGate(kernels: Kernels, u: Float64Array, { Wx, b }: GateWeights, xt: Float64Array): void {
  kernels.fillRows(u, b);
  kernels.addProduct(u, Wx, xt);
}

/** The gates from Wa•·a_prev + u•, and the states; the gates hold u• when they arrive */
export function recur(
  kernels: Kernels,
  a_next: Float64Array,
  c_next: Float64Array,
  { ft, it, cct, ot }: Gates,
  weights: PerGate<GateWeights>,
  a_prev: Float64Array,
  c_prev: Float64Array,
): void {
  const { f, i, c, o } = weights;
  kernels.addProduct(ft, f.Wa, a_prev);
  kernels.sigmoid(ft);
  kernels.addProduct(it, i.Wa, a_prev);
  kernels.sigmoid(it);
  kernels.addProduct(cct, c.Wa, a_prev);
  kernels.tanh(cct);
  kernels.addProduct(ot, o.Wa, a_prev);
  kernels.sigmoid(ot);

  for (let k = 0; k < c_next.length; k++) c_next[k] = ft[k] * c_prev[k] + it[k] * cct[k];
  a_next.set(c_next);
  kernels.tanh(a_next);
  for (let k = 0; k < a_next.length; k++) a_next[k] *= ot[k];
}

/** The gradients of the four pre-activations, each (m, n_a) for every time step they are kept for. */
export interface GateGradients {
  readonly dzf: Float64Array;
  readonly dzi: Float64Array;
  readonly dzc: Float64Array;
  readonly dzo: Float64Array;
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
 * @param dz        scratch
 * @param tanh_c    (m, n_a), scratch: tanh(c_next)
 * @param da_next   (m, n_a)
 * @param dc_next   (m, n_a)
 * @param c_next    (m, n_a) and gates: what the forward step wrote
 */
export function lstmCellBackward(
  kernels: Kernels,
  dxt: Float64Array,
  da_prev: Float64Array,
  dc_prev: Float64Array,
  gradients: PerGate<GateWeightGradients>,
  dz: GateGradients,
  tanh_c: Float64Array,
  da_next: Float64Array,
  dc_next: Float64Array,
  weights: PerGate<GateWeights>,
  c_next: Float64Array,
  gates: Gates,
  xt: Float64Array,
  a_prev: Float64Array,
  c_prev: Float64Array,
): void {
  recurBackward(kernels, da_prev, dc_prev, dz, tanh_c, da_next, dc_next, weights, c_next, gates, c_prev);
  projectInputBackward(kernels, dxt, gradients, dz, weights, xt);
  forEachGate(gradients, dz, ({ dWa }, dzGate) => kernels.addOuterProducts(dWa, dzGate, a_prev));
}

/** dz•, dc_prev, and da_prev = Wafᵀ·dzf + Waiᵀ·dzi + Wacᵀ·dzc + Waoᵀ·dzo */
export function recurBackward(
  kernels: Kernels,
  da_prev: Float64Array,
  dc_prev: Float64Array,
  { dzf, dzi, dzc, dzo }: GateGradients,
  tanh_c: Float64Array,
  da_next: Float64Array,
  dc_next: Float64Array,
  { f, i, c, o }: PerGate<GateWeights>,
  c_next: Float64Array,
  { ft, it, cct, ot }: Gates,
  c_prev: Float64Array,
): void {
  tanh_c.set(c_next);
  kernels.tanh(tanh_c);
  for (let k = 0; k < c_next.length; k++) {
    const g = dc_next[k] + da_next[k] * ot[k] * (1 - tanh_c[k] * tanh_c[k]);
    dzf[k] = g * c_prev[k] * ft[k] * (1 - ft[k]);
    dzi[k] = g * cct[k] * it[k] * (1 - it[k]);
    dzc[k] = g * it[k] * (1 - cct[k] * cct[k]);
    dzo[k] = da_next[k] * tanh_c[k] * ot[k] * (1 - ot[k]);
    dc_prev[k] = g * ft[k];
  }
  da_prev.fill(0);
  kernels.addTransposedProduct(da_prev, f.Wa, dzf);
  kernels.addTransposedProduct(da_prev, i.Wa, dzi);
  kernels.addTransposedProduct(da_prev, c.Wa, dzc);
  kernels.addTransposedProduct(da_prev, o.Wa, dzo);
}

/** dxt = Σ• Wx•ᵀ·dz•, dWx• += dz•·xtᵀ, db• += Σ_m dz•, for the examples of one time step or of many */
export function projectInputBackward(
  kernels: Kernels,
  dxt: Float64Array,
  gradients: PerGate<GateWeightGradients>,
  dz: GateGradients,
  { f, i, c, o }: PerGate<GateWeights>,
  xt: Float64Array,
): void {
  dxt.fill(0);
  kernels.addTransposedProduct(dxt, f.Wx, dz.dzf);
  kernels.addTransposedProduct(dxt, i.Wx, dz.dzi);
  kernels.addTransposedProduct(dxt, c.Wx, dz.dzc);
  kernels.addTransposedProduct(dxt, o.Wx, dz.dzo);
  forEachGate(gradients, dz, ({ dWx, db }, dzGate) => {
    kernels.addOuterProducts(dWx, dzGate, xt);
    kernels.addRows(db, dzGate);
  });
}

export function forEachGate(
  { f, i, c, o }: PerGate<GateWeightGradients>,
  { dzf, dzi, dzc, dzo }: GateGradients,
  apply: (gradient: GateWeightGradients, dz: Float64Array) => void,
): void {
  apply(f, dzf);
  apply(i, dzi);
  apply(c, dzc);
  apply(o, dzo);
}
