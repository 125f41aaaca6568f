import type { Kernels, Rows } from '../kernels/kernels.js';
import type { Tensor } from '../tensor/tensor.js';
import { matrix, rows } from './layout.js';

/**
 * Losses of a prediction. With u = W·a + b at each example and time step, whose terms a weight w multiplies,
 *
 *     cross-entropy         y = softmax(u)   L = −Σ targets∘log y              du = y·Σ targets − targets
 *     squared error         y = u            L = ½ Σ (y − targets)²            du = y − targets
 *     binary cross-entropy  y = σ(u)         L = Σ log(1 + e^u) − targets∘u    du = y − targets
 *     da = Wᵀ·du            dW = Σ du·aᵀ     db = Σ du
 */
export type LossName = 'cross_entropy' | 'squared_error' | 'binary_cross_entropy';

/** What a prediction should be: a row of n_y numbers for each row, or the index of the class that is 1 where the others are 0. */
export type Targets = Rows | Int32Array;

export interface LossTerms {
  readonly loss: LossName;
  readonly targets: Targets;
  /** What multiplies the terms of each row; absent: 1. */
  readonly weights: Rows | undefined;
  /** What multiplies all terms: one over the number of pairs that count, for a mean. */
  readonly scale: number;
}

/**
 * The prediction, the loss of each row, and its gradients by u.
 *
 * @param y  u when it arrives, the prediction afterwards; rows of n_y numbers
 * @param du written
 * @param visit called with each row and its loss
 */
export function lossOf(
  kernels: Kernels,
  y: Rows,
  du: Rows,
  n_y: number,
  { loss, targets, weights, scale }: LossTerms,
  visit: (row: number, loss: number) => void,
): void {
  du.data.set(y.data.subarray(y.offset, y.offset + y.length), du.offset);
  if (loss === 'cross_entropy') kernels.softmaxRows(y, n_y);
  else if (loss === 'binary_cross_entropy') kernels.sigmoid(y);
  const term = TERMS[loss];
  const classes = targets instanceof Int32Array ? targets : undefined;
  const target: Rows = classes ? { data: new Float64Array(n_y), offset: 0, length: n_y } : (targets as Rows);
  for (let row = 0, at = 0; at < y.length; row++, at += n_y) {
    if (classes) {
      target.data.fill(0);
      target.data[classes[row]] = 1;
    }
    const weight = (weights ? weights.data[weights.offset + row] : 1) * scale;
    const first = target.offset + (classes ? 0 : at);
    visit(row, weight * term(du.data, du.offset + at, y.data, y.offset + at, target.data, first, n_y, weight));
  }
}

type Numbers = Rows['data'];

/** The loss of one row, not weighted. u becomes its gradient, weighted. */
type Term = (
  u: Numbers,
  ofU: number,
  y: Numbers,
  ofY: number,
  t: Numbers,
  ofT: number,
  n: number,
  weight: number,
) => number;

const TERMS: Readonly<Record<LossName, Term>> = {
  /** With k the largest of u: −log y_i = u_k − u_i + log(1 + Σ_{j≠k} y_j / y_k). Nothing overflows, and small losses stay exact. */
  cross_entropy(u, ofU, y, ofY, t, ofT, n, weight) {
    let k = 0;
    for (let i = 1; i < n; i++) if (u[ofU + i] > u[ofU + k]) k = i;
    let others = 0;
    let total = 0;
    for (let i = 0; i < n; i++) {
      if (i !== k) others += y[ofY + i];
      total += t[ofT + i];
    }
    const largest = u[ofU + k];
    const rest = Math.log1p(others / y[ofY + k]);
    let loss = 0;
    for (let i = 0; i < n; i++) {
      const target = t[ofT + i];
      if (target !== 0) loss += target * (largest - u[ofU + i] + rest);
      u[ofU + i] = weight * (y[ofY + i] * total - target);
    }
    return loss;
  },

  squared_error(u, ofU, y, ofY, t, ofT, n, weight) {
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const difference = y[ofY + i] - t[ofT + i];
      sum += difference * difference;
      u[ofU + i] = weight * difference;
    }
    return sum / 2;
  },

  /** log(1 + e^u) = max(u, 0) + log(1 + e^−|u|), which does not overflow. */
  binary_cross_entropy(u, ofU, y, ofY, t, ofT, n, weight) {
    let loss = 0;
    for (let i = 0; i < n; i++) {
      const logit = u[ofU + i];
      loss += Math.max(logit, 0) - logit * t[ofT + i] + Math.log1p(Math.exp(-Math.abs(logit)));
      u[ofU + i] = weight * (y[ofY + i] - t[ofT + i]);
    }
    return loss;
  },
};

/**
 * The gradients of a linear prediction u = W·a + b, where they are wanted.
 *
 * @param da written
 */
export function predictionBackward(
  kernels: Kernels,
  gradients: { readonly dW: Tensor | undefined; readonly db: Tensor | undefined },
  da: Rows,
  du: Rows,
  W: Tensor,
  a: Rows,
): void {
  da.data.fill(0, da.offset, da.offset + da.length);
  kernels.addTransposedProduct(da, kernels.factor(matrix(W)), du);
  if (gradients.dW) kernels.addOuterProducts(matrix(gradients.dW), du, a);
  if (gradients.db) kernels.addRows(rows(gradients.db), du);
}
