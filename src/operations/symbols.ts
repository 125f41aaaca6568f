import { tensorsWith } from '../tensor/signature.js';

/**
 * The symbols of all shapes: n_x input features, n_a hidden units, n_y outputs; m examples in the batch; time steps of x,
 * of da, and of a chunk that is worked on at once; L time steps of all examples together, where these have different lengths.
 */
export const { tensor, factor, sum, norm, whole } = tensorsWith({
  features: ['n_x', 'n_a', 'n_y', 'L'],
  batch: 'm',
  time: ['T_x', 'T_da', 'T_c'],
});
