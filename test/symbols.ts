import { tensorsWith } from '../src/tensor/signature.js';

/** Tensors of signatures that only tests have. */
export const { tensor, factor, sum, whole } = tensorsWith({
  features: ['n', 'k', 'p', 'q', 'r', 'n_x', 'n_a', 'n_y', 'n_l'],
  batch: 'm',
  time: ['T', 'T_x', 'T_da'],
});
