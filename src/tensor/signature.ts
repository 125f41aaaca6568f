import type { Tensor } from './tensor.js';

/**
 * What an operation takes and gives, written once: members by name, tensors with symbolic shapes. JSON reading,
 * shape errors, schemas, examples and property tests are all derived from these descriptions.
 */
export type Member = TensorMember | GroupMember | ChoiceMember | IntegerMember | TextMember;
export type Members = Readonly<Record<string, Member>>;

export interface TensorMember {
  readonly kind: 'tensor';
  readonly dims: readonly Dim[];
  readonly description: string;
  readonly optional: boolean;
}

/** One axis: a sum of symbols and whole numbers, such as n_a + n_x or 1. */
export interface Dim {
  readonly text: string;
  readonly terms: readonly (string | number)[];
  /** A symbol this axis may not exceed: da may have fewer time steps than x. */
  readonly atMost: string | undefined;
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
  /** Ways to give the request, of which exactly one is taken; `need` must then be there, `may` can be. */
  readonly either: readonly Alternative[];
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
  /** Taken when the member is absent. */
  readonly otherwise: C;
  readonly description: string;
  readonly optional: true;
}

export interface IntegerMember {
  readonly kind: 'integer';
  readonly minimum: number;
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

/** `shape` lists the axes, separated by spaces: 'n_a n_a+n_x', 'n_a 1', 'n_a m T_da<=T_x'. */
export function tensor(shape: string, description: string): TensorMember & { optional: false } {
  return { kind: 'tensor', dims: shape.split(' ').map(parseDim), description, optional: false };
}

function parseDim(text: string): Dim {
  const [sum, atMost] = text.split('<=');
  const terms = sum.split('+').map((term) => (/^\d+$/.test(term) ? Number(term) : term));
  return { text: terms.join(' + '), terms, atMost };
}

export function group<M extends Members>(
  name: string,
  description: string,
  members: M,
  rules: { together?: readonly (readonly string[])[]; either?: readonly Alternative[] } = {},
): GroupMember<M> & { optional: false } {
  return {
    kind: 'group',
    name,
    description,
    members,
    optional: false,
    together: rules.together ?? [],
    either: rules.either ?? [],
  };
}

export function optional<M extends TensorMember | GroupMember>(member: M): Omit<M, 'optional'> & { optional: true } {
  return { ...member, optional: true };
}

export function choice<const C extends string>(
  name: string,
  choices: readonly C[],
  otherwise: NoInfer<C>,
  description: string,
): ChoiceMember<C> {
  return { kind: 'choice', name, choices, otherwise, description, optional: true };
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
export type Value = Tensor | Values | string | number;

/** The type of the values that a signature describes. */
export type ValuesOf<M extends Members> = {
  readonly [N in keyof M]: M[N] extends ChoiceMember
    ? ValueOf<M[N]>
    : M[N]['optional'] extends false
      ? ValueOf<M[N]>
      : ValueOf<M[N]> | undefined;
};

type ValueOf<M extends Member> = M extends TensorMember
  ? Tensor
  : M extends GroupMember<infer G>
    ? ValuesOf<G>
    : M extends ChoiceMember<infer C>
      ? C
      : M extends TextMember
        ? string
        : number;

/** (n_a, n_a + n_x), as the mathematics writes it. */
export function symbolicShape(member: TensorMember): string {
  return `(${member.dims.map((dim) => dim.text).join(', ')})`;
}

/** The axis of a tensor that counts examples, or −1. */
export function batchAxis(member: TensorMember): number {
  return member.dims.findIndex((dim) => dim.text === 'm');
}

/** Does the tensor have a batch axis? Such tensors lie time-major in memory, the others as they are written. */
export function hasBatchAxis(member: TensorMember): boolean {
  return batchAxis(member) >= 0;
}

/** Is the tensor a matrix that activations are multiplied with? A bias is none. */
export function isFactor({ dims }: TensorMember): boolean {
  return dims.length === 2 && dims[1].text !== '1';
}

/** The axis of a tensor that counts time steps, or −1. */
export function timeAxis(member: TensorMember): number {
  return member.dims.findIndex((dim) => dim.text.startsWith('T_'));
}

/** The JSON pointer of a member (RFC 6901). */
export function pointerTo(parent: string, name: string): string {
  const escaped = /[~/]/.test(name) ? name.replaceAll('~', '~0').replaceAll('/', '~1') : name;
  return `${parent}/${escaped}`;
}
