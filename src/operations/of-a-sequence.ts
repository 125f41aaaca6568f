import { type Arrangement, arrangementOf } from '../engine/arrangement.js';
import type { Cell, CellTypes } from '../engine/cell.js';
import { chunkSteps } from '../engine/chunk.js';
import type { InputTrack } from '../engine/input.js';
import { type Each, each, range, track } from '../engine/layout.js';
import { predictionWith } from '../engine/prediction.js';
import { rowsOfBatch } from '../engine/ragged.js';
import { type Sequence, sequenceBackward, sequenceForward } from '../engine/sequence.js';
import type { Kernels } from '../kernels/kernels.js';
import { Refusal } from '../tensor/refusal.js';
import type { Sizes } from '../tensor/shapes.js';
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
import type { Tensor, WholeNumbers } from '../tensor/tensor.js';
import { listed } from '../tensor/words.js';
import {
  allOf,
  backwardFlops,
  type Conditions,
  cellFor,
  checkParameters,
  type Entry,
  forwardFlops,
  gradient,
  initial,
  itself,
  last,
  next,
  parameterGradients,
  pick,
  sources,
  tensorsFor,
  whenGiven,
  workingGradients,
} from './cell-entry.js';
import { type Operation, operation } from './operation.js';
import {
  bptt_steps,
  cache_id,
  caches,
  depositedCaches,
  dtype,
  isReturned,
  keptCaches,
  returned,
  storedCaches,
  whenKept,
} from './options.js';
import { tensor, whole } from './symbols.js';

/** The operations over a sequence, forward and backward. */

export const lengths = optional(
  whole(
    'm',
    'time steps of each example; x is padding behind them, and all results there are 0.0; absent: T_x',
    1,
    'T_x',
  ),
);

export const input = {
  x: optional(tensor('n_x m T_x', 'input sequence')),
  ids: optional(whole('m T_x', 'which feature of x is 1 where the others are 0, in place of x', 0, '<n_x')),
};

/** ids may stand for x. */
export const standIns = { x: 'ids' };

