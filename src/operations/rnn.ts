import { rnn } from '../engine/cells/rnn.js';
import { group, optional } from '../tensor/signature.js';
import { operationsOf } from './of-a-cell.js';
import { factor, tensor } from './symbols.js';

export const rnnOperations = operationsOf({
  cell: rnn,
  name: 'Rnn',
  tag: { name: 'RNN', description: 'the plain recurrent network: one tanh for each time step' },
  equations: 'a_next = tanh(Waa·a_prev + Wax·xt + ba)',
  states: { a: 'hidden state' },
  kept: {},
  parameters: group(
    'RnnParameters',
    'weights and biases of the RNN',
    {
      Wax: factor('n_a n_x', 'weights of the input'),
      Waa: factor('n_a n_a', 'weights of the hidden state'),
      Wya: optional(factor('n_y n_a', 'weights of the prediction')),
      ba: tensor('n_a 1', 'bias of the hidden state'),
      by: optional(tensor('n_y 1', 'bias of the prediction')),
    },
    { together: [['Wya', 'by']] },
  ),
  prediction: { y: 'y_pred', W: 'Wya', b: 'by' },
});
