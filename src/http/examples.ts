import { answer } from '../compute/answer.js';
import { reference } from '../kernels/reference.js';
import type { Operation } from '../operations/operation.js';
import { operations } from '../operations/operations.js';
import { shapeIn } from '../tensor/shapes.js';
import type { GroupMember, TensorMember } from '../tensor/signature.js';

/** A request that runs, and the answer the service gives to it. */
export interface Example {
  readonly request: Record<string, unknown>;
  readonly answer: Record<string, unknown>;
}

/** Small, and the axes of one tensor of different lengths, so that they cannot be mistaken for each other. */
const SIZES: Readonly<Record<string, number>> = { n_x: 3, m: 1, T_x: 4, T_da: 4 };
const OTHER_SIZE = 2;

const known = new Map<string, Example>();

/** The worked example of an operation: numbers with one decimal, and for backward operations a real forward pass. */
export function exampleOf(operation: Operation): Example {
  const before = known.get(operation.id);
  if (before) return before;
  const request = exampleGroup(operation.request, new Decimals(operation.path));
  const body = new TextEncoder().encode(JSON.stringify(request));
  const outcome = answer(
    { kernels: reference },
    {
      operation: operation.id,
      body,
      slot: 0,
      flopsLimit: Number.POSITIVE_INFINITY,
      workLimit: Number.POSITIVE_INFINITY,
      handedOver: 0,
    },
  );
  if (!('ok' in outcome)) throw new Error(`the example of ${operation.id} is too large`);
  if (!outcome.ok) throw new Error(`the example of ${operation.id} does not run: ${outcome.faults[0].detail}`);
  const example = { request, answer: JSON.parse(Buffer.concat(outcome.body).toString()) };
  known.set(operation.id, example);
  return example;
}

/**
 * All tensors of a group, no options. Where a request can be given in several ways, the last one is taken. A group
 * that another operation answers with, such as a cache, is taken from that operation's example.
 */
function exampleGroup(group: GroupMember, decimals: Decimals): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  const leftOut = new Set(group.either.slice(0, -1).flatMap(({ need }) => need));
  for (const [name, member] of Object.entries(group.members)) {
    if (leftOut.has(name)) continue;
    if (member.kind === 'tensor') values[name] = exampleTensor(member, decimals);
    if (member.kind === 'group') values[name] = answeredGroup(member, name) ?? exampleGroup(member, decimals);
  }
  return values;
}

function answeredGroup(group: GroupMember, name: string): unknown {
  const source = operations.find(({ answer: { members } }) => {
    return Object.values(members).some((member) => member.kind === 'group' && member.name === group.name);
  });
  return source && exampleOf(source).answer[name];
}

function exampleTensor(member: TensorMember, decimals: Decimals): unknown {
  const sizes = member.dims.flatMap(({ terms }) => terms.map((term) => [term, SIZES[term] ?? OTHER_SIZE]));
  const shape = shapeIn(Object.fromEntries(sizes), member) ?? [];
  const nest = (axis: number): unknown =>
    axis === shape.length ? decimals.next() : Array.from({ length: shape[axis] }, () => nest(axis + 1));
  return nest(0);
}

/** −0.9 … 0.9 in steps of 0.1, the same on every machine (a linear congruential generator seeded by a text). */
class Decimals {
  #state: number;

  constructor(seed: string) {
    this.#state = [...seed].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 65_537, 1);
  }

  next(): number {
    this.#state = (this.#state * 75 + 74) % 65_537;
    return ((Math.floor(this.#state / 7) % 19) - 9) / 10;
  }
}