export function sequenceForwardOf<C extends CellTypes>(entry: Entry<C>): Operation {
  const { cell, name, id, tag, states, kept, parameters, prediction } = entry;
  const { y, W, b } = prediction;
  const given = listed(cell.states.map(initial));
  const shown = listed([...cell.states.map((state: C['State']) => `${states[state]}s`), 'predictions']);
  const [hidden, ...others] = Object.entries(tensorsFor(states, itself, 'n_a m T_x', (state) => `${state}s`));
  const areStatesKept = (request: Values) =>
    request.caches !== 'none' || cell.states.some((state) => isReturned(request, `/${state}`));
  return operation<Members, Members, Members, Members>({
    id: `${id}Forward`,
    path: `/v1/${id}/forward`,
    tag,
    summary: `The ${tag.name} over a sequence`,
    description: `The cell at every time step, starting from ${given}. All ${shown} are returned, or what \`return\` lists.`,
    request: group(
      `${name}ForwardRequest`,
      'an input sequence',
      {
        ...input,
        // Generated clients that exist know it as needed.
        x: { ...input.x, optional: false },
        ...initialStates(entry),
        parameters,
        lengths,
        caches,
        return: returned,
        ...entry.options,
        dtype,
      },
      { standIns },
    ),
    answer: group(`${name}ForwardResult`, 'the states of the sequence', {
      ...Object.fromEntries([hidden]),
      [y]: optional(tensor('n_y m T_x', `predictions; there if ${W} and ${b} are given`)),
      ...Object.fromEntries(others),
      ...lastStates(entry),
      ...keptCaches(
        sharing(sequenceCaches(entry), {
          ...sources(cell.states, itself, same),
          ...sources([...cell.states.map(initial), 'x', 'ids', 'lengths', 'parameters'], itself, repeats),
        }),
      ),
    }),
    scratch: {
      ...initialOrZero(entry),
      ...tensorsFor(states, last, 'n_a m', (state) => `${state} after the last step`),
      kept: optional(
        group(`${name}Kept`, 'what a chunk of time steps keeps, where no caches are asked for', {
          ...tensorsFor(kept, itself, 'n_a m T_c', (one) => `${one}s`),
        }),
      ),
      rolling: optional(
        group(`${name}Rolling`, 'the states of a chunk of time steps, where no others are asked for', {
          ...tensorsFor(states, itself, 'n_a m T_c', (state) => `${state}s`),
        }),
      ),
      packed: optional(
        group(`${name}Packed`, 'a ragged batch without its padding', {
          x: tensor('n_x L', 'input sequence'),
          ...tensorsFor(states, initial, 'n_a m', (state) => `initial ${state}`),
          ...tensorsFor(states, itself, 'n_a L', (state) => `${state}s`),
          ...tensorsFor(kept, itself, 'n_a L', (one) => `${one}s`),
          [y]: tensor('n_y L', 'predictions'),
        }),
      ),
    },
    symbols: ({ m, T_x }) => ({ T_c: chunkSteps(m, T_x) }),
    counted: (request, { T_x }) => countedIn(request, T_x),
    check: (request) => checkParameters(entry, request),
    isReturned: (pointer, request) => isReturned(request, pointer),
    when: {
      answer: {
        ...whenKept,
        ...whenGiven(entry, '/caches/parameters'),
        ...whenRepeated('/caches', ['x', 'ids', 'lengths']),
        ...Object.fromEntries(cell.states.map((state) => [`/${state}`, areStatesKept])),
        ...whenReturned([y, ...cell.states.map(last)]),
      },
      scratch: {
        '/kept': (request) => request.caches === 'none',
        '/rolling': (request) => !areStatesKept(request),
        '/packed': (request: Values) => isRaggedIn(request, stepsOf(request)),
        '/packed/x': hasFeatures,
        [`/packed/${y}`]: (request: Values) => isReturned(request, `/${y}`),
        ...Object.fromEntries(cell.states.map((state) => [`/packed/${state}`, areStatesKept])),
        ...Object.fromEntries(
          cell.kept.map((name) => [`/packed/${name}`, (request: Values) => request.caches !== 'none']),
        ),
        ...Object.fromEntries(
          cell.states.map((state) => [`/${last(state)}`, (request: Values) => isLastNeeded(cell, request)]),
        ),
      },
    },
    deposit: depositedCaches,
    time: 'forward',
    flops: (sizes) => forwardFlops(entry, sizes),
    run(kernels, request: Values, answer: Values, scratch: Values) {
      const { kept, rolling } = scratch as { kept?: Values; rolling?: Values };
      const packed = (scratch.packed ?? {}) as Values;
      const all = { ...request, ...scratch, ...answer };
      const lay = arrangementIn(request, stepsOf(request));
      const ofRequest = cellFor(entry, request);
      const own = (answer.caches ?? {}) as Values;
      const sequence: Sequence<C> = {
        steps: lay.steps,
        states: each(cell.states, (state) =>
          rolling ? track(rolling[state] as Tensor) : lay.target(answer[state] as Tensor, packed[state] as Tensor),
        ),
        kept: each(cell.kept, (name) =>
          kept ? track(kept[name] as Tensor) : lay.target(own[name] as Tensor, packed[name] as Tensor),
        ),
        x: inputIn(lay, request, packed),
        initial: initialIn(lay, cell, all, packed),
        last: isLastNeeded(cell, request) ? pick(cell.states, last, scratch) : undefined,
        weights: weightsIn(kernels, ofRequest, request),
      };
      const predicted = answer[y] as Tensor | undefined;
      const { [W]: Wy, [b]: by } = request.parameters as Each<string, Tensor | undefined>;
      if (predicted && Wy && by) {
        const predict = predictionWith(kernels, Wy, by);
        const ys = lay.target(predicted, packed[y] as Tensor);
        sequenceForward(kernels, ofRequest, sequence, (a, from, to) => predict(range(ys, from, to), a));
        lay.write(predicted, packed[y] as Tensor);
      } else sequenceForward(kernels, ofRequest, sequence);
      if (!rolling) for (const state of cell.states) lay.write(answer[state] as Tensor, packed[state] as Tensor);
      if (!kept) for (const name of cell.kept) lay.write(own[name] as Tensor, packed[name] as Tensor);
      writeLast(lay, cell, answer, scratch);
    },
  });
}

