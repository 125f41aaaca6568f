import { rnn } from '../engine/cells/rnn.js';
import { chunkSteps } from '../engine/chunk.js';
import { predict } from '../engine/prediction.js';
import { sequenceBackward, sequenceForward } from '../engine/sequence.js';
import { stepBackward, stepForward } from '../engine/step.js';
import type { Sizes } from '../tensor/shapes.js';
import { group, optional, repeats, same, sharing, type ValuesOf } from '../tensor/signature.js';
import { operation } from './operation.js';
import { bptt_steps, cache_id, caches, depositedCaches, dtype, keptCaches, storedCaches, whenKept } from './options.js';
import { factor, sum, tensor } from './symbols.js';

const tag = {
  name: 'RNN',
  description: 'the plain recurrent network: one tanh for each time step',
};

const parameters = group(
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
);

const cellCache = group('RnnCellCache', 'what the backward step needs; goes back as it came', {
  a_next: tensor('n_a m', 'hidden state after the step'),
  a_prev: tensor('n_a m', 'hidden state before the step'),
  xt: tensor('n_x m', 'input of the step'),
  parameters,
});

const sequenceCaches = group('RnnCaches', 'what the backward pass needs; goes back as it came', {
  a: tensor('n_a m T_x', 'hidden states'),
  a0: tensor('n_a m', 'initial hidden state'),
  x: tensor('n_x m T_x', 'input sequence'),
  parameters,
});

const parameterGradients = {
  dWax: sum('n_a n_x', 'gradient of Wax'),
  dWaa: sum('n_a n_a', 'gradient of Waa'),
  dba: sum('n_a 1', 'gradient of ba'),
};

/** Multiplications and additions of the matrix products: of each step forward, and of the predictions. */
function forwardFlops({ n_x, n_a, n_y = 0, m, T_x = 1 }: Sizes): number {
  return 2 * m * T_x * (n_a * (n_a + n_x) + n_y * n_a);
}

/** And backward, with the steps forward if they are computed again: W·z, Wᵀ·dz and dz·zᵀ. */
function backwardFlops({ n_x, n_a, m, T_da = 1 }: Sizes): number {
  return 2 * m * T_da * 3 * n_a * (n_a + n_x);
}

export const rnnCellForwardOperation = operation({
  id: 'rnnCellForward',
  path: '/v1/rnn/cell/forward',
  tag,
  summary: 'One time step of the RNN',
  description: 'a_next = tanh(Waa·a_prev + Wax·xt + ba), yt_pred = softmax(Wya·a_next + by).',
  request: group('RnnCellForwardRequest', 'one time step', {
    xt: tensor('n_x m', 'input of the step'),
    a_prev: tensor('n_a m', 'hidden state before the step'),
    parameters,
    dtype,
  }),
  answer: group('RnnCellForwardResult', 'the state after the step', {
    a_next: tensor('n_a m', 'hidden state after the step'),
    yt_pred: optional(tensor('n_y m', 'prediction; there if Wya and by are given')),
    cache: sharing(cellCache, {
      a_next: same('/a_next'),
      a_prev: repeats('/a_prev'),
      xt: repeats('/xt'),
      parameters: repeats('/parameters'),
    }),
  }),
  time: 'forward',
  flops: forwardFlops,
  run(kernels, { xt, a_prev, parameters }, { a_next, yt_pred }) {
    stepForward(kernels, rnn, { next: { a: a_next }, kept: {}, xt, prev: { a: a_prev }, parameters });
    const { Wya, by } = parameters;
    if (yt_pred && Wya && by) predict(kernels, yt_pred, Wya, by, a_next);
  },
});

export const rnnCellBackwardOperation = operation({
  id: 'rnnCellBackward',
  path: '/v1/rnn/cell/backward',
  tag,
  summary: 'Gradients of one time step of the RNN',
  description: 'The gradients of everything that went into the step, from the gradient of a_next.',
  request: group('RnnCellBackwardRequest', 'the gradient of one time step, and what its forward step kept', {
    cache: cellCache,
    da_next: tensor('n_a m', 'gradient of the loss by a_next'),
    dtype,
  }),
  answer: group('RnnCellBackwardResult', 'gradients of the step', {
    gradients: group('RnnCellGradients', 'each of the shape of what it is the gradient of', {
      dxt: tensor('n_x m', 'gradient of xt'),
      da_prev: tensor('n_a m', 'gradient of a_prev'),
      ...parameterGradients,
    }),
  }),
  scratch: { dz: tensor('n_a m', 'gradient of the pre-activation') },
  time: 'backward',
  flops: backwardFlops,
  run(kernels, { da_next, cache }, { gradients }, { dz }) {
    const { dxt, da_prev } = gradients;
    const { a_next, xt, a_prev, parameters } = cache;
    const step = { next: { a: a_next }, kept: {}, xt, prev: { a: a_prev }, parameters };
    stepBackward(kernels, rnn, { dxt, d_prev: { a: da_prev }, parameters: gradients }, { dz }, { a: da_next }, step);
  },
});

