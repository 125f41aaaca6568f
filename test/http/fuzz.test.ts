import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { operations } from '../../src/operations/operations.js';
import { choicesArbitrary, dimsArbitraryFor, type Json, type JsonObject, numbersFrom, tensorsFor } from '../values.js';
import { type Started, start } from './start.js';

/** Ten thousand mutations of valid bodies, over HTTP: only 200 and 4xx with the right problem, and no hang. */

let service: Started;
beforeAll(async () => {
  service = await start();
});
afterAll(() => service.stop());

/** Texts that are near enough to JSON to get far. */
const FRAGMENTS = [
  '[',
  ']',
  '{',
  '}',
  ',',
  ':',
  '"',
  '\\',
  'null',
  'true',
  '1e999',
  '-',
  '0',
  '1e',
  '.5',
  '""',
  '[]',
  '{}',
  '\u00e9',
  '\ud800',
  '\u0000',
  '"x":',
  '"__proto__":',
  '[[',
  ']]',
  '-0',
  '1e-400',
  'NaN',
];

const mutation = fc.oneof(
  fc.record({ kind: fc.constant('insert' as const), at: fc.nat(), text: fc.constantFrom(...FRAGMENTS) }),
  fc.record({ kind: fc.constant('replace' as const), at: fc.nat(), text: fc.constantFrom(...FRAGMENTS) }),
  fc.record({
    kind: fc.constant('delete' as const),
    at: fc.nat(),
    text: fc.integer({ min: 1, max: 40 }).map((n) => ' '.repeat(n)),
  }),
  fc.record({
    kind: fc.constant('byte' as const),
    at: fc.nat(),
    text: fc.integer({ min: 0, max: 255 }).map((n) => String.fromCharCode(n)),
  }),
);

/** Changes that leave the body JSON: what is wrong is then a member, a tensor or a shape. */
const structural = fc.record({
  kind: fc.constantFrom('set', 'remove', 'repeat', 'wrap'),
  path: fc.array(fc.nat(), { minLength: 1, maxLength: 5 }),
  value: fc.constantFrom<Json>(null, true, 'text', '1', 1e308, -1e308, 5e-324, 0, [], {}, [1], [[1]], [[[1, 2]]]),
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

const bodies = fc
  .record({
    request: fc.constantFrom(...operations).chain((operation) => {
      return fc.record({ operation: fc.constant(operation), dims: dimsArbitraryFor(operation.request) });
    }),
    choices: choicesArbitrary,
    seed: fc.integer(),
    changes: fc.array(structural, { maxLength: 2 }),
    mutations: fc.oneof(fc.constant([]), fc.array(mutation, { minLength: 1, maxLength: 3 })),
  })
  .map(({ request: { operation, dims }, choices, seed, changes, mutations }) => {
    const numbers = numbersFrom(seed);
    const request = tensorsFor(operation.request, dims, () => Math.round(numbers() * 100) / 100, choices);
    for (const one of changes) change(request, structuredClone(one)); // the samples share their values
    let bytes = Buffer.from(JSON.stringify(request));
    for (const { kind, at, text } of mutations) {
      const i = at % (bytes.length + 1);
      const added = kind === 'delete' ? Buffer.alloc(0) : Buffer.from(text, kind === 'byte' ? 'latin1' : 'utf8');
      const removed = kind === 'insert' ? 0 : text.length;
      bytes = Buffer.concat([bytes.subarray(0, i), added, bytes.subarray(i + removed)]);
    }
    return { path: operation.path, bytes };
  });

const STATUSES: Record<number, readonly string[]> = {
  400: ['invalid-json', 'invalid-request'],
  422: ['invalid-tensor', 'shape-mismatch', 'non-finite-result'],
};

it('10,000 random mutations of valid bodies give no 5xx and no hang', async () => {
  const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
  console.info(`FUZZ_SEED=${seed}`);
  const samples = fc.sample(bodies, { numRuns: 10_000, seed });
  const counts: Record<number, number> = {};
  let next = 0;
  const sender = async () => {
    for (let i = next++; i < samples.length; i = next++) {
      const { path, bytes } = samples[i];
      const answer = await fetch(service.url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: bytes,
        signal: AbortSignal.timeout(10_000),
      });
      const { status } = answer;
      counts[status] = (counts[status] ?? 0) + 1;
      const body = (await answer.json()) as { code?: string; errors?: object[] };
      if (status === 200) continue;
      expect(STATUSES[status], `status ${status} for ${bytes}`).toContain(body.code);
      expect(body.errors?.length, `errors for ${bytes}`).toBeGreaterThan(0);
    }
  };
  await Promise.all(Array.from({ length: 8 }, sender));
  expect(next).toBeGreaterThanOrEqual(10_000);
  console.info(`answers by status: ${JSON.stringify(counts)}`);
}, 180_000);
