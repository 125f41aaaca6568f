import type { Factor, Kernels, LstmGateGradients, LstmGates, Matrix, Rows } from '../kernels/kernels.js';
import type { Tensor } from '../tensor/tensor.js';
import { clear, columnBlock, rows } from './layout.js';

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
  readonly b: Rows; //    (n_a)
}

/** The gradients of one gate's weights. */
export interface GateWeightGradients {
  readonly dWa: Matrix; //      (n_a, n_a)
  readonly dWx: Matrix; //      (n_a, n_x)
  readonly db: Rows; //    (n_a)
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
    return { Wa: kernels.factor(Wa), Wx: kernels.factor(Wx), b: rows(b) };
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
    return { dWa: Wa, dWx: Wx, db: rows(db) };
  };
  return { f: gate(d.dWf, d.dbf), i: gate(d.dWi, d.dbi), c: gate(d.dWc, d.dbc), o: gate(d.dWo, d.dbo) };
}

function blocks(W: Tensor): { Wa: Matrix; Wx: Matrix } {
  const [n_a, n_a_plus_n_x] = W.shape;
  return { Wa: columnBlock(W, 0, n_a), Wx: columnBlock(W, n_a, n_a_plus_n_x) };
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
  a_next: Rows,
  c_next: Rows,
  gates: LstmGates,
  weights: PerGate<GateWeights>,
  xt: Rows,
  a_prev: Rows,
  c_prev: Rows,
): void {
  projectInput(kernels, gates, weights, xt);
  recur(kernels, a_next, c_next, gates, weights, a_prev, c_prev);
}

/** u• = Wx•·xt + b•, into each gate, for the examples of one time step or of many */
export function projectInput(kernels: Kernels, u: LstmGates, weights: PerGate<GateWeights>, xt: Rows): void {
  const { f, i, c, o } = weights;
  projectGate(kernels, u.ft, f, xt);
  projectGate(kernels, u.it, i, xt);
  projectGate(kernels, u.cct, c, xt);
  projectGate(kernels, u.ot, o, xt);
}

function projectGate(kernels: Kernels, u: Rows, { Wx, b }: GateWeights, xt: Rows): void {
  kernels.fillRows(u, b);
  kernels.addProduct(u, Wx, xt);
}

/** The gates from Wa•·a_prev + u•, and the states; the gates hold u• when they arrive */
export function recur(
  kernels: Kernels,
  a_next: Rows,
  c_next: Rows,
  gates: LstmGates,
  weights: PerGate<GateWeights>,
  a_prev: Rows,
  c_prev: Rows,
): void {
  const { f, i, c, o } = weights;
  kernels.addProduct(gates.ft, f.Wa, a_prev);
  kernels.addProduct(gates.it, i.Wa, a_prev);
  kernels.addProduct(gates.cct, c.Wa, a_prev);
  kernels.addProduct(gates.ot, o.Wa, a_prev);
  kernels.lstmGates(gates, c_next, a_next, c_prev);
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
 * @param da_next   (m, n_a)
 * @param dc_next   (m, n_a)
 * @param c_next    (m, n_a) and gates: what the forward step wrote
 */
export function lstmCellBackward(
  kernels: Kernels,
  dxt: Rows,
  da_prev: Rows,
  dc_prev: Rows,
  gradients: PerGate<GateWeightGradients>,
  dz: LstmGateGradients,
  da_next: Rows,
  dc_next: Rows,
  weights: PerGate<GateWeights>,
  c_next: Rows,
  gates: LstmGates,
  xt: Rows,
  a_prev: Rows,
  c_prev: Rows,
): void {
  recurBackward(kernels, da_prev, dc_prev, dz, da_next, dc_next, weights, c_next, gates, c_prev);
  projectInputBackward(kernels, dxt, gradients, dz, weights, xt);
  forEachGate(gradients, dz, ({ dWa }, dzGate) => kernels.addOuterProducts(dWa, dzGate, a_prev));
}

/** dz•, dc_prev, and da_prev = Wafᵀ·dzf + Waiᵀ·dzi + Wacᵀ·dzc + Waoᵀ·dzo */
export function recurBackward(
  kernels: Kernels,
  da_prev: Rows,
  dc_prev: Rows,
  dz: LstmGateGradients,
  da_next: Rows,
  dc_next: Rows,
  { f, i, c, o }: PerGate<GateWeights>,
  c_next: Rows,
  gates: LstmGates,
  c_prev: Rows,
): void {
  kernels.lstmGateGradients(dz, dc_prev, da_next, dc_next, gates, c_prev, c_next);
  clear(da_prev);
  kernels.addTransposedProduct(da_prev, f.Wa, dz.dzf);
  kernels.addTransposedProduct(da_prev, i.Wa, dz.dzi);
  kernels.addTransposedProduct(da_prev, c.Wa, dz.dzc);
  kernels.addTransposedProduct(da_prev, o.Wa, dz.dzo);
}

/** dxt = Σ• Wx•ᵀ·dz•, dWx• += dz•·xtᵀ, db• += Σ_m dz•, for the examples of one time step or of many */
export function projectInputBackward(
  kernels: Kernels,
  dxt: Rows,
  gradients: PerGate<GateWeightGradients>,
  dz: LstmGateGradients,
  { f, i, c, o }: PerGate<GateWeights>,
  xt: Rows,
): void {
  clear(dxt);
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
  { dzf, dzi, dzc, dzo }: LstmGateGradients,
  apply: (gradient: GateWeightGradients, dz: Rows) => void,
): void {
  apply(f, dzf);
  apply(i, dzi);
  apply(c, dzc);
  apply(o, dzo);
}
