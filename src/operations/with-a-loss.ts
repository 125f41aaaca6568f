import type { Cell, CellTypes } from '../engine/cell.js';
import { chunkSteps } from '../engine/chunk.js';
import { each, range, rowOf, type Steps, track } from '../engine/layout.js';
import { type LossName, lossOf, predictionBackward, type Targets } from '../engine/loss.js';
import { logitsWith } from '../engine/prediction.js';
import { type Observer, type Sequence, sequenceBackward, sequenceForward } from '../engine/sequence.js';
import type { Rows } from '../kernels/kernels.js';
import { Refusal } from '../tensor/refusal.js';
import {
  choice,
  eitherRank,
  group,
  type Members,
  needed,
  notNegative,
  number,
  optional,
  type TensorMember,
  type Values,
} from '../tensor/signature.js';
import type { Tensor, WholeNumbers } from '../tensor/tensor.js';
import {
  allOf,
  cellFor,
  checkParameters,
  type Entry,
  forwardFlops,
  gradient,
  initial,
  itself,
  last,
  parameterGradients,
  pick,
  tensorsFor,
  whenGiven,
  workingGradients,
} from './cell-entry.js';
import {
  arrangementIn,
  countedIn,
  hasFeatures,
  initialGradients,
  initialIn,
  initialOrZero,
  initialStates,
  input,
  inputIn,
  isRaggedIn,
  lastStates,
  lengths,
  lengthsIn,
  packedSequence,
  standIns,
  stepsOf,
  weightsIn,
  whenReturned,
  workIn,
  workingStates,
  writeInitialGradients,
  writeLast,
} from './of-a-sequence.js';
import { type Operation, operation } from './operation.js';
import { bptt_steps, dtype, isReturned, returned } from './options.js';
import { norm, sum, tensor, whole } from './symbols.js';

/** The operation that takes a sequence to the gradients of a loss on its predictions, in one call. */

const loss = needed(
  choice(
    'LossName',
    ['cross_entropy', 'squared_error', 'binary_cross_entropy'],
    undefined,
    'with u = W·a + b: `cross_entropy` of y = softmax(u); `squared_error`, halved, of y = u; `binary_cross_entropy` of y = σ(u)',
  ),
);

const reduction = choice(
  'Reduction',
  ['mean', 'sum'],
  'mean',
  '`mean`, or absent: the sum divided by the number of pairs (example, time step) that count, which are those within `lengths` whose weight is not 0; `sum`: the sum',
);

const clip_norm = number(
  0,
  'the largest norm of all gradients of parameters together; a larger one makes them smaller by clip_norm / norm; absent: no clipping',
);

const targets = eitherRank(
  tensor(
    'n_y m T_x',
    'what the predictions should be; for `cross_entropy` probabilities, or, as whole numbers of shape (m, T_x), the index of the right class',
  ),
  whole('m T_x', 'the index of the right class', 0, '<n_y'),
);

const weights = optional(
  notNegative(tensor('m T_x', 'what the loss of each example and time step is multiplied with, from 0; absent: 1')),
);

