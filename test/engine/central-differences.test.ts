import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Build } from '../../src/kernels/kernels.js';
import { operations } from '../../src/operations/operations.js';
import { askJson } from '../ask.js';
import { cases } from '../cases.js';
import { anyBuild } from '../kernels/builds.js';
import {
  choicesArbitrary,
  dimsArbitrary,
  flat,
  inner,
  type Json,
  type JsonObject,
  numbersFrom,
  operationCalled,
  tensorsFor,
} from '../values.js';

/**
 * Analytic gradients against central differences of a loss that is linear in the outputs: L = Σ_k ⟨d_k, output_k⟩,
 * where d_k is the upstream gradient of output k. Every gradient of every backward operation, over random shapes.
 */

interface Pair {
  readonly forward: string;
  readonly backward: string;
  /** upstream gradient → the output it belongs to */
  readonly upstream: Record<string, string>;
}

/** Every backward operation of the table with its forward operation. */
const pairs = operations
  .filter(({ time, request }) => time === 'backward' && !request.members.loss)
  .map(({ id, request }): Pair => {
    const tensors = Object.keys(request.members).filter((name) => request.members[name].kind === 'tensor');
    const upstream = tensors.filter((name) => name.startsWith('d')).map((name) => [name, name.slice(1)]);
    return { forward: id.replace('Backward', 'Forward'), backward: id, upstream: Object.fromEntries(upstream) };
  });

it('the table has gradients of every state', () => {
  expect(pairs.slice(0, 4).map(({ backward, upstream }) => [backward, upstream])).toEqual([
    ['rnnCellBackward', { da_next: 'a_next' }],
    ['rnnBackward', { da: 'a' }],
    ['lstmCellBackward', { da_next: 'a_next', dc_next: 'c_next' }],
    ['lstmBackward', { da: 'a', dc: 'c' }],
  ]);
});

/** Every operation of the table that has a loss of its own. */
const withLosses = operations.filter(({ request }) => request.members.loss).map(({ id }) => id);
const anyLoss = fc.record({
  loss: fc.constantFrom('cross_entropy', 'squared_error', 'binary_cross_entropy'),
  reduction: fc.constantFrom('mean', 'sum'),
});

it('the table has a loss for every cell', () => {
  expect(withLosses).toEqual(['rnnForwardBackward', 'lstmForwardBackward', 'gruForwardBackward']);
});

describe.each(withLosses)('%s', (id) => {
  it('analytic gradients agree with central differences of the loss, on any build', () => {
    fc.assert(
      fc.property(
        anyBuild,
        dimsArbitrary,
        choicesArbitrary,
        anyLoss,
        fc.integer(),
        (kernels, dims, choices, loss, seed) => {
          const next = numbersFrom(seed, 1.2);
          const indices = choices.indices && loss.loss === 'cross_entropy';
          const tensors = tensorsFor(operationCalled(id).request, dims, next, {
            ...choices,
            indices: indices === true,
          });
          const inputs = { ...tensors, ...loss };
          const gradients = askJson(id, inputs, kernels).gradients as JsonObject;
          expect('dx' in gradients).toBe(!indices);
          for (const [name, gradient] of Object.entries(gradients)) {
            const source = find(inputs, name.slice(1));
            const scale = Math.max(1e-3, ...flat(gradient).map(Math.abs));
            for (const { analytic, holder, index } of samples(gradient, source, next)) {
              const numeric = derivative(
                () => askJson(id, { ...inputs, return: ['loss'] }, kernels).loss as number,
                holder,
                index,
              );
              expect(Math.abs(numeric - analytic) / scale, `${name} (seed ${seed})`).toBeLessThanOrEqual(1e-7);
            }
          }
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe.each(pairs)('$backward', ({ forward, backward, upstream }) => {
  it('analytic gradients agree with central differences, on any build', () => {
    fc.assert(
      fc.property(anyBuild, dimsArbitrary, choicesArbitrary, fc.integer(), (kernels, dims, choices, seed) => {
        const next = numbersFrom(seed, 1.2);
        const inputs = tensorsFor(operationCalled(forward).request, dims, next, { ...choices, extras: true });
        const gradientsIn = upstreamGradients(backward, upstream, dims, next);
        const gradients = backwardFrom(kernels, forward, backward, inputs, gradientsIn);

        const loss = (): number => {
          const outputs = askJson(forward, inputs, kernels);
          return Object.entries(upstream).reduce((sum, [gradient, output]) => {
            return sum + inner(gradientsIn[gradient], firstSteps(outputs[output], gradientsIn[gradient]));
          }, 0);
        };
        for (const [name, gradient] of Object.entries(gradients)) {
          const source = find(inputs, name.slice(1));
          const scale = Math.max(1e-3, ...flat(gradient).map(Math.abs));
          for (const { analytic, holder, index } of samples(gradient, source, next)) {
            const numeric = derivative(loss, holder, index);
            expect(Math.abs(numeric - analytic) / scale, `${name} (seed ${seed})`).toBeLessThanOrEqual(1e-7);
          }
        }
      }),
      { numRuns: cases(40) },
    );
  });
});

function upstreamGradients(
  backward: string,
  upstream: Record<string, string>,
  dims: Parameters<typeof tensorsFor>[1],
  next: () => number,
): JsonObject {
  const all = tensorsFor(operationCalled(backward).request, dims, next, { prediction: false, way: 1, extras: true });
  return Object.fromEntries(Object.keys(upstream).map((name) => [name, all[name]]));
}

function backwardFrom(
  kernels: Build,
  forward: string,
  backward: string,
  inputs: JsonObject,
  gradientsIn: JsonObject,
): JsonObject {
  const { cache } = askJson(forward, inputs, kernels);
  return askJson(backward, { ...(cache ? { cache } : inputs), ...gradientsIn }, kernels).gradients as JsonObject;
}

/** da may have fewer time steps than a: the later steps of a are not part of the loss. */
function firstSteps(output: Json, gradient: Json): Json {
  if (!Array.isArray(output) || !Array.isArray(gradient)) return output;
  return gradient.map((part, i) => firstSteps(output[i], part));
}

function find(inputs: JsonObject, name: string): Json {
  return inputs[name] ?? (inputs.parameters as JsonObject)[name];
}

interface Sample {
  readonly analytic: number;
  readonly holder: number[];
  readonly index: number;
}

/** Up to six positions of a tensor: the innermost array that holds the input number, and the gradient there. */
function samples(gradient: Json, source: Json, next: () => number): Sample[] {
  const all: Sample[] = [];
  const walk = (d: Json, s: Json): void => {
    if (!Array.isArray(d) || !Array.isArray(s)) return;
    d.forEach((part, index) => {
      if (typeof part === 'number') all.push({ analytic: part, holder: s as number[], index });
      else walk(part, s[index]);
    });
  };
  walk(gradient, source);
  return all.length <= 6
    ? all
    : Array.from({ length: 6 }, () => all[Math.floor(((next() / 1.2 + 1) / 2) * all.length)]);
}

/** The five-point formula: its error is of the fourth order in h, so h can be large enough for rounding not to matter. */
function derivative(loss: () => number, holder: number[], index: number): number {
  const h = 1e-3;
  const before = holder[index];
  const at = (steps: number) => {
    holder[index] = before + steps * h;
    return loss();
  };
  const slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h);
  holder[index] = before;
  return slope;
}
