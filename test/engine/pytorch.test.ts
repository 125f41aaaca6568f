import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { askJson, askText } from '../ask.js';
import { builds } from '../kernels/builds.js';
import { flat, type Json, type JsonObject, shapeOf } from '../values.js';

interface Case {
  readonly name: string;
  readonly inputs: JsonObject & { parameters: JsonObject };
  readonly outputs: JsonObject;
  readonly grads: Record<string, { full: JsonObject; seed_k1: JsonObject; da_from_loss?: Json }>;
}

const read = (file: string): Case[] =>
  JSON.parse(readFileSync(new URL(`../fixtures/${file}`, import.meta.url), 'utf8')).cases;

/** Largest error ≤ 1e-10 · (largest magnitude of that tensor) + 1e-12. */
function expectClose(name: string, actual: Json, expected: Json): void {
  expect(shapeOf(actual), `shape of ${name}`).toEqual(shapeOf(expected));
  const [a, b] = [flat(actual), flat(expected)];
  const largest = b.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  const error = b.reduce((max, value, i) => Math.max(max, Math.abs(value - a[i])), 0);
  expect(error, `largest error of ${name}`).toBeLessThanOrEqual(1e-10 * largest + 1e-12);
}

function expectAllClose(actual: JsonObject, expected: JsonObject): void {
  for (const [name, value] of Object.entries(expected)) expectClose(name, actual[name], value);
}

/** The gradients that go into the sequence, for each group of the fixtures. */
function upstream(group: string, { inputs, grads }: Case): JsonObject | undefined {
  if (group === 'da') return { da: inputs.da };
  if (group === 'da_dc') return { da: inputs.da, dc: inputs.dc };
  const { da_from_loss } = grads[group];
  return da_from_loss === undefined ? undefined : { da: da_from_loss };
}

/** The gradients of the loss by Wya and by belong to losses, which are not part of the backward operations. */
const OF_THE_PREDICTION = ['dWya', 'dWy', 'dby'];

const nets = [
  { net: 'rnn', cases: read('pytorch-rnn.json') },
  { net: 'lstm', cases: read('pytorch-lstm.json') },
];
const runs = builds.flatMap((kernels) => nets.map((net) => ({ ...net, tier: kernels.tier, kernels })));

describe.each(runs)('$net on $tier kernels agrees with PyTorch', ({ net, cases, kernels }) => {
  describe.each(cases)('$name', (one) => {
    const { x, a0, c0, parameters } = one.inputs;
    const inputs = { x, a0, ...(c0 ? { c0 } : {}), parameters };
    const forward = askJson(`${net}Forward`, { ...inputs, caches: 'inline' }, kernels);

    it('forward: every state, gate and prediction', () => {
      const { ft, it: update, cct, ot, ...outputs } = one.outputs;
      expectAllClose(forward, outputs);
      if (ft) expectAllClose(forward.caches as JsonObject, { ft, it: update, cct, ot });
    });

    it.each(Object.keys(one.grads))('backward, upstream %s: full and cut at every step', (group) => {
      const gradientsIn = upstream(group, one);
      expect(gradientsIn).toBeDefined();
      for (const [mode, options] of [
        ['full', {}],
        ['seed_k1', { bptt_steps: 1 }],
      ] as const) {
        const expected = Object.entries(one.grads[group][mode]).filter(([name]) => !OF_THE_PREDICTION.includes(name));
        const fromInputs = askText(`${net}Backward`, { ...inputs, ...gradientsIn, ...options }, kernels);
        expectAllClose(JSON.parse(fromInputs).gradients, Object.fromEntries(expected));

        const fromCaches = askText(`${net}Backward`, { caches: forward.caches, ...gradientsIn, ...options }, kernels);
        expect(fromCaches).toBe(fromInputs);
      }
    });
  });
});
