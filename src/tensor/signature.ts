import type { Numbers, Tensor, WholeNumbers } from './tensor.js';

/**
 * What an operation takes and gives, written once: members by name, tensors with symbolic shapes. Reading, writing,
 * shape errors, schemas, examples, plans of memory and property tests are all derived from these descriptions.
 */
export type Member = TensorMember | GroupMember | OptionMember;

/** Members that are neither tensors nor groups of them. */
export type OptionMember = ChoiceMember | IntegerMember | NumberMember | TextMember | NamesMember;
export type Members = Readonly<Record<string, Member>>;

export interface TensorMember<K extends Kind = Kind> {
  readonly kind: 'tensor';
  readonly numbers: K;
  /** Which numbers there may be; undefined: any. */
  readonly range: Range | undefined;
  /** A tensor of another rank that may stand here. */
  readonly or: TensorMember | undefined;
  /** None: a single number. */
  readonly axes: readonly Axis[];
  readonly description: string;
  readonly optional: boolean;
  /** Is it a matrix that activations are multiplied with? A bias is none. */
  readonly isFactor: boolean;
  /** In an answer: do the blocks of a batch each hold a summand of it? Else they hold examples of it. */
  readonly isSum: boolean;
  /** Is it a sum of squares under a root? */
  readonly isNorm: boolean;
  /** In an answer: which other tensor it is. Absent: it is computed. */
  readonly source: Source | undefined;
}

/** Real numbers are of the request's dtype; whole ones count and choose: lengths, classes. */
export type Kind = 'real' | 'whole';

/** Numbers from `least`, and to the value of a symbol, or to the whole number before it. */
export interface Range {
  readonly least: number;
  /** Undefined: to any. */
  readonly to: string | undefined;
  readonly isWithin: boolean;
}

/** One axis: a sum of symbols and whole numbers, such as n_a + n_x, 2·n_a or 1. */
export interface Axis {
  readonly text: string;
  readonly terms: readonly Term[];
  /** A symbol that this axis may not exceed: da may have fewer time steps than x. */
  readonly atMost: string | undefined;
  readonly role: Role | undefined;
}

/** `times` · symbol, or the number `times` itself. */
export interface Term {
  readonly times: number;
  readonly symbol: string | undefined;
}

/** What the engine must know of an axis: does it count examples, or time steps? */
export type Role = 'batch' | 'time';

/** A tensor or a group is another one, known by its pointer: of the request, where that has it, or of the same answer. */
export interface Source {
  readonly of: 'request' | 'answer';
  readonly pointer: string;
}

/** An object of members. Groups of one name are one schema in the OpenAPI document. */
export interface GroupMember<M extends Members = Members> {
  readonly kind: 'group';
  readonly name: string;
  readonly description: string;
  readonly members: M;
  readonly optional: boolean;
  /** Members that are given together or left out together. */
  readonly together: readonly (readonly string[])[];
  /** A member that may stand for another one: not both are given. */
  readonly standIns: Readonly<Record<string, string>>;
  /** Ways to give the request, of which exactly one is taken; `need` must then be there, `may` can be. */
  readonly either: readonly Alternative[];
  /** In an answer: which other group it is. */
  readonly source: Source | undefined;
}

export interface Alternative {
  readonly need: readonly string[];
  readonly may?: readonly string[];
}

/** One of several words. Choices of one name are one schema in the OpenAPI document. */
export interface ChoiceMember<C extends string = string> {
  readonly kind: 'choice';
  readonly name: string;
  readonly choices: readonly C[];
  /** Taken when the member is absent; undefined: it stays absent. */
  readonly otherwise: C | undefined;
  readonly description: string;
  readonly optional: boolean;
}

export interface IntegerMember {
  readonly kind: 'integer';
  readonly minimum: number;
  readonly description: string;
  readonly optional: true;
}

export interface NumberMember {
  readonly kind: 'number';
  /** The number is larger than this. */
  readonly above: number;
  readonly description: string;
  readonly optional: true;
}

/** Names, such as those of the members of an answer. */
export interface NamesMember {
  readonly kind: 'names';
  readonly description: string;
  readonly optional: true;
}

/** A name or a time: what the service gives out, and is given back. */
export interface TextMember {
  readonly kind: 'text';
  /** Characters that a request may give. */
  readonly longest: number;
  /** Of the schema. */
  readonly format: 'date-time' | undefined;
  readonly description: string;
  readonly optional: true;
}

/** The symbols that shapes are written with, by what their axes count. */
export interface Symbols {
  readonly features: readonly string[];
  readonly batch: string;
  readonly time: readonly string[];
}

/**
 * The tensors of a table of operations, whose shapes are written with these symbols and no others. A shape lists the axes,
 * separated by spaces: 'n_a n_a+n_x', '2*n_a 1', 'n_a m T_da<=T_x'; '' is a single number.
 */
