import { nest, rnnBody } from '../bodies.js';
import type { Attack } from './attack.js';

const PATIENT = 'x-deadline-ms: 600000\r\n';
const FORWARD = '/v1/rnn/forward';
const BACKWARD = '/v1/rnn/backward';

/** One example, which cannot be cut over the batch: 12 GFLOP over 32 MB of weights. */
const longForward =
  (requests: number): Attack['act'] =>
  (siege) =>
    siege.repeat(requests, siege.post(FORWARD, rnnBody([1, 2000, 1, 3000], '0'), PATIENT));

export const longTwo: Attack = {
  what: '2 forward passes of one example (n_a 2000, T 3000): work pauses for short requests of others',
  service: 'roomy',
  act: longForward(2),
};

export const longMany: Attack = {
  what: '16 of them: a caller has a share of the workers, however much it asks for',
  service: 'roomy',
  act: longForward(16),
};

export const longBackward: Attack = {
  what: '4 backward passes of one example (n_a 1000, T 3000): they pause, too',
  service: 'roomy',
  act(siege) {
    const body = rnnBody([1, 1000, 1, 3000], '0', `,"da":${nest('1', 1000, 1, 3000)}`);
    return siege.repeat(4, siege.post(BACKWARD, body, PATIENT));
  },
};

export const batches: Attack = {
  what: '16 forward passes of 256 examples: work that is cut over the batch leaves room for others',
  service: 'roomy',
  act(siege) {
    return siege.repeat(16, siege.post(FORWARD, rnnBody([4, 128, 256, 60], '0.1'), PATIENT));
  },
};
