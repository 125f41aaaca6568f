import { lstm } from '../engine/cells/lstm.js';
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
  name: 'LSTM',
  description: 'long short-term memory: a memory state beside the hidden state, and three gates',
};

const parameters = group(
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
);

const cellCache = group('LstmCellCache', 'what the backward step needs; goes back as it came', {
  a_next: tensor('n_a m', 'hidden state after the step'),
  c_next: tensor('n_a m', 'memory state after the step'),
  a_prev: tensor('n_a m', 'hidden state before the step'),
  c_prev: tensor('n_a m', 'memory state before the step'),
  ft: tensor('n_a m', 'forget gate'),
  it: tensor('n_a m', 'update gate'),
  cct: tensor('n_a m', 'candidate'),
  ot: tensor('n_a m', 'output gate'),
  xt: tensor('n_x m', 'input of the step'),
  parameters,
});

const sequenceCaches = group('LstmCaches', 'what the backward pass needs; goes back as it came', {
  a: tensor('n_a m T_x', 'hidden states'),
  c: tensor('n_a m T_x', 'memory states'),
  a0: tensor('n_a m', 'initial hidden state'),
  c0: tensor('n_a m', 'initial memory state'),
  ft: tensor('n_a m T_x', 'forget gates'),
  it: tensor('n_a m T_x', 'update gates'),
  cct: tensor('n_a m T_x', 'candidates'),
  ot: tensor('n_a m T_x', 'output gates'),
  x: tensor('n_x m T_x', 'input sequence'),
  parameters,
});

const parameterGradients = {
  dWf: sum('n_a n_a+n_x', 'gradient of Wf'),
  dbf: sum('n_a 1', 'gradient of bf'),
  dWi: sum('n_a n_a+n_x', 'gradient of Wi'),
  dbi: sum('n_a 1', 'gradient of bi'),
  dWc: sum('n_a n_a+n_x', 'gradient of Wc'),
  dbc: sum('n_a 1', 'gradient of bc'),
  dWo: sum('n_a n_a+n_x', 'gradient of Wo'),
  dbo: sum('n_a 1', 'gradient of bo'),
};

/** Scratch of the backward operations: dz• of as many time steps as the shape says. */
const gateGradients = (shape: string) => ({
  dzf: tensor(shape, "gradient of the forget gate's pre-activation"),
  dzi: tensor(shape, "gradient of the update gate's pre-activation"),
  dzc: tensor(shape, "gradient of the candidate's pre-activation"),
  dzo: tensor(shape, "gradient of the output gate's pre-activation"),
});

/** Multiplications and additions of the matrix products: of each step forward, and of the predictions. */
function forwardFlops({ n_x, n_a, n_y = 0, m, T_x = 1 }: Sizes): number {
  return 2 * m * T_x * (4 * n_a * (n_a + n_x) + n_y * n_a);
}

/** And backward, with the steps forward if they are computed again: W·z, Wᵀ·dz and dz·zᵀ. */
function backwardFlops({ n_x, n_a, m, T_da = 1 }: Sizes): number {
  return 2 * m * T_da * 3 * 4 * n_a * (n_a + n_x);
}

export const lstmCellForwardOperation = operation({
  id: 'lstmCellForward',
  path: '/v1/lstm/cell/forward',
  tag,
  summary: 'One time step of the LSTM',
  description:
    'With z = [a_prev ; xt]: ft = σ(Wf·z + bf), it = σ(Wi·z + bi), cct = tanh(Wc·z + bc), ot = σ(Wo·z + bo), c_next = ft∘c_prev + it∘cct, a_next = ot∘tanh(c_next), yt_pred = softmax(Wy·a_next + by).',
  request: group('LstmCellForwardRequest', 'one time step', {
    xt: tensor('n_x m', 'input of the step'),
    a_prev: tensor('n_a m', 'hidden state before the step'),
    c_prev: tensor('n_a m', 'memory state before the step'),
    parameters,
    dtype,
  }),
  answer: group('LstmCellForwardResult', 'the states after the step', {
    a_next: tensor('n_a m', 'hidden state after the step'),
    c_next: tensor('n_a m', 'memory state after the step'),
    yt_pred: optional(tensor('n_y m', 'prediction; there if Wy and by are given')),
    cache: sharing(cellCache, {
      a_next: same('/a_next'),
      c_next: same('/c_next'),
      a_prev: repeats('/a_prev'),
      c_prev: repeats('/c_prev'),
      xt: repeats('/xt'),
      parameters: repeats('/parameters'),
    }),
  }),
  time: 'forward',
  flops: forwardFlops,
  run(kernels, { xt, a_prev, c_prev, parameters }, { a_next, c_next, yt_pred, cache }) {
    const next = { a: a_next, c: c_next };
    stepForward(kernels, lstm, { next, kept: cache, xt, prev: { a: a_prev, c: c_prev }, parameters });
    const { Wy, by } = parameters;
    if (yt_pred && Wy && by) predict(kernels, yt_pred, Wy, by, a_next);
  },
});

