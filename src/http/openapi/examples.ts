import { answer, machineryWith } from '../../compute/worker/request.js';
import { reference } from '../../kernels/reference.js';
import type { Operation } from '../../operations/operation.js';
import { operations } from '../../operations/operations.js';
import { shapeIn } from '../../tensor/shapes.js';
import type { GroupMember, TensorMember } from '../../tensor/signature.js';

/** A request, and the answer to it. */
export interface Example {
  readonly sizes: Sizes;
  readonly request: Values;
  /** Absent where only a service that has stored the caches can tell. */
  readonly answer: Values | undefined;
}

type Values = Readonly<Record<string, unknown>>;

/** The sizes of the symbols; `other` is every one that is not named. */
type Sizes = Readonly<Record<string, number>>;

/** The axes of one tensor are of different lengths, so that they cannot be mistaken for each other. */
const TELLING: Sizes = { n_x: 3, m: 1, T_x: 4, T_da: 4, other: 2 };
/** For what shows an option, and not the shapes: the document is to stay short. */
const SMALLEST: Sizes = { other: 1 };
/** For what can be done in segments. */
const TWO_STEPS: Sizes = { T_x: 2, T_da: 2, other: 1 };

/** What an example gives for an integer: the number of time steps in a segment, say. */
const INTEGER = 1;

/** Under which id the caches of an example are stored, and when they expire, which the id says too. */
const STORED = {
  cache_id: '0mjve7pc0-6f1d3d0c-6a52-4f0e-9d3c-2b7f1f0a8c55',
  cache_expires_at: new Date(Number.parseInt('0mjve7pc0', 36)).toISOString(),
};

const known = new Map<string, Readonly<Record<string, Example>>>();

/**
 * The worked examples of an operation, by name: one for each way in which the request can be given, and for each option
 * one more. Numbers have one decimal, and what a backward operation takes is from a real forward pass.
 */
export function examplesOf(operation: Operation): Readonly<Record<string, Example>> {
  const examples = known.get(operation.id) ?? computeExamples(operation);
  known.set(operation.id, examples);
  return examples;
}

function computeExamples(operation: Operation): Readonly<Record<string, Example>> {
  const { request } = operation;
  const ways = request.either.map(({ need, may = [] }) => [...need, ...may]);
  // The last way is from the inputs, which everybody has: it comes first.
  const [first, ...others] = (ways.length > 0 ? ways : [[]]).reverse();
  const examples: Record<string, Example> = {};
  const add = (way: readonly string[], sizes: Sizes, option?: readonly [name: string, value: unknown]) => {
    const left = ways.flat().filter((name) => !way.includes(name));
    if (sizes !== TELLING || operation.time === 'backward') left.push(...predictingIn(request));
    const values = exampleGroup(request, sizes, new Decimals(operation.path), left);
    if (option) values[option[0]] = option[1];
    const name = option ? option.join(': ') : nameOfWay(request, way);
    examples[name] = { sizes, request: values, answer: answerTo(operation, values) };
  };
  add(first, TELLING);
  for (const way of others) add(way, SMALLEST);
  for (const [name, member] of Object.entries(request.members)) {
    if (member.kind === 'integer') add(first, TWO_STEPS, [name, INTEGER]);
    if (member.kind !== 'choice') continue;
    for (const choice of member.choices) if (choice !== member.otherwise) add(first, SMALLEST, [name, choice]);
  }
  return examples;
}

/** What a group takes for predictions. They come in whole, or not at all. */
function predictingIn({ members, together }: GroupMember): string[] {
  const inside = Object.values(members).flatMap((member) => (member.kind === 'group' ? predictingIn(member) : []));
  return [...together.flat(), ...inside];
}

/** From inputs, from caches, by cache_id. */
function nameOfWay({ members }: GroupMember, way: readonly string[]): string {
  const [name] = way.length > 0 ? way : Object.keys(members);
  const member = members[name];
  if (member.kind === 'text') return `by ${name}`;
  return member.kind === 'group' && isAnswered(member) ? `from ${name}` : 'from inputs';
}

const machinery = machineryWith({ kernels: reference });

function answerTo(operation: Operation, request: Values): Values | undefined {
  if (operation.attachment && request[operation.attachment.name] !== undefined) return undefined;
  const outcome = answer(machinery, {
    operation: operation.id,
    format: 'json',
    body: new TextEncoder().encode(JSON.stringify(request)),
    slot: 0,
    flopsLimit: Number.POSITIVE_INFINITY,
    workLimit: Number.POSITIVE_INFINITY,
    handedOver: 0,
    storage: { id: STORED.cache_id, expiresAt: STORED.cache_expires_at, limit: Number.POSITIVE_INFINITY },
  });
  if (!('ok' in outcome)) throw new Error(`the example of ${operation.id} is too large`);
  if (!outcome.ok) throw new Error(`the example of ${operation.id} does not run: ${outcome.faults[0].detail}`);
  return JSON.parse(Buffer.concat(outcome.body).toString());
}

/** The tensors of a group but what is left out, and no options. */
function exampleGroup(
  group: GroupMember,
  sizes: Sizes,
  decimals: Decimals,
  leftOut: readonly string[],
): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(group.members)) {
    if (leftOut.includes(name)) continue;
    if (member.kind === 'tensor') values[name] = exampleTensor(member, sizes, decimals);
    if (member.kind === 'group')
      values[name] = answered(member, name, sizes) ?? exampleGroup(member, sizes, decimals, leftOut);
    if (member.kind === 'text') values[name] = STORED[name as keyof typeof STORED];
  }
  return values;
}

/** A group that an operation answers with, such as a cache, is taken from an example of that operation. */
function answered(group: GroupMember, name: string, sizes: Sizes): unknown {
  const source = operations.find(({ answer }) => hasGroup(answer, group));
  const examples = source ? Object.values(examplesOf(source)) : [];
  return examples.find((example) => example.sizes === sizes && example.answer?.[name] !== undefined)?.answer?.[name];
}

function isAnswered(group: GroupMember): boolean {
  return operations.some(({ answer }) => hasGroup(answer, group));
}

function hasGroup({ members }: GroupMember, { name }: GroupMember): boolean {
  return Object.values(members).some((member) => member.kind === 'group' && member.name === name);
}

function exampleTensor(member: TensorMember, sizes: Sizes, decimals: Decimals): unknown {
  const symbols = member.axes.flatMap(({ terms }) =>
    terms.map(({ symbol = '' }) => [symbol, sizes[symbol] ?? sizes.other]),
  );
  const shape = shapeIn(Object.fromEntries(symbols), member) ?? [];
  const nest = (axis: number): unknown =>
    axis === shape.length ? decimals.next() : Array.from({ length: shape[axis] }, () => nest(axis + 1));
  return nest(0);
}

/**
 * −0.9 … 0.9 in steps of 0.1, the same on every machine (a linear congruential generator seeded by a text). 0 is left
 * out: the service writes 0.0, which whoever reads the document and prints it again would show as 0.
 */
class Decimals {
  #state: number;

  constructor(seed: string) {
    this.#state = [...seed].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 65_537, 1);
  }

  next(): number {
    this.#state = (this.#state * 75 + 74) % 65_537;
    const tenths = (Math.floor(this.#state / 7) % 18) - 9;
    return (tenths < 0 ? tenths : tenths + 1) / 10;
  }
}
