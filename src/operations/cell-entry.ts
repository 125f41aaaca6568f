import type { Cell, CellTypes } from '../engine/cell.js';
import { type Each, each } from '../engine/layout.js';
import { type Sizes, shapeIn } from '../tensor/shapes.js';
import type { GroupMember, Members, Source, TensorMember, Values } from '../tensor/signature.js';
import { elements, type Tensor } from '../tensor/tensor.js';
import type { Tag } from './operation.js';
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

export type Entry<C extends CellTypes> = CellEntry<C> & { readonly id: string };

// What is called after a state.
export const itself = (name: string) => name;
export const next = (name: string) => `${name}_next`;
export const prev = (name: string) => `${name}_prev`;
export const initial = (name: string) => `${name}0`;
export const last = (name: string) => `${name}_last`;
export const gradient = (name: string) => `d${name}`;

/** A tensor of this shape for each of something. */
export function tensorsFor(
  described: Each<string, string>,
  nameOf: (name: string) => string,
  shape: string,
  describe: (what: string, name: string) => string,
): Record<string, TensorMember> {
  const members = Object.entries(described).map(([name, what]) => [nameOf(name), tensor(shape, describe(what, name))]);
  return Object.fromEntries(members);
}

/** The parameters of a cell, without those of the prediction. */
export function ofCell<C extends CellTypes>({ parameters, prediction: { W, b } }: Entry<C>): [string, TensorMember][] {
  return Object.entries(parameters.members).filter(([name]) => name !== W && name !== b);
}

/** The gradients of the cell's parameters, to which each example adds its part. */
export function parameterGradients<C extends CellTypes>(entry: Entry<C>): Record<string, TensorMember> {
  return Object.fromEntries(
    ofCell(entry).map(([name, member]) => {
      return [gradient(name), { ...member, isFactor: false, isSum: true, description: `gradient of ${name}` }];
    }),
  );
}

/** The parameters of a request, and where they are. Its caches hold them, or the request itself. */
export function parametersOf(request: Values): { parameters: Values; at: string; isGiven: boolean } {
  const [name] = ['caches', 'cache'].filter((name) => typeof request[name] === 'object');
  const holder = name === undefined ? request : (request[name] as Values);
  const at = name === undefined ? '/parameters' : `/${name}/parameters`;
  return { parameters: holder.parameters as Values, at, isGiven: name === undefined };
}

export function cellFor<C extends CellTypes>({ cell, cellWith }: Entry<C>, request: Values): Cell<C> {
  return cellWith ? cellWith(parametersOf(request).parameters) : cell;
}

export function checkParameters<C extends CellTypes>({ check }: Entry<C>, request: Values): void {
  if (!check) return;
  const { parameters, at, isGiven } = parametersOf(request);
  check(request, parameters, at, isGiven);
}

export type Conditions = Readonly<Record<string, (request: Values) => boolean>>;

/** The conditions of all of them; where several have one of the same pointer, each must hold. */
export function allOf(...all: readonly Conditions[]): Conditions {
  const joined: Record<string, (request: Values) => boolean> = {};
  for (const conditions of all) {
    for (const [pointer, holds] of Object.entries(conditions)) {
      const before = joined[pointer];
      joined[pointer] = before ? (request) => before(request) && holds(request) : holds;
    }
  }
  return joined;
}

/** What belongs to a parameter of the cell that may be left out is there if the parameter is. */
export function whenGiven<C extends CellTypes>(
  entry: Entry<C>,
  around: string,
  nameOf: (name: string) => string = itself,
): Conditions {
  const optionals = ofCell(entry).filter(([, { optional }]) => optional);
  return Object.fromEntries(
    optionals.map(([name]) => {
      return [`${around}/${nameOf(name)}`, (request: Values) => parametersOf(request).parameters[name] !== undefined];
    }),
  );
}

export function workingGradients<C extends CellTypes>(
  { gradients }: Cell<C>,
  shape: string,
): Record<string, TensorMember> {
  return Object.fromEntries(gradients.map((name) => [name, tensor(shape, 'a gradient within the step')]));
}

export function sources(
  names: readonly string[],
  nameOf: (name: string) => string,
  source: (pointer: string) => Source,
): Record<string, Source> {
  return Object.fromEntries(names.map((name) => [nameOf(name), source(`/${nameOf(name)}`)]));
}

/** Multiplications and additions of the matrix products: of each step forward, and of the predictions. */
export function forwardFlops<C extends CellTypes>({ parameters }: Entry<C>, sizes: Sizes): number {
  const { m, T_x = 1, L = m * T_x } = sizes;
  return 2 * L * weightsIn(Object.values(parameters.members), sizes);
}

/** And backward, with the steps forward if they are computed again: W·z, Wᵀ·dz and dz·zᵀ. */
export function backwardFlops<C extends CellTypes>(entry: Entry<C>, sizes: Sizes): number {
  const { m, T_da = 1, L = m * T_da } = sizes;
  const members = ofCell(entry).map(([, member]) => member);
  return 2 * L * 3 * weightsIn(members, sizes);
}

/** How many weights activations are multiplied with. */
export function weightsIn(members: readonly TensorMember[], sizes: Sizes): number {
  const factors = members.filter((member) => member.isFactor);
  return factors.reduce((sum, member) => sum + elements(shapeIn({ n_y: 0, ...sizes }, member) ?? []), 0);
}

/** The tensors of a request or an answer, by the names that the engine has for them. */
export function pick<Name extends string>(
  names: readonly Name[],
  nameOf: (name: string) => string,
  values: Values,
): Each<Name, Tensor> {
  return each(names, (name) => values[nameOf(name)] as Tensor);
}
