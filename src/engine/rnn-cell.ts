import type { Factor, Kernels, Matrix, Rows } from '../kernels/kernels.js';
import type { Tensor } from '../tensor/tensor.js';
import { clear, matrix, rows } from './layout.js';

/** What a caller sends as `parameters`: Wax (n_a, n_x), Waa (n_a, n_a), ba (n_a, 1). */
export interface RnnParameters {
  readonly Wax: Tensor;
  readonly Waa: Tensor;
  readonly ba: Tensor;
}

/** The parameters as the cell multiplies with them. */
export interface RnnWeights {
  readonly Wax: Factor; //      (n_a, n_x)
  readonly Waa: Factor; //      (n_a, n_a)
  readonly ba: Rows; //    (n_a)
}

export function rnnWeights(kernels: Kernels, { Wax, Waa, ba }: RnnParameters): RnnWeights {
  return { Wax: kernels.factor(matrix(Wax)), Waa: kernels.factor(matrix(Waa)), ba: rows(ba) };
}

/** The gradients of the parameters, which time steps and examples are added up in. */
export interface RnnWeightGradients {
  readonly dWax: Matrix; //      (n_a, n_x)
  readonly dWaa: Matrix; //      (n_a, n_a)
  readonly dba: Rows; //    (n_a)
}

export function rnnWeightGradients(d: { dWax: Tensor; dWaa: Tensor; dba: Tensor }): RnnWeightGradients {
  return { dWax: matrix(d.dWax), dWaa: matrix(d.dWaa), dba: rows(d.dba) };
}

/**
 * One time step forward.
 *
 *     a_next = tanh(Waa·a_prev + Wax·xt + ba)
 *
 * The part that knows no past comes first, so that a sequence can compute it for many time steps at once.
 *
 * @param a_next (m, n_a), written
 * @param xt     (m, n_x)
 * @param a_prev (m, n_a)
 */
export function rnnCellForward(kernels: Kernels, a_next: Rows, weights: RnnWeights, xt: Rows, a_prev: Rows): void {
  projectInput(kernels, a_next, weights, xt);
  recur(kernels, a_next, weights, a_prev);
}

/** u = Wax·xt + ba, for the examples of one time step or of many */
export function projectInput(kernels: Kernels, u: Rows, { Wax, ba }: RnnWeights, xt: Rows): void {
  kernels.fillRows(u, ba);
  kernels.addProduct(u, Wax, xt);
}

/** a_next = tanh(Waa·a_prev + u), where a_next holds u when it arrives */
export function recur(kernels: Kernels, a_next: Rows, { Waa }: RnnWeights, a_prev: Rows): void {
  kernels.addProduct(a_next, Waa, a_prev);
  kernels.tanh(a_next);
}

/**
 * One time step backward.
 *
 *     dz      = da_next ∘ (1 − a_next²)
 *     dxt     = Waxᵀ·dz            dWax += dz·xtᵀ
 *     da_prev = Waaᵀ·dz            dWaa += dz·a_prevᵀ        dba += Σ_m dz
 *
 * @param dxt       (m, n_x), written
 * @param da_prev   (m, n_a), written
 * @param gradients dWax, dWaa, dba: added to, so that a sequence can sum over its time steps
 * @param dz        (m, n_a), scratch
 * @param da_next   (m, n_a)
 * @param a_next    (m, n_a), what the forward step wrote
 */
export function rnnCellBackward(
  kernels: Kernels,
  dxt: Rows,
  da_prev: Rows,
  gradients: RnnWeightGradients,
  dz: Rows,
  da_next: Rows,
  weights: RnnWeights,
  a_next: Rows,
  xt: Rows,
  a_prev: Rows,
): void {
  recurBackward(kernels, da_prev, dz, da_next, weights, a_next);
  projectInputBackward(kernels, dxt, gradients, dz, weights, xt);
  kernels.addOuterProducts(gradients.dWaa, dz, a_prev);
}

/** dz = da_next ∘ (1 − a_next²), da_prev = Waaᵀ·dz */
export function recurBackward(
  kernels: Kernels,
  da_prev: Rows,
  dz: Rows,
  da_next: Rows,
  { Waa }: RnnWeights,
  a_next: Rows,
): void {
  kernels.tanhGradient(dz, da_next, a_next);
  clear(da_prev);
  kernels.addTransposedProduct(da_prev, Waa, dz);
}

/** dxt = Waxᵀ·dz, dWax += dz·xtᵀ, dba += Σ_m dz, for the examples of one time step or of many */
export function projectInputBackward(
  kernels: Kernels,
  dxt: Rows,
  { dWax, dba }: RnnWeightGradients,
  dz: Rows,
  { Wax }: RnnWeights,
  xt: Rows,
): void {
  clear(dxt);
  kernels.addTransposedProduct(dxt, Wax, dz);
  kernels.addOuterProducts(dWax, dz, xt);
  kernels.addRows(dba, dz);
}