export function sequenceBackwardOf<C extends CellTypes>(entry: Entry<C>): Operation {
  const { cell, name, id, tag, states, kept, parameters, prediction } = entry;
  const [hidden, ...others] = cell.states;
  const inputs = ['x', initial(hidden), 'parameters'];
  const ofStates =
    others.length > 0 ? 'the gradients of the states' : `the gradient of the ${states[hidden as C['State']]}s`;
  const stepsOfGradient = (request: Values) => (request[gradient(hidden)] as Tensor).shape[2];
  return operation<Members, Members, Members, Members>({
    id: `${id}Backward`,
    path: `/v1/${id}/backward`,
    tag,
    summary: `Gradients of the ${tag.name} over a sequence`,
    description: `Backpropagation through time, full or truncated. Give either \`caches\` of the forward operation, or the \`cache_id\` of stored ones, or ${recomputedFrom(inputs, others.map(initial))}, from which the forward pass is computed again: the answers are the same to the last byte. A loss on the predictions y = softmax(u) comes in through da: with du = y − targets, da = ${prediction.W}ᵀ·du. \`/v1/${id}/forward_backward\` does that by itself.`,
    request: group(
      `${name}BackwardRequest`,
      `${ofStates}, and the forward pass in one of three ways`,
      {
        ...input,
        ...optionals(initialStates(entry)),
        parameters: optional(parameters),
        caches: optional(sequenceCaches(entry)),
        cache_id,
        ...sequenceLossGradients(entry),
        lengths,
        bptt_steps,
        return: returned,
        ...entry.options,
        dtype,
      },
      {
        standIns,
        either: [
          { need: ['caches'] },
          { need: ['cache_id'] },
          { need: inputs, ...(others.length > 0 && { may: others.map(initial) }) },
        ],
      },
    ),
    answer: group(`${name}BackwardResult`, 'gradients of the sequence', {
      gradients: group(`${name}Gradients`, 'each of the shape of what it is the gradient of', {
        dx: optional(tensor('n_x m T_da', 'gradient of x; not there for ids')),
        ...initialGradients(entry),
        ...parameterGradients(entry),
      }),
    }),
    forward: {
      ...tensorsFor(states, itself, 'n_a m T_da', (state) => `${state}s`),
      ...tensorsFor(kept, itself, 'n_a m T_da', (one) => `${one}s`),
    },
    scratch: {
      ...initialOrZero(entry),
      ...workingStates(entry),
      ...workingGradients(cell, 'n_a m T_c'),
      packed: optional(
        group(`${name}PackedGradients`, 'a ragged batch without its padding', {
          ...packedSequence(entry, 'L'),
          ...tensorsFor(states, gradient, 'n_a L', (state) => `gradient of the loss by each ${state}`),
        }),
      ),
    },
    symbols: ({ m, T_da }) => ({ T_c: chunkSteps(m, T_da) }),
    counted: (request, { T_da }) => countedIn(request, T_da),
    check(request) {
      checkParameters(entry, request);
      checkLengths(request);
    },
    isReturned: (pointer, request) => isReturned(request, pointer),
    when: {
      answer: allOf(whenGiven(entry, '/gradients', gradient), whenReturned(ofGradients(entry)), {
        '/gradients/dx': (request) => hasFeatures(request) && isReturned(request, '/gradients/dx'),
      }),
      forward: (request: Values) => request.caches === undefined,
      scratch: {
        '/packed': (request) => isRaggedIn(request, stepsOfGradient(request)),
        '/packed/x': hasFeatures,
        '/packed/dx': (request) => hasFeatures(request) && isReturned(request, '/gradients/dx'),
        ...Object.fromEntries(
          others.map((state) => [
            `/packed/${gradient(state)}`,
            (request: Values) => request[gradient(state)] !== undefined,
          ]),
        ),
      },
    },
    attachment: storedCaches,
    time: 'backward',
    flops: (sizes) => backwardFlops(entry, sizes),
    run(kernels, request: Values, answer: Values, scratch: Values, forward: Values | undefined) {
      const values = (request.caches as Values | undefined) ?? { ...forward, ...request, ...scratch };
      const gradients = answer.gradients as Values;
      const packed = (scratch.packed ?? {}) as Values;
      const lay = arrangementIn(request, stepsOfGradient(request));
      const ofRequest = cellFor(entry, request);
      const at = (name: string, isRead: boolean) => {
        const [tensor, room] = [values[name], packed[name]] as [Tensor, Tensor | undefined];
        return isRead ? lay.read(tensor, room) : lay.target(tensor, room);
      };
      const sequence: Sequence<C> = {
        steps: lay.steps,
        states: each(cell.states, (state) => at(state, !forward)),
        kept: each(cell.kept, (name) => at(name, !forward)),
        x: inputIn(lay, values, packed),
        initial: initialIn(lay, cell, values, packed),
        weights: weightsIn(kernels, ofRequest, values),
      };
      if (forward) {
        sequenceForward(kernels, ofRequest, sequence);
        // Where a number is not finite, it is looked for here.
        for (const name of Object.keys(forward)) lay.write(forward[name] as Tensor, packed[name] as Tensor);
      }
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
          parameters: gradients as Each<string, Tensor | undefined>,
        },
        workIn(cell, scratch),
        each(cell.states, (state) => {
          const d = request[gradient(state)] as Tensor | undefined;
          return d && lay.read(d, packed[gradient(state)] as Tensor);
        }),
        sequence,
        (request.bptt_steps as number | undefined) ?? Number.POSITIVE_INFINITY,
      );
      if (dx) lay.write(dx, packed.dx as Tensor);
      writeInitialGradients(lay, cell, gradients, packed);
    },
  });
}

