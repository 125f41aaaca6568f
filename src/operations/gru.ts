import { gruResetAfter, gruResetBefore } from '../engine/cells/gru.js';
import { Refusal } from '../tensor/refusal.js';
import { choice, group, optional } from '../tensor/signature.js';
import { operationsOf } from './of-a-cell.js';
import { factor, tensor } from './symbols.js';

const reset = choice(
  'ResetGate',
  ['before', 'after'],
  undefined,
  "where the reset gate acts: `before` the product, on the state, as in the course and in Keras' reset_after=False; `after` it, on Wca·a_prev + bca, as in PyTorch, cuDNN and Keras by default; absent: as the cache says, else `before`",
);

export const gruOperations = operationsOf({
  cell: gruResetBefore,
  cellWith: ({ bca }) => (bca === undefined ? gruResetBefore : gruResetAfter),
  options: { reset },
  check({ reset }, { bca }, at, isGiven) {
    const isAfter = reset === 'after' || (reset === undefined && !isGiven && bca !== undefined);
    if (isAfter === (bca !== undefined)) return;
    const detail = isAfter
      ? `${at}/bca is missing (bias of the candidate's product with the state, (n_a, 1)): reset "after" needs it`
      : `${at}/bca is given, but reset is ${reset === undefined ? 'absent, which means "before"' : '"before"'}: only reset "after" has this bias`;
    throw new Refusal('invalid-request', [{ pointer: `${at}/bca`, detail }]);
  },
  name: 'Gru',
  tag: {
    name: 'GRU',
    description: 'gated recurrent unit: a reset gate and an update gate, and no memory state',
  },
  equations:
    'With z = [a_prev ; xt]: rt = σ(Wr·z + br), zt = σ(Wz·z + bz), cct = tanh(Wca·(rt∘a_prev) + Wcx·xt + bc) or, where `reset` is `after`, cct = tanh(rt∘(Wca·a_prev + bca) + Wcx·xt + bc), a_next = zt∘a_prev + (1 − zt)∘cct',
  states: { a: 'hidden state' },
  kept: { rt: 'reset gate', zt: 'update gate', cct: 'candidate' },
  parameters: group(
    'GruParameters',
    'weights and biases of the GRU; the columns of each W belong to [a_prev ; xt]',
    {
      Wr: factor('n_a n_a+n_x', 'weights of the reset gate'),
      br: tensor('n_a 1', 'bias of the reset gate'),
      Wz: factor('n_a n_a+n_x', 'weights of the update gate'),
      bz: tensor('n_a 1', 'bias of the update gate'),
      Wc: factor('n_a n_a+n_x', 'weights of the candidate, Wc = [Wca | Wcx]'),
      bc: tensor('n_a 1', 'bias of the candidate'),
      bca: optional(tensor('n_a 1', "bias of the candidate's product with the state; where `reset` is `after`")),
      Wy: optional(factor('n_y n_a', 'weights of the prediction')),
      by: optional(tensor('n_y 1', 'bias of the prediction')),
    },
    { together: [['Wy', 'by']] },
  ),
  prediction: { y: 'y', W: 'Wy', b: 'by' },
});
