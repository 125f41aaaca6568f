import fc from 'fast-check';
import { operations } from '../../src/operations/operations.js';
import {
  choicesArbitrary,
  dimsArbitraryFor,
  flat,
  type Json,
  type JsonObject,
  numbersFrom,
  tensorsFor,
} from '../values.js';
import { numberTexts } from './numbers.js';

/** A body for an operation, and whether it is one that must be answered. */
export interface Body {
  readonly path: string;
  readonly bytes: Buffer;
  readonly valid: boolean;
  /** Must it be refused, whatever for? */
  readonly refused?: boolean;
}

/** Bodies that are right, by the table of operations. */
export const validBodies: fc.Arbitrary<Body & { readonly request: JsonObject }> = fc
  .constantFrom(...operations)
  .chain((operation) =>
    fc.record({
      operation: fc.constant(operation),
      dims: dimsArbitraryFor(operation.request),
      choices: choicesArbitrary,
      dtype: fc.constantFrom('float64', 'float32', undefined),
      caches: fc.constantFrom('none', 'inline', undefined),
      steps: fc.constantFrom(1, 2, 100, undefined),
      seed: fc.integer(),
      scale: fc.constantFrom(1, 1, 1, 1e-300, 1e30),
    }),
  )
  .map(({ operation, dims, choices, dtype, caches, steps, seed, scale }) => {
    const { path, request: signature } = operation;
    const next = numbersFrom(seed, scale);
    const request = tensorsFor(signature, dims, () => Number(next().toPrecision(4)), choices);
    if (dtype) request.dtype = dtype;
    if (caches && signature.members.caches?.kind === 'choice') request.caches = caches;
    if (steps && 'bptt_steps' in signature.members) request.bptt_steps = steps;
    // What is no number of the type is refused.
    const valid = scale === 1 || dtype !== 'float32';
    return { path, request, bytes: Buffer.from(JSON.stringify(request)), valid };
  });

/** Changes that leave the body JSON: what is wrong is then a member, a tensor or a shape. */
const structural = fc.record({
  kind: fc.constantFrom('set', 'remove', 'repeat', 'wrap'),
  path: fc.array(fc.nat(), { minLength: 1, maxLength: 5 }),
  value: fc.oneof(
    fc.constantFrom<Json>(null, true, 'text', '1', 1e308, -1e308, 5e-324, 0, [], {}, [1], [[1]], [[[1, 2]]]),
    fc.jsonValue({ maxDepth: 3 }).map((value) => value as Json),
  ),
});

/** Walks down the path and changes the value where it ends, or where there is nothing deeper. */
function change(value: Json, { kind, path, value: other }: { kind: string; path: number[]; value: Json }): void {
  if (value === null || typeof value !== 'object') return;
  const names = Object.keys(value);
  if (names.length === 0) return;
  const holder = value as JsonObject;
  const name = names[path[0] % names.length];
  const inside = holder[name];
  if (path.length > 1 && inside !== null && typeof inside === 'object') {
    change(inside, { kind, path: path.slice(1), value: other });
  } else if (kind === 'set') holder[name] = other;
  else if (kind === 'wrap') holder[name] = [inside];
  else if (Array.isArray(value))
    value.splice(Number(name), 1, ...(kind === 'repeat' ? [inside, structuredClone(inside)] : []));
  else if (kind === 'remove') delete holder[name];
  else holder[`${name}2`] = structuredClone(inside);
}

const restructured = fc
  .tuple(validBodies, fc.array(structural, { minLength: 1, maxLength: 2 }))
  .map(([{ path, request }, changes]) => {
    const changed = structuredClone(request); // the samples share their values
    for (const one of changes) change(changed, structuredClone(one));
    return { path, bytes: Buffer.from(JSON.stringify(changed)), valid: false };
  });

/** Ways to give a tensor another rank. */
const RANKS: readonly ((tensor: Json[]) => Json)[] = [
  (tensor) => tensor[0],
  (tensor) => tensor.flat(),
  (tensor) => flat(tensor),
  (tensor) => flat(tensor)[0],
  (tensor) => [tensor],
  (tensor) => tensor.map((row) => [row]),
  () => [],
];

/** Weights of another rank than they must have; what a worker keeps of weights must not suffer from them. */
const ranked = fc.tuple(validBodies, fc.nat(), fc.constantFrom(...RANKS)).map(([{ path, request }, which, change]) => {
  const changed = structuredClone(request);
  const weights = weightsIn(changed);
  const names = Object.keys(weights);
  const name = names[which % names.length];
  const tensor = weights[name] as Json[];
  weights[name] = change(tensor);
  return { path, bytes: Buffer.from(JSON.stringify(changed)), valid: false, refused: true };
});