export const lstmCellBackwardOperation = operation({
  id: 'lstmCellBackward',
  path: '/v1/lstm/cell/backward',
  tag,
  summary: 'Gradients of one time step of the LSTM',
  description: 'The gradients of everything that went into the step, from the gradients of a_next and c_next.',
  request: group('LstmCellBackwardRequest', 'the gradients of one time step, and what its forward step kept', {
    cache: cellCache,
    da_next: tensor('n_a m', 'gradient of the loss by a_next'),
    dc_next: tensor('n_a m', 'gradient of the loss by c_next'),
    dtype,
  }),
  answer: group('LstmCellBackwardResult', 'gradients of the step', {
    gradients: group('LstmCellGradients', 'each of the shape of what it is the gradient of', {
      dxt: tensor('n_x m', 'gradient of xt'),
      da_prev: tensor('n_a m', 'gradient of a_prev'),
      dc_prev: tensor('n_a m', 'gradient of c_prev'),
      ...parameterGradients,
    }),
  }),
  scratch: gateGradients('n_a m'),
  time: 'backward',
  flops: backwardFlops,
  run(kernels, { da_next, dc_next, cache }, { gradients }, scratch) {
    const { dxt, da_prev, dc_prev } = gradients;
    const { a_next, c_next, xt, a_prev, c_prev, parameters } = cache;
    stepBackward(
      kernels,
      lstm,
      { dxt, d_prev: { a: da_prev, c: dc_prev }, parameters: gradients },
      scratch,
      { a: da_next, c: dc_next },
      { next: { a: a_next, c: c_next }, kept: cache, xt, prev: { a: a_prev, c: c_prev }, parameters },
    );
  },
});

export const lstmForwardOperation = operation({
  id: 'lstmForward',
  path: '/v1/lstm/forward',
  tag,
  summary: 'The LSTM over a sequence',
  description:
    'The cell at every time step, starting from a0 and c0. All hidden states, memory states and predictions are returned.',
  request: group('LstmForwardRequest', 'an input sequence', {
    x: tensor('n_x m T_x', 'input sequence'),
    a0: tensor('n_a m', 'initial hidden state'),
    c0: optional(tensor('n_a m', 'initial memory state; absent: zero')),
    parameters,
    caches,
    dtype,
  }),
  answer: group('LstmForwardResult', 'the states of the sequence', {
    a: tensor('n_a m T_x', 'hidden states'),
    y: optional(tensor('n_y m T_x', 'predictions; there if Wy and by are given')),
    c: tensor('n_a m T_x', 'memory states'),
    ...keptCaches(
      sharing(sequenceCaches, {
        a: same('/a'),
        c: same('/c'),
        a0: repeats('/a0'),
        c0: repeats('/c0'),
        x: repeats('/x'),
        parameters: repeats('/parameters'),
      }),
    ),
  }),
  scratch: {
    c0: { ...tensor('n_a m', 'initial memory state'), source: repeats('/c0') },
    gates: optional(
      group('LstmGates', 'gates of a chunk of time steps, where no caches are asked for', {
        ft: tensor('n_a m T_c', 'forget gates'),
        it: tensor('n_a m T_c', 'update gates'),
        cct: tensor('n_a m T_c', 'candidates'),
        ot: tensor('n_a m T_c', 'output gates'),
      }),
    ),
  },
  symbols: ({ m, T_x }) => ({ T_c: chunkSteps(m, T_x) }),
  when: { answer: whenKept, scratch: { gates: ({ caches }) => caches === 'none' } },
  deposit: depositedCaches,
  time: 'forward',
  flops: forwardFlops,
  run(kernels, { x, a0, parameters }, { a, y, c, caches }, { c0, gates }) {
    const kept = caches ?? gates;
    if (!kept) throw new Error('a request without caches has no gates to work in');
    sequenceForward(kernels, lstm, { states: { a, c }, kept, x, initial: { a: a0, c: c0 }, parameters });
    const { Wy, by } = parameters;
    if (y && Wy && by) predict(kernels, y, Wy, by, a);
  },
});

