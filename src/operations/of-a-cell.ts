import type { Cell, CellTypes } from '../engine/cell.js';
import { chunkSteps } from '../engine/chunk.js';
import { type Each, each } from '../engine/layout.js';
import { predict } from '../engine/prediction.js';
import { type SequenceTensors, sequenceBackward, sequenceForward } from '../engine/sequence.js';
import { type StepTensors, stepBackward, stepForward } from '../engine/step.js';
import type { Kernels } from '../kernels/kernels.js';
import { type Sizes, shapeIn } from '../tensor/shapes.js';
import {
  type GroupMember,
  group,
  type Members,
  optional,
  repeats,
  type Source,
  same,
  sharing,
  type TensorMember,
  type Values,
} from '../tensor/signature.js';
import { elements, type Tensor } from '../tensor/tensor.js';
import { listed } from '../tensor/words.js';
import { type Operation, operation, type Tag } from './operation.js';
import { bptt_steps, cache_id, caches, depositedCaches, dtype, keptCaches, storedCaches, whenKept } from './options.js';
import { tensor } from './symbols.js';

/** What there is to say of a cell beside its equations. Its four operations follow from both. */
export interface CellEntry<C extends CellTypes = CellTypes> {
  readonly cell: Cell<C>;
  /** The cell of a request whose parameters these are, where they decide. It has the names of `cell`. */
  readonly cellWith?: (parameters: Values) => Cell<C>;
  /** Members of every request beside its tensors. */
  readonly options?: Members;
  /**
   * Checks the options against the parameters.
   *
   * @param at      the pointer of the parameters
   * @param isGiven do the parameters come with the request, and not in a cache?
   * @throws Refusal invalid-request
   */
  readonly check?: (options: Values, parameters: Values, at: string, isGiven: boolean) => void;
  /** Begins the names of its schemas, and in lower case its operationIds and paths. */
  readonly name: string;
  readonly tag: Tag;
  /** Of one time step, in a line. */
  readonly equations: string;
  /** What each state is: 'hidden state'. */
  readonly states: Each<C['State'], string>;
  /** What is kept of each step: 'forget gate'. */
  readonly kept: Each<C['Kept'], string>;
  /** The parameters of the cell and, optional, those of the prediction. */
  readonly parameters: GroupMember<Readonly<Record<string, TensorMember>>>;
  /** The name of a sequence's predictions, and of the parameters that they need. */
  readonly prediction: { readonly y: string; readonly W: string; readonly b: string };
}

/** The operations of a cell: one time step, forward and backward, and a sequence, forward and backward. */
export function operationsOf<C extends CellTypes>(entry: CellEntry<C>): readonly Operation[] {
  const cell = { ...entry, id: entry.name.toLowerCase() };
  return [stepForwardOf(cell), stepBackwardOf(cell), sequenceForwardOf(cell), sequenceBackwardOf(cell)];
}

type Entry<C extends CellTypes> = CellEntry<C> & { readonly id: string };

// What is called after a state.
const itself = (name: string) => name;
const next = (name: string) => `${name}_next`;
const prev = (name: string) => `${name}_prev`;
const initial = (name: string) => `${name}0`;
const gradient = (name: string) => `d${name}`;

function stepForwardOf<C extends CellTypes>(entry: Entry<C>): Operation {
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
      predictIf(kernels, answer.yt_pred, prediction, request, answer[next(cell.states[0])]);
    },
  });
}

