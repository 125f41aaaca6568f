import { choice, integer } from '../tensor/signature.js';

/** Members that several operations take beside their tensors. */

export const dtype = choice(
  ['float64', 'float32'],
  'float64',
  'type of all numbers of the request: read to the nearest, computed and answered in it',
);

export const caches = choice(
  ['none', 'inline'],
  'none',
  'whether the answer holds `caches`, which the backward operation takes instead of the inputs',
);

export const bptt_steps = integer(
  1,
  'truncated backpropagation: cuts the sequence into segments of this many time steps, counted from the first, and carries no gradient across a cut; absent: nothing is cut',
);
