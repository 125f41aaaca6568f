import type { Kernels } from '../kernels/kernels.js';
import type { Tensor } from '../tensor/tensor.js';
import { matrix, rows } from './layout.js';

/**
 * ŷ = softmax(W·a + b), each example and time step on its own.
 *
 * @param y prediction, (n_y, m) or (n_y, m, T_x)
 * @param W weights, (n_y, n_a)
 * @param b bias, (n_y, 1)
 * @param a hidden states, (n_a, m) or (n_a, m, T_x)
 */
export function predict(kernels: Kernels, y: Tensor, W: Tensor, b: Tensor, a: Tensor): void {
  kernels.fillRows(rows(y), rows(b));
  kernels.addProduct(rows(y), kernels.factor(matrix(W)), rows(a));
  kernels.softmaxRows(rows(y), b.data.length);
}