/** The object that holds the weights, wherever it is in the request. */
function weightsIn(request: JsonObject): JsonObject {
  if ('parameters' in request) return request.parameters as JsonObject;
  const inside = Object.values(request).find(
    (value) => value !== null && typeof value === 'object' && !Array.isArray(value),
  );
  if (inside === undefined) throw new Error('a request without weights');
  return weightsIn(inside as JsonObject);
}

/** Texts that are near enough to JSON to get far. */
const FRAGMENTS = [
  ...['[', ']', '{', '}', ',', ':', '"', '\\', 'null', 'true', '1e999', '-', '0', '1e', '.5', '""', '[]', '{}'],
  ...['\u00e9', '\ud800', '\\ud800', '\u0000', '\ufeff', '"x":', '"__proto__":', '"dtype":"float32",', '[[', ']]'],
  ...['-0', '1e-400', 'NaN', ' ', '\n', '\t', '/**/', '[['.repeat(40), '{"a":'.repeat(70)],
];

/** Inserts, replaces or deletes some bytes. */
export const byteMutation = fc.record({
  kind: fc.constantFrom('insert', 'replace', 'delete'),
  at: fc.nat(),
  with: fc.oneof(
    fc.constantFrom(...FRAGMENTS).map((text) => Buffer.from(text)),
    fc.uint8Array({ minLength: 1, maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
    numberTexts.map((text) => Buffer.from(text)),
  ),
});

export function mutated(bytes: Buffer, mutations: readonly { kind: string; at: number; with: Buffer }[]): Buffer {
  return mutations.reduce((before, { kind, at, with: added }) => {
    const i = at % (before.length + 1);
    const behind = kind === 'insert' ? i : i + added.length;
    return Buffer.concat([before.subarray(0, i), ...(kind === 'delete' ? [] : [added]), before.subarray(behind)]);
  }, bytes);
}

const broken = fc
  .tuple(validBodies, fc.array(byteMutation, { minLength: 1, maxLength: 3 }))
  .map(([{ path, bytes }, mutations]) => ({ path, bytes: mutated(bytes, mutations), valid: false }));

const cut = fc
  .tuple(validBodies, fc.nat())
  .map(([{ path, bytes }, at]) => ({ path, bytes: bytes.subarray(0, at % bytes.length), valid: false }));

/** A number in the body becomes another one, as odd as JSON allows. */
const renumbered = fc.tuple(validBodies, fc.nat(), numberTexts).map(([{ path, bytes }, at, number]) => {
  const text = bytes.toString();
  const all = [...text.matchAll(/-?\d[\d.eE+-]*/g)];
  const { index, 0: old } = all[at % all.length];
  return { path, bytes: Buffer.from(text.slice(0, index) + number + text.slice(index + old.length)), valid: false };
});

/** A member is given twice, or one that nobody knows, in the text itself. */
const withMember = fc
  .tuple(
    validBodies,
    fc.oneof(
      fc.string({ maxLength: 20, unit: 'binary' }),
      fc.constantFrom('x', 'a0', 'parameters', 'dtype', '__proto__', 'constructor'),
    ),
    fc.json({ maxDepth: 2 }),
  )
  .map(([{ path, bytes }, name, value]) => {
    const member = `${JSON.stringify(name)}:${value}`;
    return { path, bytes: Buffer.concat([Buffer.from(`{${member},`), bytes.subarray(1)]), valid: false };
  });

const strange = fc
  .tuple(
    fc.constantFrom(...operations.map(({ path }) => path)),
    fc.oneof(
      fc.json().map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc
        .tuple(fc.constantFrom('[', '{"x":', '{"x":[', ' ', '"', '1', '\ud83d'), fc.nat(20_000))
        .map(([text, n]) => Buffer.from(text.repeat(n))),
      fc.string({ unit: 'binary' }).map((text) => Buffer.from(text, 'utf16le')),
    ),
  )
  .map(([path, bytes]) => ({ path, bytes, valid: false }));

export const bodies: fc.Arbitrary<Body> = fc.oneof(
  { weight: 3, arbitrary: validBodies },
  { weight: 3, arbitrary: restructured },
  { weight: 1, arbitrary: ranked },
  { weight: 3, arbitrary: broken },
  { weight: 1, arbitrary: cut },
  { weight: 2, arbitrary: renumbered },
  { weight: 1, arbitrary: withMember },
  { weight: 1, arbitrary: strange },
);