export function forwardBackwardOf<C extends CellTypes>(entry: Entry<C>): Operation {
  const { cell, name, id, tag, states, kept, parameters, prediction } = entry;
  const { y, W, b } = prediction;
  const ofPrediction = Object.fromEntries(
    [W, b].map((name): [string, TensorMember] => {
      const member = parameters.members[name];
      return [
        gradient(name),
        { ...member, optional: false, isFactor: false, isSum: true, description: `gradient of ${name}` },
      ];
    }),
  );
  const parameterNames = [...Object.keys(parameterGradients(entry)), gradient(W), gradient(b)];
  const dzs = cell.gradients.filter((name) => name.startsWith('dz'));
  /** The norm is one of all gradients of parameters, whether they are returned or not. */
  const isNormNeeded = (request: Values) => {
    return isReturned(request, '/gradient_norm') || request.clip_norm !== undefined;
  };
  const isLastWanted = (request: Values) => cell.states.some((state) => isReturned(request, `/${last(state)}`));
  const steps = group(`${name}LossSteps`, 'what happens at each time step, over all examples', {
    loss: sum('T_x', 'loss of the step; together they are the loss'),
    ...norms(
      cell.states.map(gradient),
      (name) => `norm of ${name}_next: of all that comes back to the ${name.slice(1)} of the step`,
    ),
    ...norms(dzs, (name) => `norm of ${name}, the gradient of a pre-activation`),
  });
  const stepNames = Object.keys(steps.members);
  const isStepWanted = (request: Values) => stepNames.some((name) => isReturned(request, `/steps/${name}`));
  return operation<Members, Members, Members, Members>({
    id: `${id}ForwardBackward`,
    path: `/v1/${id}/forward_backward`,
    tag,
    summary: `Prediction, loss and all gradients of the ${tag.name} over a sequence`,
    description: `The sequence forward, u = ${W}·a + ${b} and a loss at every time step, and backpropagation through time to every parameter, in one call: what a training step needs. \`steps\` shows where gradients vanish or explode.`,
    request: group(
      `${name}ForwardBackwardRequest`,
      'an input sequence and what the predictions should be',
      {
        ...input,
        ...initialStates(entry),
        parameters,
        loss,
        targets,
        lengths,
        weights,
        reduction,
        clip_norm,
        bptt_steps,
        return: returned,
        ...entry.options,
        dtype,
      },
      { standIns },
    ),
    answer: group(`${name}ForwardBackwardResult`, 'loss, predictions and gradients', {
      loss: sum('', 'the loss'),
      [y]: tensor('n_y m T_x', 'predictions'),
      gradients: group(`${name}LossGradients`, 'each of the shape of what it is the gradient of', {
        dx: optional(tensor('n_x m T_x', 'gradient of x; not there for ids')),
        ...initialGradients(entry),
        ...parameterGradients(entry),
        ...ofPrediction,
      }),
      gradient_norm: sum('', 'norm of all gradients of parameters together, before clipping'),
      steps,
      ...lastStates(entry),
    }),
    forward: {
      ...tensorsFor(states, itself, 'n_a m T_x', (state) => `${state}s`),
      ...tensorsFor(kept, itself, 'n_a m T_x', (one) => `${one}s`),
    },
    scratch: {
      ...initialOrZero(entry),
      ...workingStates(entry),
      ...workingGradients(cell, 'n_a m T_c'),
      ...tensorsFor(states, last, 'n_a m', (state) => `${state} after the last step`),
      u: tensor('n_y m T_x', 'logits, then predictions, where those are not returned'),
      du: tensor('n_y m T_x', 'gradient of the loss by u'),
      da: tensor('n_a m T_x', 'gradient of the loss by each hidden state'),
      packed: optional(
        group(`${name}PackedLoss`, 'a ragged batch without its padding', {
          ...packedSequence(entry, 'L'),
          [y]: tensor('n_y L', 'predictions'),
          targets: tensor('n_y L', 'targets'),
          weights: tensor('1 L', 'weights'),
        }),
      ),
    },
    symbols: ({ m, T_x }) => ({ T_c: chunkSteps(m, T_x) }),
    counted: (request, { T_x }) => countedIn(request, T_x),
    facts: (request) => ({ pairs: pairsThatCount(request) }),
    check(request) {
      checkParameters(entry, request);
      checkLoss(request, W, b);
    },
    isReturned: (pointer, request) => isReturned(request, pointer),
    when: {
      answer: allOf(
        whenGiven(entry, '/gradients', gradient),
        whenReturned([y, 'loss', ...stepNames.map((name) => `steps/${name}`), ...cell.states.map(last)]),
        Object.fromEntries(
          parameterNames.map((name) => [
            `/gradients/${name}`,
            (request: Values) => isReturned(request, `/gradients/${name}`) || isNormNeeded(request),
          ]),
        ),
        {
          '/gradients/dx': (request) => hasFeatures(request) && isReturned(request, '/gradients/dx'),
          '/gradient_norm': isNormNeeded,
        },
      ),
      scratch: {
        '/packed': (request) => isRaggedIn(request, stepsOf(request)),
        '/packed/x': hasFeatures,
        '/packed/dx': (request) => hasFeatures(request) && isReturned(request, '/gradients/dx'),
        '/packed/targets': (request) => !areClasses(request),
        '/packed/weights': (request) => request.weights !== undefined,
        ...Object.fromEntries(cell.states.map((state) => [`/${last(state)}`, isLastWanted])),
        '/u': (request) => !isReturned(request, `/${y}`),
      },
    },
    time: 'backward',
    flops: (sizes) => 3 * forwardFlops(entry, sizes),
    run(kernels, request: Values, answer: Values, scratch: Values, forward: Values | undefined) {
      const values = { ...forward, ...request, ...scratch };
      const packed = (scratch.packed ?? {}) as Values;
      const lay = arrangementIn(request, stepsOf(request));
      const ofRequest = cellFor(entry, request);
      const gradients = answer.gradients as Values;
      const at = (name: string) => lay.target(values[name] as Tensor, packed[name] as Tensor | undefined);
      const sequence: Sequence<C> = {
        steps: lay.steps,
        states: each(cell.states, at),
        kept: each(cell.kept, at),
        x: inputIn(lay, request, packed),
        initial: initialIn(lay, cell, values, packed),
        last: isLastWanted(request) ? pick(cell.states, last, scratch) : undefined,
        weights: weightsIn(kernels, ofRequest, request),
      };
      const rows = rowOf(lay.steps, lay.steps.T);
      const { [W]: Wy, [b]: by } = request.parameters as { [name: string]: Tensor };
      const n_y = by.data.length;
      const logits = logitsWith(kernels, Wy, by);
      const predicted = (answer[y] ?? scratch.u) as Tensor;
      const us = lay.target(predicted, packed[y] as Tensor);
      const [dus, das] = [scratch.du, scratch.da].map((tensor) => track(tensor as Tensor));
      sequenceForward(kernels, ofRequest, sequence, (a, from, to) => logits(range(us, from, to), a));
      for (const name of [...cell.states, ...cell.kept]) lay.write(values[name] as Tensor, packed[name] as Tensor);

      const seen = seenSteps(lay.steps, answer.steps as Values | undefined, isStepWanted(request));
      let total = 0;
      const u = range(us, 0, rows);
      const terms = {
        loss: request.loss as LossName,
        targets: targetsIn(),
        weights: weightsOfRows(),
        scale: request.reduction === 'mean' ? 1 / (request.pairs as number) : 1,
      };
      lossOf(kernels, u, range(dus, 0, rows), n_y, terms, (row, loss) => {
        total += loss;
        seen?.addLoss(row, loss);
      });
      if (answer.loss) (answer.loss as Tensor).data[0] = total;
      lay.write(predicted, packed[y] as Tensor);

      const a = sequence.states[cell.states[0] as C['State']];
      const [dW, db] = [gradients[gradient(W)], gradients[gradient(b)]] as (Tensor | undefined)[];
      predictionBackward(kernels, { dW, db }, range(das, 0, rows), range(dus, 0, rows), Wy, range(a, 0, rows));
      const dx = gradients.dx as Tensor | undefined;
      sequenceBackward(
        kernels,
        ofRequest,
        {
          dx: dx && lay.target(dx, packed.dx as Tensor),
          initial: each(cell.states, (state) => {
            const name = gradient(initial(state));
            return lay.targetOfStates(gradients[name] as Tensor, packed[name] as Tensor);
          }),
          parameters: gradients as { readonly [name in `d${C['Parameter']}`]: Tensor | undefined },
        },
        workIn(cell, scratch),
        each(cell.states, (state) => (state === cell.states[0] ? das : undefined)),
        sequence,
        (request.bptt_steps as number | undefined) ?? Number.POSITIVE_INFINITY,
        seen && observerOf(cell, dzs, seen),
      );
      if (dx) lay.write(dx, packed.dx as Tensor);
      writeInitialGradients(lay, cell, gradients, packed);
      writeLast(lay, cell, answer, scratch);

      function targetsIn(): Targets {
        if (areClasses(request)) return lay.whole(request.targets as unknown as Tensor<WholeNumbers>);
        return range(lay.read(request.targets as Tensor, packed.targets as Tensor | undefined), 0, rows);
      }

      function weightsOfRows(): Rows | undefined {
        if (!request.weights) return undefined;
        const { shape, strides, data } = request.weights as Tensor;
        return range(lay.read({ shape: [1, ...shape], strides, data }, packed.weights as Tensor | undefined), 0, rows);
      }
    },
    /** The norm of the gradients, and clipping by it. */
    finish(sums: Values, options: Values) {
      if (!sums.gradient_norm) return;
      const all = parameterNames.flatMap((name) => ((sums.gradients as Values)[name] as Tensor | undefined) ?? []);
      const largest = normOf(all.map(({ data }) => ({ data, offset: 0, length: data.length })));
      (sums.gradient_norm as Tensor).data[0] = largest;
      const { clip_norm } = options as { clip_norm?: number };
      if (clip_norm === undefined || largest <= clip_norm) return;
      for (const { data } of all) for (let i = 0; i < data.length; i++) data[i] *= clip_norm / largest;
    },
  });
}