export function tensorsWith(symbols: Symbols) {
  const make = <K extends Kind>(
    numbers: K,
    shape: string,
    description: string,
  ): TensorMember<K> & { readonly optional: false } => {
    const axes = shape === '' ? [] : shape.split(' ').map((text) => parseAxis(text, symbols));
    for (const role of ['batch', 'time'] as const) {
      if (axes.filter((axis) => axis.role === role).length > 1) throw new Error(`${shape} has two axes of ${role}`);
    }
    const rest = { range: undefined, or: undefined, isFactor: false, isSum: false, isNorm: false, source: undefined };
    return { kind: 'tensor', numbers, axes, description, optional: false, ...rest };
  };
  return {
    tensor: (shape: string, description: string) => make('real', shape, description),
    /** A matrix that activations are multiplied with. */
    factor: (shape: string, description: string) => ({ ...make('real', shape, description), isFactor: true }),
    /** A tensor of an answer to which each example adds its part. */
    sum: (shape: string, description: string) => ({ ...make('real', shape, description), isSum: true }),
    /** A tensor of an answer that is the root of the squares that each example adds. */
    norm: (shape: string, description: string) => ({ ...make('real', shape, description), isSum: true, isNorm: true }),
    /** A tensor of whole numbers from `least` to the value of a symbol, or to the number before it ('<n_x'). */
    whole: (shape: string, description: string, least?: number, to?: string) => {
      const member = make('whole', shape, description);
      if (least === undefined || to === undefined) return member;
      const symbol = to.replace('<', '');
      if (!isDeclared(symbol, symbols)) throw new Error(`${symbol} is not declared`);
      return { ...member, range: { least, to: symbol, isWithin: symbol === to } };
    },
  };
}

function parseAxis(text: string, { features, batch, time }: Symbols): Axis {
  const [sum, atMost] = text.split('<=');
  const terms = sum.split('+').map((term): Term => {
    const [, times, symbol] = /^(?:(\d+)\*)?([A-Za-z]\w*)$/.exec(term) ?? [];
    if (symbol !== undefined) return { times: Number(times ?? 1), symbol };
    if (!/^\d+$/.test(term)) throw new Error(`${term} is neither a symbol nor a number of them`);
    return { times: Number(term), symbol: undefined };
  });
  const used = [...terms.map(({ symbol }) => symbol), atMost].filter((symbol) => symbol !== undefined);
  for (const symbol of used) {
    if (!isDeclared(symbol, { features, batch, time })) throw new Error(`${symbol} in ${text} is not declared`);
  }
  const [{ times, symbol }] = terms;
  const isAlone = terms.length === 1 && times === 1 && symbol !== undefined;
  const role = isAlone && symbol === batch ? 'batch' : isAlone && time.includes(symbol) ? 'time' : undefined;
  return { text: terms.map(termText).join(' + '), terms, atMost, role };
}

function isDeclared(symbol: string, { features, batch, time }: Symbols): boolean {
  return [...features, batch, ...time].includes(symbol);
}

function termText({ times, symbol }: Term): string {
  if (symbol === undefined) return String(times);
  return times === 1 ? symbol : `${times}·${symbol}`;
}

export function group<const M extends Members>(
  name: string,
  description: string,
  members: M,
  rules: Partial<Pick<GroupMember, 'together' | 'standIns' | 'either'>> = {},
): GroupMember<M> & { optional: false } {
  return {
    kind: 'group',
    name,
    description,
    members,
    optional: false,
    together: rules.together ?? [],
    standIns: rules.standIns ?? {},
    either: rules.either ?? [],
    source: undefined,
  };
}

export function optional<M extends TensorMember | GroupMember>(member: M): Omit<M, 'optional'> & { optional: true } {
  return { ...member, optional: true };
}

/** A member of an answer that is the request's of this pointer; where the request leaves it out, it is zero. */
export function repeats(pointer: string): Source {
  return { of: 'request', pointer };
}

/** A member of an answer that is the answer's other one of this pointer. */
export function same(pointer: string): Source {
  return { of: 'answer', pointer };
}

/** A group of an answer some of whose members are other ones. */
export function sharing<G extends GroupMember>(group: G, sources: { readonly [N in keyof G['members']]?: Source }): G {
  const shared = Object.entries(group.members).map(([name, member]) => {
    const source = sources[name];
    return [name, source ? { ...member, source } : member];
  });
  return { ...group, members: Object.fromEntries(shared) };
}

export function choice<const C extends string>(
  name: string,
  choices: readonly C[],
  otherwise: NoInfer<C> | undefined,
  description: string,
): ChoiceMember<C> {
  return { kind: 'choice', name, choices, otherwise, description, optional: true };
}

/** A choice that must be made. */
export function needed<C extends string>(member: ChoiceMember<C>): ChoiceMember<C> & { optional: false } {
  return { ...member, optional: false };
}

/** A tensor, or another one of another rank. */
export function eitherRank<M extends TensorMember>(member: M, or: TensorMember): M {
  return { ...member, or };
}

/** A tensor without negative numbers. */
export function notNegative<M extends TensorMember>(member: M): M {
  return { ...member, range: { least: 0, to: undefined, isWithin: true } };
}