function stepBackwardOf<C extends CellTypes>(entry: Entry<C>): Operation {
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

function sequenceForwardOf<C extends CellTypes>(entry: Entry<C>): Operation {
  const { cell, name, id, tag, states, kept, parameters, prediction } = entry;
  const { y, W, b } = prediction;
  const given = listed(cell.states.map(initial));
  const returned = listed([...cell.states.map((state: C['State']) => `${states[state]}s`), 'predictions']);
  const [hidden, ...others] = Object.entries(tensorsFor(states, itself, 'n_a m T_x', (state) => `${state}s`));
  return operation<Members, Members, Members, Members>({
    id: `${id}Forward`,
    path: `/v1/${id}/forward`,
    tag,
    summary: `The ${tag.name} over a sequence`,
    description: `The cell at every time step, starting from ${given}. All ${returned} are returned.`,
    request: group(`${name}ForwardRequest`, 'an input sequence', {
      x: tensor('n_x m T_x', 'input sequence'),
      ...initialStates(entry),
      parameters,
      caches,
      ...entry.options,
      dtype,
    }),
    answer: group(`${name}ForwardResult`, 'the states of the sequence', {
      ...Object.fromEntries([hidden]),
      [y]: optional(tensor('n_y m T_x', `predictions; there if ${W} and ${b} are given`)),
      ...Object.fromEntries(others),
      ...keptCaches(
        sharing(sequenceCaches(entry), {
          ...sources(cell.states, itself, same),
          ...sources([...cell.states.map(initial), 'x', 'parameters'], itself, repeats),
        }),
      ),
    }),
    scratch: {
      ...initialOrZero(entry),
      kept: optional(
        group(`${name}Kept`, 'what a chunk of time steps keeps, where no caches are asked for', {
          ...tensorsFor(kept, itself, 'n_a m T_c', (one) => `${one}s`),
        }),
      ),
    },
    symbols: ({ m, T_x }) => ({ T_c: chunkSteps(m, T_x) }),
    check: (request) => checkParameters(entry, request),
    when: { answer: { ...whenKept, ...whenGiven(entry, '/caches/parameters') }, scratch: { '/kept': (request: Values) => request.caches === 'none' } },
    deposit: depositedCaches,
    time: 'forward',
    flops: (sizes) => forwardFlops(entry, sizes),
    run(kernels, request: Values, answer: Values, scratch: Values) {
      const kept = (answer.caches ?? scratch.kept) as Values;
      const ofRequest = cellFor(entry, request);
      const sequence = sequenceIn(kernels, ofRequest, { ...kept, ...request, ...scratch, ...answer });
      sequenceForward(kernels, ofRequest, sequence);
      predictIf(kernels, answer[y], prediction, request, answer[cell.states[0]]);
    },
  });
}

function sequenceBackwardOf<C extends CellTypes>(entry: Entry<C>): Operation {
  const { cell, name, id, tag, states, kept, parameters, prediction } = entry;
  const [hidden, ...others] = cell.states;
  const inputs = ['x', initial(hidden), 'parameters'];
  const ofStates =
    others.length > 0 ? 'the gradients of the states' : `the gradient of the ${states[hidden as C['State']]}s`;
  return operation<Members, Members, Members, Members>({
    id: `${id}Backward`,
    path: `/v1/${id}/backward`,
    tag,
    summary: `Gradients of the ${tag.name} over a sequence`,
    description: `Backpropagation through time, full or truncated. Give either \`caches\` of the forward operation, or the \`cache_id\` of stored ones, or ${recomputedFrom(inputs, others.map(initial))}, from which the forward pass is computed again: the answers are the same to the last byte. A loss on the predictions y = softmax(u) comes in through da: with du = y − targets, da = ${prediction.W}ᵀ·du.`,
    request: group(
      `${name}BackwardRequest`,
      `${ofStates}, and the forward pass in one of three ways`,
      {
        x: optional(tensor('n_x m T_x', 'input sequence')),
        ...Object.fromEntries(Object.entries(initialStates(entry)).map(([name, state]) => [name, optional(state)])),
        parameters: optional(parameters),
        caches: optional(sequenceCaches(entry)),
        cache_id,
        ...sequenceLossGradients(entry),
        bptt_steps,
        ...entry.options,
        dtype,
      },
      {
        either: [
          { need: ['caches'] },
          { need: ['cache_id'] },
          { need: inputs, ...(others.length > 0 && { may: others.map(initial) }) },
        ],
      },
    ),
    answer: group(`${name}BackwardResult`, 'gradients of the sequence', {
      gradients: group(`${name}Gradients`, 'each of the shape of what it is the gradient of', {
        dx: tensor('n_x m T_da', 'gradient of x'),
        ...tensorsFor(
          states,
          (state) => gradient(initial(state)),
          'n_a m',
          (_, state) => `gradient of ${initial(state)}`,
        ),
        ...parameterGradients(entry),
      }),
    }),
    forward: {
      ...tensorsFor(states, itself, 'n_a m T_da', (state) => `${state}s`),
      ...tensorsFor(kept, itself, 'n_a m T_da', (one) => `${one}s`),
    },
    scratch: {
      ...initialOrZero(entry),
      ...tensorsFor(
        states,
        (state) => gradient(next(state)),
        'n_a m',
        (state) => `gradient of the ${state} of one step`,
      ),
      ...workingGradients(cell, 'n_a m T_c'),
    },
    symbols: ({ m, T_da }) => ({ T_c: chunkSteps(m, T_da) }),
    check: (request) => checkParameters(entry, request),
    when: {
      answer: whenGiven(entry, '/gradients', gradient),
      forward: (request: Values) => request.caches === undefined,
    },
    attachment: storedCaches,
    time: 'backward',
    flops: (sizes) => backwardFlops(entry, sizes),
    run(kernels, request: Values, answer: Values, scratch: Values, forward: Values | undefined) {
      const gradients = answer.gradients as Values;
      const ofRequest = cellFor(entry, request);
      const values = (request.caches as Values | undefined) ?? { ...forward, ...request, ...scratch };
      const sequence = sequenceIn(kernels, ofRequest, values);
      if (forward) sequenceForward(kernels, ofRequest, sequence);
      sequenceBackward(
        kernels,
        ofRequest,
        {
          dx: gradients.dx as Tensor,
          initial: pick(cell.states, (state) => gradient(initial(state)), gradients),
          parameters: gradients as Each<string, Tensor>,
        },
        {
          d_next: pick(cell.states, (state) => gradient(next(state)), scratch),
          dz: pick(cell.gradients, itself, scratch),
        },
        each(cell.states, (state) => request[gradient(state)] as Tensor | undefined),
        sequence,
        (request.bptt_steps as number | undefined) ?? Number.POSITIVE_INFINITY,
      );
    },
  });
}

/** A tensor of this shape for each of something. */
function tensorsFor(
  described: Each<string, string>,
  nameOf: (name: string) => string,
  shape: string,
  describe: (what: string, name: string) => string,
): Record<string, TensorMember> {
  const members = Object.entries(described).map(([name, what]) => [nameOf(name), tensor(shape, describe(what, name))]);
  return Object.fromEntries(members);
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

function sequenceCaches<C extends CellTypes>({ name, states, kept, parameters }: Entry<C>) {
  return group(`${name}Caches`, 'what the backward pass needs; goes back as it came', {
    ...tensorsFor(states, itself, 'n_a m T_x', (state) => `${state}s`),
    ...tensorsFor(states, initial, 'n_a m', (state) => `initial ${state}`),
    ...tensorsFor(kept, itself, 'n_a m T_x', (one) => `${one}s`),
    x: tensor('n_x m T_x', 'input sequence'),
    parameters,
  } as Members);
}

/** The initial states of a request: the hidden state's is needed, another is zero where it is left out. */
function initialStates<C extends CellTypes>({ cell, states }: Entry<C>): Record<string, TensorMember> {
  const isHidden = (state: string) => state === cell.states[0];
  const all = Object.entries<string>(states).map(([state, what]) => {
    const member = tensor('n_a m', `initial ${what}${isHidden(state) ? '' : '; absent: zero'}`);
    return [initial(state), isHidden(state) ? member : optional(member)];
  });
  return Object.fromEntries(all);
}

/** The initial states that a request may leave out, as they are then. */
function initialOrZero<C extends CellTypes>({ cell, states }: Entry<C>): Record<string, TensorMember> {
  const all = cell.states.slice(1).map((state: C['State']) => {
    const source = repeats(`/${initial(state)}`);
    return [initial(state), { ...tensor('n_a m', `initial ${states[state]}`), source }];
  });
  return Object.fromEntries(all);
}

function lossGradients(names: readonly string[]): Record<string, TensorMember> {
  return Object.fromEntries(names.map((name) => [gradient(name), tensor('n_a m', `gradient of the loss by ${name}`)]));
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

/** The parameters of a cell, without those of the prediction. */
function ofCell<C extends CellTypes>({ parameters, prediction: { W, b } }: Entry<C>): [string, TensorMember][] {
  return Object.entries(parameters.members).filter(([name]) => name !== W && name !== b);
}

/** The gradients of the cell's parameters, to which each example adds its part. */
function parameterGradients<C extends CellTypes>(entry: Entry<C>): Record<string, TensorMember> {
  return Object.fromEntries(
    ofCell(entry).map(([name, member]) => {
      return [gradient(name), { ...member, isFactor: false, isSum: true, description: `gradient of ${name}` }];
    }),
  );
}

/** The parameters of a request, and where they are. Its caches hold them, or the request itself. */
function parametersOf(request: Values): { parameters: Values; at: string; isGiven: boolean } {
  const [name] = ['caches', 'cache'].filter((name) => typeof request[name] === 'object');
  const holder = name === undefined ? request : (request[name] as Values);
  const at = name === undefined ? '/parameters' : `/${name}/parameters`;
  return { parameters: holder.parameters as Values, at, isGiven: name === undefined };
}

function cellFor<C extends CellTypes>({ cell, cellWith }: Entry<C>, request: Values): Cell<C> {
  return cellWith ? cellWith(parametersOf(request).parameters) : cell;
}

function checkParameters<C extends CellTypes>({ check }: Entry<C>, request: Values): void {
  if (!check) return;
  const { parameters, at, isGiven } = parametersOf(request);
  check(request, parameters, at, isGiven);
}

/** What belongs to a parameter of the cell that may be left out is there if the parameter is. */
function whenGiven<C extends CellTypes>(
  entry: Entry<C>,
  around: string,
  nameOf: (name: string) => string = itself,
): Record<string, (request: Values) => boolean> {
  const optionals = ofCell(entry).filter(([, { optional }]) => optional);
  return Object.fromEntries(
    optionals.map(([name]) => {
      return [`${around}/${nameOf(name)}`, (request: Values) => parametersOf(request).parameters[name] !== undefined];
    }),
  );
}

function workingGradients<C extends CellTypes>({ gradients }: Cell<C>, shape: string): Record<string, TensorMember> {
  return Object.fromEntries(gradients.map((name) => [name, tensor(shape, 'a gradient within the step')]));
}

function sources(
  names: readonly string[],
  nameOf: (name: string) => string,
  source: (pointer: string) => Source,
): Record<string, Source> {
  return Object.fromEntries(names.map((name) => [nameOf(name), source(`/${nameOf(name)}`)]));
}

/** Multiplications and additions of the matrix products: of each step forward, and of the predictions. */
function forwardFlops<C extends CellTypes>({ parameters }: Entry<C>, sizes: Sizes): number {
  const { m, T_x = 1 } = sizes;
  return 2 * m * T_x * weightsIn(Object.values(parameters.members), sizes);
}

/** And backward, with the steps forward if they are computed again: W·z, Wᵀ·dz and dz·zᵀ. */
function backwardFlops<C extends CellTypes>(entry: Entry<C>, sizes: Sizes): number {
  const { m, T_da = 1 } = sizes;
  const members = ofCell(entry).map(([, member]) => member);
  return 2 * m * T_da * 3 * weightsIn(members, sizes);
}

/** How many weights activations are multiplied with. */
function weightsIn(members: readonly TensorMember[], sizes: Sizes): number {
  const factors = members.filter((member) => member.isFactor);
  return factors.reduce((sum, member) => sum + elements(shapeIn({ n_y: 0, ...sizes }, member) ?? []), 0);
}

/** The tensors of a request or an answer, by the names that the engine has for them. */
function pick<Name extends string>(
  names: readonly Name[],
  nameOf: (name: string) => string,
  values: Values,
): Each<Name, Tensor> {
  return each(names, (name) => values[nameOf(name)] as Tensor);
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

function sequenceIn<C extends CellTypes>(kernels: Kernels, cell: Cell<C>, values: Values): SequenceTensors<C> {
  const { states, kept } = cell;
  return {
    states: pick(states, itself, values),
    kept: pick(kept, itself, values),
    x: values.x as Tensor,
    initial: pick(states, initial, values),
    weights: cell.weights(kernels, values.parameters as Each<C['Parameter'], Tensor>),
  };
}

/** The prediction, where there are parameters for it. */
function predictIf(
  kernels: Kernels,
  y: Values[string],
  { W, b }: CellEntry['prediction'],
  { parameters }: Values,
  a: Values[string],
): void {
  const { [W]: weights, [b]: bias } = parameters as Each<string, Tensor | undefined>;
  if (y && weights && bias) predict(kernels, y as Tensor, weights, bias, a as Tensor);
}

function recomputedFrom(needed: readonly string[], optionals: readonly string[]): string {
  const [names, others] = [needed, optionals].map((all) => all.map((name) => `\`${name}\``));
  if (others.length === 0) return listed(names);
  return `${names.join(', ')} and, if the forward pass had ${others.length > 1 ? 'them' : 'it'}, ${listed(others)}`;
}