/** Members of a request or an answer that may be absent. */
export function optionals<M extends Record<string, TensorMember>>(members: M): Record<keyof M & string, TensorMember> {
  const all = Object.entries(members).map(([name, member]) => [name, optional(member)]);
  return Object.fromEntries(all);
}

function sequenceCaches<C extends CellTypes>({ name, states, kept, parameters }: Entry<C>) {
  return group(
    `${name}Caches`,
    'what the backward pass needs; goes back as it came',
    {
      ...tensorsFor(states, itself, 'n_a m T_x', (state) => `${state}s`),
      ...tensorsFor(states, initial, 'n_a m', (state) => `initial ${state}`),
      ...tensorsFor(kept, itself, 'n_a m T_x', (one) => `${one}s`),
      ...input,
      lengths,
      parameters,
    } as Members,
    { standIns },
  );
}

function sequenceLossGradients<C extends CellTypes>({ cell, states }: Entry<C>): Record<string, TensorMember> {
  const hidden = gradient(cell.states[0]);
  const all = cell.states.map((state: C['State'], i) => {
    const what = `gradient of the loss by each ${states[state]}`;
    if (i === 0) return [hidden, tensor('n_a m T_da<=T_x', `${what}; T_da ≤ T_x, and the sequence ends there`)];
    return [gradient(state), optional(tensor('n_a m T_da', `${what}, of the shape of ${hidden}; absent: zero`))];
  });
  return Object.fromEntries(all);
}

