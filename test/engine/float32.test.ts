import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { machineryWith } from '../../src/compute/worker/request.js';
import { formatsWith } from '../../src/formats/formats.js';
import { operations } from '../../src/operations/operations.js';
import { askJson, askText, askWith, formats } from '../ask.js';
import { cases } from '../cases.js';
import { anyBuild, builds } from '../kernels/builds.js';
import { expectAllClose, type Json, type JsonObject, numbersFrom, operationCalled, tensorsFor } from '../values.js';

const dtype = 'float32';
const ids = operations.map(({ id }) => id);

/** Sizes up to 40: sums are long enough for errors to add up. */
const dimsArbitrary = fc.record({
  n_x: fc.integer({ min: 1, max: 40 }),
  n_a: fc.integer({ min: 1, max: 40 }),
  n_y: fc.integer({ min: 1, max: 5 }),
  m: fc.integer({ min: 1, max: 4 }),
  T_x: fc.integer({ min: 1, max: 12 }),
});

/** Numbers that float32 has; weights small enough that no unit is saturated by their number alone. */
function requestFor(
  id: string,
  dims: { n_x: number; n_a: number; T_x: number },
  seed: number,
  way: number,
): JsonObject {
  const scale = 2 / Math.sqrt(dims.n_x + dims.n_a);
  const next = numbersFrom(seed, Math.min(1, scale));
  const choices = { prediction: true, way, extras: true };
  return tensorsFor(operationCalled(id).request, { ...dims, T_da: dims.T_x }, () => Math.fround(next()), choices);
}

/** Numbers of a text, as they are written. */
const numbersIn = (text: string): string[] => text.match(/-?\d+(\.\d+)?(e[+-]?\d+)?/gi) ?? [];

/** Is there no shorter text of the same float32? */
function expectShortest(text: string): void {
  const value = Number(text);
  if (value === 0) return;
  const digits = text.replace(/e.*/i, '').replace(/[-.]/g, '').replace(/^0+/, '').replace(/0+$/, '').length;
  const nearest = Math.fround(value);
  if (digits > 1 && Math.fround(Number(nearest.toPrecision(digits - 1))) === nearest) {
    expect.fail(`${text} is longer than ${nearest.toPrecision(digits - 1)}`);
  }
  if (digits > 9) expect.fail(`${text} has more digits than a float32 needs`);
}

describe.each(ids)('%s in float32, on any build,', (id) => {
  it('is within 1e-5 of the same in float64', () => {
    fc.assert(
      fc.property(anyBuild, dimsArbitrary, fc.integer(), fc.integer({ min: 0, max: 1 }), (build, dims, seed, way) => {
        const request = requestFor(id, dims, seed, way);
        expectAllClose(askJson(id, { ...request, dtype }, build), askJson(id, request), dtype);
      }),
      { numRuns: cases(60) },
    );
  });

  it('answers with the shortest digits that read back to the same float32', () => {
    fc.assert(
      fc.property(anyBuild, dimsArbitrary, fc.integer(), (build, dims, seed) => {
        const text = askText(id, { ...requestFor(id, dims, seed, 0), dtype }, build);
        for (const number of numbersIn(text.replace(/"[^"]*"/g, ''))) expectShortest(number);
      }),
      { numRuns: 5 },
    );
  });

  it('reads numbers to the nearest float32, whatever digits they come with', () => {
    const request = requestFor(id, { n_x: 3, n_a: 5, ...{ n_y: 2, m: 2 }, T_x: 3 } as never, 1, 1);
    const next = numbersFrom(2);
    const nudged = (value: Json): Json => {
      if (Array.isArray(value)) return value.map(nudged);
      if (typeof value === 'object' && value !== null) {
        return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, nudged(inner)]));
      }
      return typeof value === 'number' ? value * (1 + next() * 2 ** -26) : value;
    };
    expect(askText(id, { ...(nudged(request) as JsonObject), dtype })).toBe(askText(id, { ...request, dtype }));
  });

  it('refuses what float32 cannot hold', () => {
    const request = requestFor(id, { n_x: 2, n_a: 2, ...{ n_y: 2, m: 1 }, T_x: 2 } as never, 1, 1);
    const name = Object.keys(request).find((one) => Array.isArray(request[one])) as string;
    let row = request[name] as Json[];
    while (Array.isArray(row[0])) row = row[0];
    for (const machinery of [
      machineryWith({ kernels: builds[0], formats }),
      machineryWith({ kernels: builds[0], formats: formatsWith() }),
    ]) {
      for (const tooLarge of [1e39, -1e39, 3.40282356779734e38]) {
        row[0] = tooLarge;
        const outcome = askWith(machinery, id, { ...request, dtype });
        if (outcome.ok) throw new Error(`${tooLarge} was not refused`);
        expect(outcome.code).toBe('invalid-tensor');
        expect(outcome.faults[0].detail).toContain('too large for float32');
        expect(outcome.faults[0].pointer).toMatch(new RegExp(`^/${name}/0`));
      }
    }
    row[0] = 3.4028235677973366e38; // just below the middle between the largest one and 2^128
    const outcome = askWith(machineryWith({ kernels: builds[0], formats }), id, { ...request, dtype });
    expect(outcome.ok || outcome.code === 'non-finite-result').toBe(true);
    row[0] = 1e39;
    expect(askWith(machineryWith({ kernels: builds[0], formats }), id, request).ok).toBe(true);
  });
});

describe.each(builds)('a result beyond the range of float32 on $tier', (kernels) => {
  it('is refused, and is none in float64', () => {
    const one = (value: number) => [[value]];
    const parameters = { Wax: one(0), Waa: one(0), ba: one(0) };
    const body = { x: [[[1e20]]], a0: one(0), parameters, da: [[[1e20]]] };
    const outcome = askWith(machineryWith({ kernels, formats }), 'rnnBackward', { ...body, dtype });
    expect(outcome).toMatchObject({
      ok: false,
      code: 'non-finite-result',
      faults: [
        {
          pointer: '/gradients/dWax/0/0',
          detail: 'dWax[0, 0] of (n_a, n_x) is Infinity: the result has left the range of float32',
        },
      ],
    });
    expect((askJson('rnnBackward', body, kernels).gradients as JsonObject).dWax).toEqual(one(1e20 * 1e20));
  });
});