export const rnnForwardOperation = operation({
  id: 'rnnForward',
  path: '/v1/rnn/forward',
  tag,
  summary: 'The RNN over a sequence',
  description: 'The cell at every time step, starting from a0. All hidden states and predictions are returned.',
  request: group('RnnForwardRequest', 'an input sequence', {
    x: tensor('n_x m T_x', 'input sequence'),
    a0: tensor('n_a m', 'initial hidden state'),
    parameters,
    caches,
    dtype,
  }),
  answer: group('RnnForwardResult', 'the states of the sequence', {
    a: tensor('n_a m T_x', 'hidden states'),
    y_pred: optional(tensor('n_y m T_x', 'predictions; there if Wya and by are given')),
    ...keptCaches(
      sharing(sequenceCaches, {
        a: same('/a'),
        a0: repeats('/a0'),
        x: repeats('/x'),
        parameters: repeats('/parameters'),
      }),
    ),
  }),
  when: { answer: whenKept },
  deposit: depositedCaches,
  time: 'forward',
  flops: forwardFlops,
  run(kernels, { x, a0, parameters }, { a, y_pred }) {
    sequenceForward(kernels, rnn, { states: { a }, kept: {}, x, initial: { a: a0 }, parameters });
    const { Wya, by } = parameters;
    if (y_pred && Wya && by) predict(kernels, y_pred, Wya, by, a);
  },
});

export const rnnBackwardOperation = operation({
  id: 'rnnBackward',
  path: '/v1/rnn/backward',
  tag,
  summary: 'Gradients of the RNN over a sequence',
  description:
    'Backpropagation through time, full or truncated. Give either `caches` of the forward operation, or the `cache_id` of stored ones, or `x`, `a0` and `parameters`, from which the forward pass is computed again: the answers are the same to the last byte. A loss on the predictions y = softmax(u) comes in through da: with du = y − targets, da = Wyaᵀ·du.',
  request: group(
    'RnnBackwardRequest',
    'the gradient of the hidden states, and the forward pass in one of three ways',
    {
      x: optional(tensor('n_x m T_x', 'input sequence')),
      a0: optional(tensor('n_a m', 'initial hidden state')),
      parameters: optional(parameters),
      caches: optional(sequenceCaches),
      cache_id,
      da: tensor(
        'n_a m T_da<=T_x',
        'gradient of the loss by each hidden state; T_da ≤ T_x, and the sequence ends there',
      ),
      bptt_steps,
      dtype,
    },
    { either: [{ need: ['caches'] }, { need: ['cache_id'] }, { need: ['x', 'a0', 'parameters'] }] },
  ),
  answer: group('RnnBackwardResult', 'gradients of the sequence', {
    gradients: group('RnnGradients', 'each of the shape of what it is the gradient of', {
      dx: tensor('n_x m T_da', 'gradient of x'),
      da0: tensor('n_a m', 'gradient of a0'),
      ...parameterGradients,
    }),
  }),
  forward: { a: tensor('n_a m T_da', 'hidden states') },
  scratch: {
    da_next: tensor('n_a m', 'gradient of the hidden state of one time step'),
    dz: tensor('n_a m T_c', 'gradient of the pre-activation of a chunk of time steps'),
  },
  symbols: ({ m, T_da }) => ({ T_c: chunkSteps(m, T_da) }),
  when: { forward: (request) => request.caches === undefined },
  attachment: storedCaches,
  time: 'backward',
  flops: backwardFlops,
  run(kernels, request, { gradients }, scratch, forward) {
    const { x, a0, parameters, da, bptt_steps = Number.POSITIVE_INFINITY } = request;
    let { caches } = request;
    if (forward && x && a0 && parameters) {
      caches = { ...forward, a0, x, parameters };
      sequenceForward(kernels, rnn, sequenceOf(caches));
    }
    if (!caches) throw new Error('a request without a forward pass was not refused');
    sequenceBackward(
      kernels,
      rnn,
      { dx: gradients.dx, initial: { a: gradients.da0 }, parameters: gradients },
      { d_next: { a: scratch.da_next }, dz: scratch },
      { a: da },
      sequenceOf(caches),
      bptt_steps,
    );
  },
});

/** What the caches hold, as the engine names it. */
function sequenceOf({ a, a0, x, parameters }: ValuesOf<typeof sequenceCaches.members>) {
  return { states: { a }, kept: {}, x, initial: { a: a0 }, parameters };
}
