import type { Factor, Kernels, Matrix, Rows } from '../../kernels/kernels.js';
import type { Tensor } from '../../tensor/tensor.js';
import { addInputOuterProducts, addInputProduct, type Input } from '../input.js';
import { columnBlock, rows } from '../layout.js';

/** What the gates of all cells have in common: weights whose columns belong to [a_prev ; xt], and a bias. */

/** One gate's weights, W = [Wa | Wx]. */
export interface GateWeights {
  readonly Wa: Factor; //       (n_a, n_a)
  readonly Wx: Factor; //       (n_a, n_x)
  readonly b: Rows; //          (n_a)
}

/** Their gradients, those that are wanted. */
export interface GateWeightGradients {
  readonly dWa: Matrix | undefined; //      (n_a, n_a)
  readonly dWx: Matrix | undefined; //      (n_a, n_x)
  readonly db: Rows | undefined; //         (n_a)
}

export function gateWeights(kernels: Kernels, W: Tensor, b: Tensor): GateWeights {
  const { Wa, Wx } = blocks(W);
  return { Wa: kernels.factor(Wa), Wx: kernels.factor(Wx), b: rows(b) };
}

export function gateWeightGradients(dW: Tensor | undefined, db: Tensor | undefined): GateWeightGradients {
  const { Wa, Wx } = dW ? blocks(dW) : {};
  return { dWa: Wa, dWx: Wx, db: db && rows(db) };
}

/** u = Wx·xt + b */
export function projectGate(kernels: Kernels, u: Rows, { Wx, b }: GateWeights, xt: Input): void {
  kernels.fillRows(u, b);
  addInputProduct(kernels, u, Wx, xt);
}

/** dWa += dz·vᵀ, where v is what Wa was multiplied with */
export function addStateGradients(kernels: Kernels, { dWa }: GateWeightGradients, dz: Rows, v: Rows): void {
  if (dWa) kernels.addOuterProducts(dWa, dz, v);
}

/** dWx += dz·xtᵀ, db += Σ_m dz */
export function addInputGradients(kernels: Kernels, { dWx, db }: GateWeightGradients, dz: Rows, xt: Input): void {
  if (dWx) addInputOuterProducts(kernels, dWx, dz, xt);
  if (db) kernels.addRows(db, dz);
}

function blocks(W: Tensor): { Wa: Matrix; Wx: Matrix } {
  const [n_a, n_a_plus_n_x] = W.shape;
  return { Wa: columnBlock(W, 0, n_a), Wx: columnBlock(W, n_a, n_a_plus_n_x) };
}