function norms(names: readonly string[], describe: (name: string) => string): Record<string, TensorMember> {
  return Object.fromEntries(names.map((name) => [name, norm('T_x', describe(name))]));
}

function areClasses({ targets }: Values): boolean {
  return (targets as Tensor).shape.length === 2;
}

/** How many pairs of example and time step count: those within the lengths whose weight is not 0. */
function pairsThatCount(request: Values): number {
  const [m, T] = [(request.a0 as Tensor).shape[1], stepsOf(request)];
  const own = lengthsIn(request)?.data;
  const weights = request.weights as Tensor | undefined;
  let pairs = 0;
  for (let j = 0; j < m; j++) {
    const length = own ? own[j] : T;
    if (!weights) pairs += length;
    else for (let t = 0; t < length; t++) if (weights.data[j * T + t] !== 0) pairs++;
  }
  return pairs;
}

/** @throws Refusal where the parts of a loss do not fit together */
function checkLoss(request: Values, W: string, b: string): void {
  const parameters = request.parameters as Values;
  const faults: { pointer: string; detail: string }[] = [];
  for (const name of [W, b]) {
    if (parameters[name]) continue;
    const pointer = `/parameters/${name}`;
    faults.push({
      pointer,
      detail: `${pointer} is missing: the loss is one of the predictions, which need ${W} and ${b}`,
    });
  }
  if (areClasses(request) && request.loss !== 'cross_entropy') {
    const detail = `/targets are classes, (m, T_x), but loss is "${request.loss}", which takes numbers, (n_y, m, T_x)`;
    faults.push({ pointer: '/targets', detail });
  }
  if (faults.length > 0) throw new Refusal('invalid-request', faults);
  if (request.reduction === 'mean' && pairsThatCount(request) === 0) {
    const detail = 'all /weights are 0, so there is nothing that a mean could be taken of; reduction "sum" would be 0';
    throw new Refusal('invalid-tensor', [{ pointer: '/weights', detail }]);
  }
}

