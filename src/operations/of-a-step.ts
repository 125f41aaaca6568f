import type { Cell, CellTypes } from '../engine/cell.js';
import { type Each, rows } from '../engine/layout.js';
import { predictionWith } from '../engine/prediction.js';
import { type StepTensors, stepBackward, stepForward } from '../engine/step.js';
import type { Kernels } from '../kernels/kernels.js';
import {
  group,
  type Members,
  optional,
  repeats,
  same,
  sharing,
  type TensorMember,
  type Values,
} from '../tensor/signature.js';
import type { Tensor } from '../tensor/tensor.js';
import { listed } from '../tensor/words.js';
import {
  backwardFlops,
  cellFor,
  checkParameters,
  type Entry,
  forwardFlops,
  gradient,
  itself,
  next,
  parameterGradients,
  pick,
  prev,
  sources,
  tensorsFor,
  whenGiven,
  workingGradients,
} from './cell-entry.js';
import { type Operation, operation } from './operation.js';
import { dtype } from './options.js';
import { tensor } from './symbols.js';

/** The operations of one time step of a cell. */

export function stepForwardOf<C extends CellTypes>(entry: Entry<C>): Operation {
  const { cell, name, id, tag, equations, states, parameters, prediction } = entry;
  const { W, b } = prediction;
  return operation<Members, Members>({
    id: `${id}CellForward`,
    path: `/v1/${id}/cell/forward`,
    tag,
    summary: `One time step of the ${tag.name}`,
    description: `${equations}, yt_pred = softmax(${W}·a_next + ${b}).`,
    request: group(`${name}CellForwardRequest`, 'one time step', {
      xt: tensor('n_x m', 'input of the step'),
      ...tensorsFor(states, prev, 'n_a m', (state) => `${state} before the step`),
      parameters,
      ...entry.options,
      dtype,
    }),
    answer: group(`${name}CellForwardResult`, `the ${cell.states.length > 1 ? 'states' : 'state'} after the step`, {
      ...tensorsFor(states, next, 'n_a m', (state) => `${state} after the step`),
      yt_pred: optional(tensor('n_y m', `prediction; there if ${W} and ${b} are given`)),
      cache: sharing(stepCache(entry), {
        ...sources(cell.states, next, same),
        ...sources([...cell.states.map(prev), 'xt', 'parameters'], itself, repeats),
      }),
    }),
    check: (request) => checkParameters(entry, request),
    when: { answer: whenGiven(entry, '/cache/parameters') },
    time: 'forward',
    flops: (sizes) => forwardFlops(entry, sizes),
    run(kernels, request: Values, answer: Values) {
      const ofRequest = cellFor(entry, request);
      const step = stepIn(kernels, ofRequest, { ...(answer.cache as Values), ...request, ...answer });
      stepForward(kernels, ofRequest, step);
      const { [W]: Wy, [b]: by } = request.parameters as Each<string, Tensor | undefined>;
      if (!answer.yt_pred || !Wy || !by) return;
      predictionWith(kernels, Wy, by)(rows(answer.yt_pred as Tensor), rows(answer[next(cell.states[0])] as Tensor));
    },
  });
}

export function stepBackwardOf<C extends CellTypes>(entry: Entry<C>): Operation {
  const { cell, name, id, tag, states } = entry;
  const gradients = cell.states.length > 1 ? 'gradients' : 'gradient';
  return operation<Members, Members>({
    id: `${id}CellBackward`,
    path: `/v1/${id}/cell/backward`,
    tag,
    summary: `Gradients of one time step of the ${tag.name}`,
    description: `The gradients of everything that went into the step, from the ${gradients} of ${listed(cell.states.map(next))}.`,
    request: group(`${name}CellBackwardRequest`, `the ${gradients} of one time step, and what its forward step kept`, {
      cache: stepCache(entry),
      ...lossGradients(cell.states.map(next)),
      ...entry.options,
      dtype,
    }),
    answer: group(`${name}CellBackwardResult`, 'gradients of the step', {
      gradients: group(`${name}CellGradients`, 'each of the shape of what it is the gradient of', {
        dxt: tensor('n_x m', 'gradient of xt'),
        ...tensorsFor(
          states,
          (state) => gradient(prev(state)),
          'n_a m',
          (_, state) => `gradient of ${prev(state)}`,
        ),
        ...parameterGradients(entry),
      }),
    }),
    scratch: workingGradients(cell, 'n_a m'),
    check: (request) => checkParameters(entry, request),
    when: { answer: whenGiven(entry, '/gradients', gradient) },
    time: 'backward',
    flops: (sizes) => backwardFlops(entry, sizes),
    run(kernels, request: Values, answer: Values, scratch: Values) {
      const gradients = answer.gradients as Values;
      const ofRequest = cellFor(entry, request);
      stepBackward(
        kernels,
        ofRequest,
        {
          dxt: gradients.dxt as Tensor,
          d_prev: pick(cell.states, (state) => gradient(prev(state)), gradients),
          parameters: gradients as Each<string, Tensor>,
        },
        pick(cell.gradients, itself, scratch),
        pick(cell.states, (state) => gradient(next(state)), request),
        stepIn(kernels, ofRequest, request.cache as Values),
      );
    },
  });
}

/** What the backward step needs, and takes as the forward step has answered it. */
function stepCache<C extends CellTypes>({ name, states, kept, parameters }: Entry<C>) {
  return group(`${name}CellCache`, 'what the backward step needs; goes back as it came', {
    ...tensorsFor(states, next, 'n_a m', (state) => `${state} after the step`),
    ...tensorsFor(states, prev, 'n_a m', (state) => `${state} before the step`),
    ...tensorsFor(kept, itself, 'n_a m', itself),
    xt: tensor('n_x m', 'input of the step'),
    parameters,
  } as Members);
}

function lossGradients(names: readonly string[]): Record<string, TensorMember> {
  return Object.fromEntries(names.map((name) => [gradient(name), tensor('n_a m', `gradient of the loss by ${name}`)]));
}

function stepIn<C extends CellTypes>(kernels: Kernels, cell: Cell<C>, values: Values): StepTensors<C> {
  const { states, kept } = cell;
  return {
    next: pick(states, next, values),
    kept: pick(kept, itself, values),
    xt: values.xt as Tensor,
    prev: pick(states, prev, values),
    weights: cell.weights(kernels, values.parameters as Each<C['Parameter'], Tensor>),
  };
}
