import { describe, expect, it } from 'vitest';
import { operations } from '../../src/operations/operations.js';
import { askText } from '../ask.js';
import { builds } from '../kernels/builds.js';
import { expectAllClose, largestIn, numbersFrom, tensorsFor } from '../values.js';

describe('10,000 small requests, each on a build that is drawn at random,', () => {
  const seed = Math.floor(Math.random() * 2 ** 31);

  it(`agree with the plain build (seed ${seed})`, () => {
    const next = numbersFrom(seed);
    const below = (n: number) => Math.floor(((next() + 1) / 2) * n);
    const drawn = <T>(items: readonly T[]): T => items[below(items.length)];
    for (let i = 0; i < 10_000; i++) {
      const operation = drawn(operations);
      const [dtype, build] = [drawn(['float64', 'float32'] as const), drawn(builds)];
      const T_x = 1 + below(6);
      const dims = {
        n_x: 1 + below(9),
        n_a: 1 + below(9),
        n_y: 1 + below(5),
        m: 1 + below(4),
        T_x,
        T_da: 1 + below(T_x),
      };
      const choices = { prediction: below(2) === 0, way: below(2), extras: below(2) === 0 };
      const request = { ...tensorsFor(operation.request, dims, next, choices), dtype };
      const [actual, expected] = [build, builds[0]].map((kernels) => askText(operation.id, request, kernels));
      if (actual === expected) continue;
      try {
        const answer = JSON.parse(expected);
        // A gradient can be a sum whose terms cancel: its error is that of the terms, which the others are as large as.
        expectAllClose(JSON.parse(actual), answer, dtype, largestIn(answer));
      } catch (error) {
        expect.fail(`request ${i}, ${operation.id} in ${dtype} on ${build.tier}: ${(error as Error).message}`);
      }
    }
  });
});
