import { choice, integer } from '../tensor/signature.js';

/** Members that several operations take beside their tensors. */

export const dtype = choice(['float64'], 'float64', 'number type that everything is computed in');

export const caches = choice(
  ['none', 'inline'],
  'none',
  'whether the answer holds `caches`, which the backward operation takes instead of the inputs',
);

export const bptt_steps = integer(
  1,
  'truncated backpropagation: cuts the sequence into segments of this many time steps, counted from the first, and carries no gradient across a cut; absent: nothing is cut',
);
