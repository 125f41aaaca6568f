import { answer, machineryWith } from '../../compute/worker/request.js';
import { reference } from '../../kernels/reference.js';
import type { Operation } from '../../operations/operation.js';
import { operations } from '../../operations/operations.js';
import { shapeIn } from '../../tensor/shapes.js';
import type { GroupMember, Range, TensorMember } from '../../tensor/signature.js';

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
const SMALLEST: Sizes = { n_y: 2, other: 1 };
/** For what can be done in segments. */
const TWO_STEPS: Sizes = { n_y: 2, T_x: 2, T_da: 2, other: 1 };

/** For what tells examples of a batch apart. */
const TWO_EXAMPLES: Sizes = { n_x: 2, n_y: 2, m: 2, T_x: 2, T_da: 2, other: 1 };

/** What an example gives for an integer: the number of time steps in a segment, say. */
const INTEGER = 1;
/** And for a number: the norm that gradients are clipped to. */
const NUMBER = 0.5;

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
  const { request, time } = operation;
  const ways = request.either.map(({ need, may = [] }) => [...need, ...may]);
  // The last way is from the inputs, which everybody has: it comes first.
  const [first, ...others] = (ways.length > 0 ? ways : [[]]).reverse();
  const examples: Record<string, Example> = {};
  const add = (name: string, way: readonly string[], sizes: Sizes, options: Values = {}) => {
    const shown = Object.keys(options);
    const left = ways.flat().filter((name) => !way.includes(name));
    if (needsNoPrediction(operation, sizes)) left.push(...predictingIn(request));
    left.push(...leftOutIn(request, shown));
    const values = exampleGroup(request, sizes, new Decimals(operation.path), left, options);
    const answer = answerTo(operation, values);
    if (isWhole(request, values) && (!answer || isWhole(operation.answer, answer))) {
      examples[name] = { sizes, request: values, answer };
    }
  };
  add(nameOfWay(request, first), first, TELLING);
  for (const way of others) add(nameOfWay(request, way), way, SMALLEST);
  const listed = Object.entries(operation.answer.members).flatMap(([name, { optional }]) => {
    return !optional || name.endsWith('_last') ? [name] : [];
  });
  for (const [name, member] of Object.entries(request.members)) {
    if (member.kind === 'integer') add(`${name}: ${INTEGER}`, first, TWO_STEPS, { [name]: INTEGER });
    if (member.kind === 'number') add(`${name}: ${NUMBER}`, first, SMALLEST, { [name]: NUMBER });
    if (member.kind === 'names' && time === 'forward') add(name, first, SMALLEST, { [name]: listed });
    if (member.kind === 'tensor' && member.numbers === 'whole') add(name, first, TWO_EXAMPLES, { [name]: undefined });
    if (member.kind !== 'choice') continue;
    for (const choice of member.choices) {
      const isUsual = choice === member.otherwise || (!member.optional && choice === member.choices[0]);
      if (!isUsual) add(`${name}: ${choice}`, first, SMALLEST, { [name]: choice });
    }
  }
  return examples;
}

/** Are all members there that the schema says are always there? */
function isWhole({ members }: GroupMember, values: Values): boolean {
  return Object.entries(members).every(([name, member]) => {
    const value = values[name];
    if (value === undefined) return member.optional;
    return member.kind !== 'group' || isWhole(member, value as Values);
  });
}

/** A loss is always one of the predictions; other operations show them where their forward pass is shown at length. */
function needsNoPrediction({ request, time }: Operation, sizes: Sizes): boolean {
  return !request.members.loss && (sizes !== TELLING || time === 'backward');
}

/** Members that examples have only where they are shown: what stands for another one, counts, weights, and rare biases. */
function leftOutIn(group: GroupMember, shown: readonly string[]): string[] {
  const inside = Object.values(group.members).flatMap((member) => {
    return member.kind === 'group' ? leftOutIn(member, shown) : [];
  });
  const own = Object.entries(group.members).flatMap(([name, member]) => {
    if (member.kind !== 'tensor' || shown.includes(name)) return [];
    return member.numbers === 'whole' || member.range ? [name] : [];
  });
  const replaced = Object.entries(group.standIns).flatMap(([name, standIn]) => (shown.includes(standIn) ? [name] : []));
  return [...own, ...replaced, ...inside];
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

/** The tensors of a group but what is left out, and the options that are shown. */
function exampleGroup(
  group: GroupMember,
  sizes: Sizes,
  decimals: Decimals,
  leftOut: readonly string[],
  options: Values,
): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(group.members)) {
    if (leftOut.includes(name) || isOfOtherChoice(name, options)) continue;
    if (member.kind === 'tensor') {
      const form = (values.loss === 'cross_entropy' && member.or) || member;
      values[name] = exampleTensor(form, sizes, decimals);
    } else if (member.kind === 'group') {
      values[name] = answered(member, name, sizes, options) ?? exampleGroup(member, sizes, decimals, leftOut, options);
    } else if (member.kind === 'text') values[name] = STORED[name as keyof typeof STORED];
    else if (options[name] !== undefined) values[name] = options[name];
    else if (member.kind === 'choice' && !member.optional) values[name] = member.choices[0];
  }
  return values;
}

/** The bias that only a GRU has whose reset gate acts after the product. */
function isOfOtherChoice(name: string, { reset }: Values): boolean {
  return name === 'bca' && reset !== 'after';
}

/** A group that an operation answers with, such as a cache, is taken from an example of that operation. */
function answered(group: GroupMember, name: string, sizes: Sizes, { reset }: Values): unknown {
  const source = operations.find(({ answer }) => hasGroup(answer, group));
  const examples = source ? Object.values(examplesOf(source)) : [];
  const fitting = examples.find(({ sizes: own, request, answer }) => {
    return own === sizes && request.reset === reset && answer?.[name] !== undefined;
  });
  return fitting?.answer?.[name];
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
  const next = member.range ? countsFrom(member.range, sizes) : () => decimals.next();
  const nest = (axis: number): unknown =>
    axis === shape.length ? next() : Array.from({ length: shape[axis] }, () => nest(axis + 1));
  return nest(0);
}

/** Whole numbers of a range, one after the other. */
function countsFrom({ least, to = '', isWithin }: Range, sizes: Sizes): () => number {
  const count = (sizes[to] ?? sizes.other) - least + (isWithin ? 1 : 0);
  let next = 0; // the last one comes first: an example of all time steps
  return () => {
    next = (next + count - 1) % count;
    return least + next;
  };
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
