import { lstm } from '../engine/cells/lstm.js';
import { group, optional } from '../tensor/signature.js';
import { operationsOf } from './of-a-cell.js';
import { factor, tensor } from './symbols.js';

export const lstmOperations = operationsOf({
  cell: lstm,
  name: 'Lstm',
  tag: {
    name: 'LSTM',
    description: 'long short-term memory: a memory state beside the hidden state, and three gates',
  },
  equations:
    'With z = [a_prev ; xt]: ft = σ(Wf·z + bf), it = σ(Wi·z + bi), cct = tanh(Wc·z + bc), ot = σ(Wo·z + bo), c_next = ft∘c_prev + it∘cct, a_next = ot∘tanh(c_next)',
  states: { a: 'hidden state', c: 'memory state' },
  kept: { ft: 'forget gate', it: 'update gate', cct: 'candidate', ot: 'output gate' },
  parameters: group(
    'LstmParameters',
    'weights and biases of the LSTM; the columns of each W belong to [a_prev ; xt]',
    {
      Wf: factor('n_a n_a+n_x', 'weights of the forget gate'),
      bf: tensor('n_a 1', 'bias of the forget gate'),
      Wi: factor('n_a n_a+n_x', 'weights of the update gate'),
      bi: tensor('n_a 1', 'bias of the update gate'),
      Wc: factor('n_a n_a+n_x', 'weights of the candidate'),
      bc: tensor('n_a 1', 'bias of the candidate'),
      Wo: factor('n_a n_a+n_x', 'weights of the output gate'),
      bo: tensor('n_a 1', 'bias of the output gate'),
      Wy: optional(factor('n_y n_a', 'weights of the prediction')),
      by: optional(tensor('n_y 1', 'bias of the prediction')),
    },
    { together: [['Wy', 'by']] },
  ),
  prediction: { y: 'y', W: 'Wy', b: 'by' },
});
