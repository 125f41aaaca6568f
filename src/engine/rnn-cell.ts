import type { Kernels, Matrix } from '../kernels/kernels.js';
import type { Tensor } from '../tensor/tensor.js';
import { matrix } from './layout.js';

/** What a caller sends as `parameters`: Wax (n_a, n_x), Waa (n_a, n_a), ba (n_a, 1). */
export interface RnnParameters {
  readonly Wax: Tensor;
  readonly Waa: Tensor;
  readonly ba: Tensor;
}

/** The parameters as the cell multiplies with them; their gradients have the same form. */
export interface RnnWeights {
  readonly Wax: Matrix; //      (n_a, n_x)
  readonly Waa: Matrix; //      (n_a, n_a)
  readonly ba: Float64Array; // (n_a)
}

export function rnnWeights({ Wax, Waa, ba }: RnnParameters): RnnWeights {
  return { Wax: matrix(Wax), Waa: matrix(Waa), ba: ba.data };
}

/**
 * One time step forward.
 *
 *     a_next = tanh(Waa·a_prev + Wax·xt + ba)
 *
 * @param a_next (m, n_a), written
 * @param xt     (m, n_x)
 * @param a_prev (m, n_a)
 */
export function rnnCellForward(
  kernels: Kernels,
  a_next: Float64Array,
  weights: RnnWeights,
  xt: Float64Array,
  a_prev: Float64Array,
): void {
  const { Wax, Waa, ba } = weights;
  kernels.fillRows(a_next, ba);
  kernels.addProduct(a_next, Waa, a_prev);
  kernels.addProduct(a_next, Wax, xt);
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
  dxt: Float64Array,
  da_prev: Float64Array,
  gradients: RnnWeights,
  dz: Float64Array,
  da_next: Float64Array,
  weights: RnnWeights,
  a_next: Float64Array,
  xt: Float64Array,
  a_prev: Float64Array,
): void {
  for (let i = 0; i < dz.length; i++) dz[i] = da_next[i] * (1 - a_next[i] * a_next[i]);

  dxt.fill(0);
  kernels.addTransposedProduct(dxt, weights.Wax, dz);
  da_prev.fill(0);
  kernels.addTransposedProduct(da_prev, weights.Waa, dz);

  kernels.addOuterProducts(gradients.Wax, dz, xt);
  kernels.addOuterProducts(gradients.Waa, dz, a_prev);
  kernels.addRows(gradients.ba, dz);
}