/** The form of a tensor that has this rank; the first one where none has. */
export function formOf(member: TensorMember, rank: number): TensorMember {
  return member.axes.length !== rank && member.or?.axes.length === rank ? member.or : member;
}

export function number(above: number, description: string): NumberMember {
  return { kind: 'number', above, description, optional: true };
}

export function names(description: string): NamesMember {
  return { kind: 'names', description, optional: true };
}

export function integer(minimum: number, description: string): IntegerMember {
  return { kind: 'integer', minimum, description, optional: true };
}

export function text(longest: number, description: string, format?: 'date-time'): TextMember {
  return { kind: 'text', longest, format, description, optional: true };
}

/** The values of a request or an answer, by the names of its signature. */
export interface Values {
  readonly [name: string]: Value | undefined;
}
export type AnyTensor = Tensor<Numbers | WholeNumbers>;
export type Value = AnyTensor | Values | string | number | readonly string[];

/** The type of the values that a signature describes. */
export type ValuesOf<M extends Members> = {
  readonly [N in keyof M]: M[N] extends ChoiceMember
    ? M[N]['otherwise'] extends string
      ? ValueOf<M[N]>
      : ValueOf<M[N]> | undefined
    : M[N]['optional'] extends false
      ? ValueOf<M[N]>
      : ValueOf<M[N]> | undefined;
};

type ValueOf<M extends Member> =
  M extends TensorMember<infer K>
    ? Tensor<K extends 'whole' ? WholeNumbers : Numbers>
    : M extends GroupMember<infer G>
      ? ValuesOf<G>
      : M extends ChoiceMember<infer C>
        ? C
        : M extends TextMember
          ? string
          : M extends NamesMember
            ? readonly string[]
            : number;

/** (n_a, n_a + n_x), as the mathematics writes it. */
export function symbolicShape(member: TensorMember): string {
  return `(${member.axes.map((axis) => axis.text).join(', ')})`;
}

/** The axis of a tensor that counts examples, or −1. */
export function batchAxis(member: TensorMember): number {
  return member.axes.findIndex(({ role }) => role === 'batch');
}

export function hasBatchAxis(member: TensorMember): boolean {
  return member.axes.some(({ role }) => role === 'batch');
}

/** The axis of a tensor that counts time steps, or −1. */
export function timeAxis(member: TensorMember): number {
  return member.axes.findIndex(({ role }) => role === 'time');
}

/** The JSON pointer of a member (RFC 6901). */
export function pointerTo(parent: string, name: string): string {
  const escaped = /[~/]/.test(name) ? name.replaceAll('~', '~0').replaceAll('/', '~1') : name;
  return `${parent}/${escaped}`;
}

/** A tensor of a signature, known by its pointer. */
export interface FlatTensor {
  readonly pointer: string;
  /** The names on the way to it. */
  readonly path: readonly string[];
  readonly member: TensorMember;
  /** Which other tensor it is, by itself or because a group around it is. */
  readonly source: Source | undefined;
}

/** All tensors of a signature, in its order. */
export function flatten(signature: GroupMember): readonly FlatTensor[] {
  const tensors: FlatTensor[] = [];
  const walk = ({ members }: GroupMember, path: readonly string[], around: Source | undefined): void => {
    for (const [name, member] of Object.entries(members)) {
      if (member.kind !== 'tensor' && member.kind !== 'group') continue;
      const way = [...path, name];
      const source = member.source ?? (around && { ...around, pointer: pointerTo(around.pointer, name) });
      if (member.kind === 'group') walk(member, way, source);
      else tensors.push({ pointer: way.reduce(pointerTo, ''), path: way, member, source });
    }
  };
  walk(signature, [], signature.source);
  return tensors;
}

export function isNames(value: Value | undefined): value is readonly string[] {
  return Array.isArray(value);
}

/** What stands at a path, if all on the way is there. */
export function valueAt(values: Values, path: readonly string[]): Value | undefined {
  let value: Value | undefined = values;
  for (const name of path) {
    if (typeof value !== 'object') return undefined;
    value = (value as Values)[name];
  }
  return value;
}

/** The tensor of a request or an answer that a signature has at this place, if it is there. */
export function tensorAt(values: Values, { path }: Pick<FlatTensor, 'path'>): AnyTensor | undefined {
  return valueAt(values, path) as AnyTensor | undefined;
}

/** The same values, but where a tensor is given for a path it stands there; other tensors are as they were. */
export function withTensors(values: Values, tensors: Iterable<readonly [readonly string[], AnyTensor]>): Values {
  type Group = Record<string, Value | undefined>;
  const changed: Group = { ...values };
  const own = new Set<Value | undefined>(); // the groups that were made here
  for (const [path, tensor] of tensors) {
    let holder = changed;
    const last = path.length - 1;
    for (let i = 0; i < last; i++) {
      let group = holder[path[i]] as Group | undefined;
      if (!own.has(group) || group === undefined) {
        group = { ...group };
        own.add(group);
        holder[path[i]] = group;
      }
      holder = group;
    }
    holder[path[last]] = tensor;
  }
  return changed;
}