/** The initial states of a request: the hidden state's is needed, another is zero where it is left out. */
export function initialStates<C extends CellTypes>({ cell, states }: Entry<C>): Record<string, TensorMember> {
  const isHidden = (state: string) => state === cell.states[0];
  const all = Object.entries<string>(states).map(([state, what]) => {
    const member = tensor('n_a m', `initial ${what}${isHidden(state) ? '' : '; absent: zero'}`);
    return [initial(state), isHidden(state) ? member : optional(member)];
  });
  return Object.fromEntries(all);
}

/** The initial states that a request may leave out, as they are then. */
export function initialOrZero<C extends CellTypes>({ cell, states }: Entry<C>): Record<string, TensorMember> {
  const all = cell.states.slice(1).map((state: C['State']) => {
    const source = repeats(`/${initial(state)}`);
    return [initial(state), { ...tensor('n_a m', `initial ${states[state]}`), source }];
  });
  return Object.fromEntries(all);
}

export function initialGradients<C extends CellTypes>({ states }: Entry<C>): Record<string, TensorMember> {
  const nameOf = (state: string) => gradient(initial(state));
  return tensorsFor(states, nameOf, 'n_a m', (_, state) => `gradient of ${initial(state)}`);
}

/** The states after each example's last step, where a request lists them. */
export function lastStates<C extends CellTypes>({ states }: Entry<C>): Record<string, TensorMember> {
  const describe = (state: string) => `${state} after the last step of each example; there if \`return\` lists it`;
  return optionals(tensorsFor(states, last, 'n_a m', describe));
}

export function workingStates<C extends CellTypes>({ states }: Entry<C>): Record<string, TensorMember> {
  const nameOf = (state: string) => gradient(next(state));
  return tensorsFor(states, nameOf, 'n_a m', (state) => `gradient of the ${state} of one step`);
}

/** A ragged batch without its padding: what a walk forward and backward reads and writes. */
export function packedSequence<C extends CellTypes>(
  { states, kept }: Entry<C>,
  L: string,
): Record<string, TensorMember> {
  return {
    x: tensor(`n_x ${L}`, 'input sequence'),
    dx: tensor(`n_x ${L}`, 'gradient of x'),
    ...tensorsFor(states, initial, 'n_a m', (state) => `initial ${state}`),
    ...tensorsFor(
      states,
      (state) => gradient(initial(state)),
      'n_a m',
      (state) => `gradient of the initial ${state}`,
    ),
    ...tensorsFor(states, itself, `n_a ${L}`, (state) => `${state}s`),
    ...tensorsFor(kept, itself, `n_a ${L}`, (one) => `${one}s`),
  };
}

/** The gradients in an answer that are computed where they are returned, and not otherwise. */
function ofGradients<C extends CellTypes>(entry: Entry<C>): string[] {
  return Object.keys(parameterGradients(entry)).map((name) => `gradients/${name}`);
}

/** Members of an answer that are there where they are returned. */
export function whenReturned(names: readonly string[]): Conditions {
  return Object.fromEntries(names.map((name) => [`/${name}`, (request: Values) => isReturned(request, `/${name}`)]));
}

/** Members that repeat those of a request are there where the request has them. */
function whenRepeated(around: string, names: readonly string[]): Conditions {
  const all = names.map((name) => [`${around}/${name}`, (request: Values) => request[name] !== undefined]);
  return Object.fromEntries(all);
}

/** The values that a request gives for its forward pass: its caches, or its own. */
function given(request: Values): Values {
  return typeof request.caches === 'object' ? (request.caches as Values) : request;
}

/** Is the input rows of features, and not indices? */
export function hasFeatures(request: Values): boolean {
  return given(request).x !== undefined;
}

/** T_x of a forward request. */
export function stepsOf({ x, ids }: Values): number {
  return x ? (x as Tensor).shape[2] : (ids as Tensor<WholeNumbers>).shape[1];
}