export const lstmBackwardOperation = operation({
  id: 'lstmBackward',
  path: '/v1/lstm/backward',
  tag,
  summary: 'Gradients of the LSTM over a sequence',
  description:
    'Backpropagation through time, full or truncated. Give either `caches` of the forward operation, or the `cache_id` of stored ones, or `x`, `a0`, `parameters` and, if the forward pass had it, `c0`, from which the forward pass is computed again: the answers are the same to the last byte. A loss on the predictions y = softmax(u) comes in through da: with du = y − targets, da = Wyᵀ·du.',
  request: group(
    'LstmBackwardRequest',
    'the gradients of the states, and the forward pass in one of three ways',
    {
      x: optional(tensor('n_x m T_x', 'input sequence')),
      a0: optional(tensor('n_a m', 'initial hidden state')),
      c0: optional(tensor('n_a m', 'initial memory state; absent: zero')),
      parameters: optional(parameters),
      caches: optional(sequenceCaches),
      cache_id,
      da: tensor(
        'n_a m T_da<=T_x',
        'gradient of the loss by each hidden state; T_da ≤ T_x, and the sequence ends there',
      ),
      dc: optional(tensor('n_a m T_da', 'gradient of the loss by each memory state, of the shape of da; absent: zero')),
      bptt_steps,
      dtype,
    },
    { either: [{ need: ['caches'] }, { need: ['cache_id'] }, { need: ['x', 'a0', 'parameters'], may: ['c0'] }] },
  ),
  answer: group('LstmBackwardResult', 'gradients of the sequence', {
    gradients: group('LstmGradients', 'each of the shape of what it is the gradient of', {
      dx: tensor('n_x m T_da', 'gradient of x'),
      da0: tensor('n_a m', 'gradient of a0'),
      dc0: tensor('n_a m', 'gradient of c0'),
      ...parameterGradients,
    }),
  }),
  forward: {
    a: tensor('n_a m T_da', 'hidden states'),
    c: tensor('n_a m T_da', 'memory states'),
    ft: tensor('n_a m T_da', 'forget gates'),
    it: tensor('n_a m T_da', 'update gates'),
    cct: tensor('n_a m T_da', 'candidates'),
    ot: tensor('n_a m T_da', 'output gates'),
  },
  scratch: {
    c0: { ...tensor('n_a m', 'initial memory state'), source: repeats('/c0') },
    da_next: tensor('n_a m', 'gradient of the hidden state of one time step'),
    dc_next: tensor('n_a m', 'gradient of the memory state of one time step'),
    ...gateGradients('n_a m T_c'),
  },
  symbols: ({ m, T_da }) => ({ T_c: chunkSteps(m, T_da) }),
  when: { forward: (request) => request.caches === undefined },
  attachment: storedCaches,
  time: 'backward',
  flops: backwardFlops,
  run(kernels, request, { gradients }, scratch, forward) {
    let { caches } = request;
    const { x, a0, parameters, da, dc, bptt_steps = Number.POSITIVE_INFINITY } = request;
    const { c0 } = scratch;
    if (forward && x && a0 && parameters) {
      caches = { ...forward, a0, c0, x, parameters };
      sequenceForward(kernels, lstm, sequenceOf(caches));
    }
    if (!caches) throw new Error('a request without a forward pass was not refused');
    sequenceBackward(
      kernels,
      lstm,
      { dx: gradients.dx, initial: { a: gradients.da0, c: gradients.dc0 }, parameters: gradients },
      { d_next: { a: scratch.da_next, c: scratch.dc_next }, dz: scratch },
      { a: da, c: dc },
      sequenceOf(caches),
      bptt_steps,
    );
  },
});

/** What the caches hold, as the engine names it. */
function sequenceOf(caches: ValuesOf<typeof sequenceCaches.members>) {
  const { a, c, x, a0, c0, parameters } = caches;
  return { states: { a, c }, kept: caches, x, initial: { a: a0, c: c0 }, parameters };
}
