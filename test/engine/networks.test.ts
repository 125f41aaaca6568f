import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { askJson, askText } from '../ask.js';
import { builds } from '../kernels/builds.js';
import { expectAllClose, type JsonObject } from '../values.js';

/** The GRU and ragged batches against the numbers of test/fixtures/pytorch.py, on every build in both types. */

interface Case {
  readonly name: string;
  readonly net: string;
  readonly options: JsonObject;
  readonly inputs: JsonObject;
  readonly outputs: JsonObject;
  readonly gradients: JsonObject;
}

const { cases } = JSON.parse(readFileSync(new URL('../fixtures/pytorch-gru.json', import.meta.url), 'utf8')) as {
  cases: Case[];
};
const runs = (['float64', 'float32'] as const).flatMap((dtype) => {
  return builds.map((kernels) => ({ dtype, tier: kernels.tier, kernels }));
});

describe.each(runs)('in $dtype on $tier kernels', ({ dtype, kernels }) => {
  it.each(cases)('$name agrees with PyTorch', ({ name, net, options, inputs, outputs, gradients }) => {
    // Where units are saturated, 1 − a² is what is left of 1: in float32 gradients are right to the size of those upstream.
    const least = dtype === 'float32' && name.includes('scale30') ? 300 : 0;
    const { da, dc, ...forward } = inputs;
    const upstream = { da, ...(dc ? { dc } : {}) };
    const { caches, ...states } = askJson(
      `${net}Forward`,
      { ...forward, ...options, dtype, caches: 'inline' },
      kernels,
    );
    const { a_last, c_last, ...sequences } = outputs;
    expectAllClose(states as JsonObject, sequences, dtype);

    const fromInputs = askText(`${net}Backward`, { ...forward, ...options, ...upstream, dtype }, kernels);
    expectAllClose(JSON.parse(fromInputs).gradients, gradients, dtype, least);
    expect(askText(`${net}Backward`, { caches, ...upstream, dtype }, kernels)).toBe(fromInputs);
  });
});
