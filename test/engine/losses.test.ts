import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { askJson } from '../ask.js';
import { builds } from '../kernels/builds.js';
import { expectAllClose, type Json, type JsonObject } from '../values.js';

/** Losses with all gradients in one call against the numbers of test/fixtures/pytorch.py. */

interface Case {
  readonly name: string;
  readonly net: string;
  readonly options: JsonObject;
  readonly inputs: JsonObject;
  readonly outputs: JsonObject;
  readonly gradients: JsonObject;
  readonly loss: number;
  readonly loss_of_steps: number[];
  readonly gradient_norm: number;
}

const { cases } = JSON.parse(readFileSync(new URL('../fixtures/pytorch-losses.json', import.meta.url), 'utf8')) as {
  cases: Case[];
};
const runs = (['float64', 'float32'] as const).flatMap((dtype) => {
  return builds.map((kernels) => ({ dtype, tier: kernels.tier, kernels }));
});

describe.each(runs)('in $dtype on $tier kernels', ({ dtype, kernels }) => {
  it.each(cases)('$name agrees with PyTorch', ({ net, options, inputs, outputs, gradients, ...expected }) => {
    const wanted = ['loss', 'y', 'y_pred', 'gradients', 'gradient_norm', 'steps', 'a_last', 'c_last'];
    const there = wanted.filter((name) => name in outputs || !/^(y|y_pred|c_last)$/.test(name));
    const request = { ...inputs, ...options, dtype };
    const answer = askJson(`${net}ForwardBackward`, { ...request, return: there }, kernels);
    // Large logits make large gradients: float32 is right to their size.
    const least = dtype === 'float32' ? expected.gradient_norm : 0;
    const { a, c, ...shown } = outputs;
    expectAllClose({ ...answer, y: answer.y ?? null } as JsonObject, shown, dtype, 1);
    expectAllClose(answer.gradients as JsonObject, gradients, dtype, least);
    const one = (value: Json) => [value] as Json;
    expectAllClose(
      { loss: one(answer.loss), norm: one(answer.gradient_norm), steps: (answer.steps as JsonObject).loss },
      { loss: one(expected.loss), norm: one(expected.gradient_norm), steps: expected.loss_of_steps },
      dtype,
    );
    const all = askJson(`${net}ForwardBackward`, request, kernels);
    expect(Object.keys(all)).toEqual(Object.keys(answer).filter((name) => !name.endsWith('_last')));
    expect(all.gradients).toEqual(answer.gradients);
  });
});
