import type { Kernels, Rows } from '../kernels/kernels.js';
import type { Tensor } from '../tensor/tensor.js';
import { matrix, rows } from './layout.js';

/**
 * The logits u = W·a + b of a prediction, each example and time step on its own.
 *
 * @param W weights, (n_y, n_a)
 * @param b bias, (n_y, 1)
 * @return writes u for some rows of hidden states a
 */
export function logitsWith(kernels: Kernels, W: Tensor, b: Tensor): (u: Rows, a: Rows) => void {
  const [weights, bias] = [kernels.factor(matrix(W)), rows(b)];
  return (u, a) => {
    kernels.fillRows(u, bias);
    kernels.addProduct(u, weights, a);
  };
}

/** The same for the prediction ŷ = softmax(W·a + b). */
export function predictionWith(kernels: Kernels, W: Tensor, b: Tensor): (y: Rows, a: Rows) => void {
  const logits = logitsWith(kernels, W, b);
  return (y, a) => {
    logits(y, a);
    kernels.softmaxRows(y, b.data.length);
  };
}