/** What is shown of each time step. */
interface SeenSteps {
  addLoss(row: number, loss: number): void;
  /** Sets the norm of some rows at step t. */
  setNorm(name: string, t: number, rows: Rows): void;
}

function seenSteps(steps: Steps, shown: Values | undefined, areWanted: boolean): SeenSteps | undefined {
  if (!shown || !areWanted) return undefined;
  const losses = shown.loss as Tensor | undefined;
  let t = 0;
  return {
    addLoss(row, loss) {
      while (t + 1 < steps.T && row >= rowOf(steps, t + 1)) t++;
      if (losses) losses.data[t] += loss;
    },
    setNorm(name, t, rows) {
      const norms = shown[name] as Tensor | undefined;
      if (norms) norms.data[t] = normOf([rows]);
    },
  };
}

function observerOf<C extends CellTypes>(
  { states }: Cell<C>,
  dzs: readonly C['Gradient'][],
  seen: SeenSteps,
): Observer<C> {
  return {
    reached(t, d_next) {
      for (const state of states) seen.setNorm(gradient(state), t, d_next[state as C['State']]);
    },
    left(t, dz) {
      for (const name of dzs) seen.setNorm(name, t, dz[name]);
    },
  };
}

/** √Σ v². */
function normOf(all: readonly Rows[]): number {
  const squares = squaresOf(all, 1);
  if (squares > 1e-200 && squares < 1e200) return Math.sqrt(squares);
  // The squares are too small or too large for a double, or close to it.
  let largest = 0;
  for (const { data, offset, length } of all) {
    for (let i = offset; i < offset + length; i++) largest = Math.max(largest, Math.abs(data[i]));
  }
  if (largest === 0 || !Number.isFinite(largest)) return largest;
  return Math.sqrt(squaresOf(all, largest)) * largest;
}

/** Σ (v / unit)² */
function squaresOf(all: readonly Rows[], unit: number): number {
  let squares = 0;
  for (const { data, offset, length } of all) {
    for (let i = offset; i < offset + length; i++) {
      const value = data[i] / unit;
      squares += value * value;
    }
  }
  return squares;
}