export function lengthsIn(request: Values): Tensor<WholeNumbers> | undefined {
  return (request.lengths ?? given(request).lengths) as Tensor<WholeNumbers> | undefined;
}

/** Is an example over before T steps? */
export function isRaggedIn(request: Values, T: number): boolean {
  return lengthsIn(request)?.data.some((length) => length < T) ?? false;
}

/** L, the time steps of all examples together, of a ragged batch. */
export function countedIn(request: Values, T: number): Sizes {
  const own = lengthsIn(request);
  return own && isRaggedIn(request, T) ? { L: rowsOfBatch(own.data, T) } : {};
}

/** @throws Refusal invalid-tensor where a request and its caches have other lengths */
function checkLengths(request: Values): void {
  const [own, kept] = [request.lengths, given(request).lengths] as (Tensor<WholeNumbers> | undefined)[];
  const at = own && kept ? own.data.findIndex((length, j) => length !== kept.data[j]) : -1;
  if (at < 0) return;
  const detail = `/lengths/${at} is ${own?.data[at]}, but the caches have length ${kept?.data[at]} there`;
  throw new Refusal('invalid-tensor', [{ pointer: `/lengths/${at}`, detail }]);
}

export function arrangementIn(request: Values, T: number): Arrangement {
  const a0 = given(request).a0 as Tensor;
  return arrangementOf(a0.shape[1], T, lengthsIn(request));
}

export function inputIn(lay: Arrangement, { x, ids }: Values, packed: Values): InputTrack {
  if (x) return lay.read(x as Tensor, packed.x as Tensor | undefined);
  return { ids: lay.whole(ids as Tensor<WholeNumbers>) };
}

export function initialIn<C extends CellTypes>(
  lay: Arrangement,
  { states }: Cell<C>,
  values: Values,
  packed: Values,
): Each<C['State'], Tensor> {
  return each(states, (state: C['State']) => {
    return lay.readStates(values[initial(state)] as Tensor, packed[initial(state)] as Tensor | undefined);
  });
}

export function weightsIn<C extends CellTypes>(kernels: Kernels, cell: Cell<C>, { parameters }: Values): C['Weights'] {
  return cell.weights(kernels, parameters as Each<C['Parameter'], Tensor>);
}

export function workIn<C extends CellTypes>(cell: Cell<C>, scratch: Values) {
  return {
    d_next: pick(cell.states, (state) => gradient(next(state)), scratch),
    dz: each(cell.gradients, (name) => track(scratch[name] as Tensor)),
  };
}

/** Must a walk forward keep the states after each example's last step: for the caller, or for its own next chunk? */
function isLastNeeded<C extends CellTypes>({ states }: Cell<C>, request: Values): boolean {
  const wanted = (name: string) => isReturned(request, `/${name}`);
  const areAllKept = request.caches !== 'none' || states.some(wanted);
  return !areAllKept || states.some((state) => wanted(last(state)));
}

export function writeLast<C extends CellTypes>(
  lay: Arrangement,
  { states }: Cell<C>,
  answer: Values,
  scratch: Values,
): void {
  for (const state of states) {
    const shown = answer[last(state)] as Tensor | undefined;
    if (!shown) continue;
    const kept = scratch[last(state)] as Tensor;
    shown.data.set(kept.data);
    lay.writeStates(shown, kept);
  }
}

export function writeInitialGradients<C extends CellTypes>(
  lay: Arrangement,
  { states }: Cell<C>,
  gradients: Values,
  packed: Values,
): void {
  for (const state of states) {
    const name = gradient(initial(state));
    lay.writeStates(gradients[name] as Tensor, packed[name] as Tensor);
  }
}

function recomputedFrom(needed: readonly string[], others: readonly string[]): string {
  const [names, more] = [needed, others].map((all) => all.map((name) => `\`${name}\``));
  if (more.length === 0) return listed(names);
  return `${names.join(', ')} and, if the forward pass had ${more.length > 1 ? 'them' : 'it'}, ${listed(more)}`;
}
