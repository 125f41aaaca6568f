import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { askJson, askText } from '../ask.js';
import { builds } from '../kernels/builds.js';
import {
  expectAllClose as expectAllCloseIn,
  expectClose as expectCloseIn,
  type Json,
  type JsonObject,
  largestIn,
} from '../values.js';

interface Case {
  readonly name: string;
  readonly inputs: JsonObject & { parameters: JsonObject };
  readonly outputs: JsonObject;
  readonly grads: Record<string, { full: JsonObject; seed_k1: JsonObject; da_from_loss?: Json }>;
}

const read = (file: string): Case[] =>
  JSON.parse(readFileSync(new URL(`../fixtures/${file}`, import.meta.url), 'utf8')).cases;

/** The gradients that go into the sequence, for each group of the fixtures. */
function upstream(group: string, { inputs, grads }: Case): JsonObject | undefined {
  if (group === 'da') return { da: inputs.da };
  if (group === 'da_dc') return { da: inputs.da, dc: inputs.dc };
  const { da_from_loss } = grads[group];
  return da_from_loss === undefined ? undefined : { da: da_from_loss };
}

/** Time step t of a (n, m, T) tensor. */
function at(tensor: Json, t: number): Json {
  return (tensor as number[][][]).map((row) => row.map((example) => example[t]));
}

function zerosLike(matrix: Json): Json {
  return (matrix as number[][]).map((row) => row.map(() => 0));
}

function plus(one: Json, other: Json): Json {
  return (one as number[][]).map((row, i) => row.map((value, j) => value + (other as number[][])[i][j]));
}

/** The gradients of the loss by Wya and by belong to losses, which are not part of the backward operations. */
const OF_THE_PREDICTION = ['dWya', 'dWy', 'dby'];

const nets = [
  { net: 'rnn', cases: read('pytorch-rnn.json') },
  { net: 'lstm', cases: read('pytorch-lstm.json') },
];
const runs = (['float64', 'float32'] as const).flatMap((dtype) => {
  return builds.flatMap((kernels) => nets.map((net) => ({ ...net, dtype, tier: kernels.tier, kernels })));
});

describe.each(runs)('$net in $dtype on $tier kernels agrees with PyTorch', ({ net, cases, dtype, kernels }) => {
  describe.each(cases)('$name', (one) => {
    // Where units are saturated, 1 − a² is what is left of 1: in float32 gradients are right to the size of those upstream.
    const least = dtype === 'float32' && one.name.includes('saturated') ? 1 : 0;
    const expectClose = (name: string, actual: Json, expected: Json, whole: Json = 0) => {
      expectCloseIn(name, actual, expected, dtype, Math.max(least, largestIn(whole)));
    };
    const expectAllClose = (actual: JsonObject, expected: JsonObject) => {
      expectAllCloseIn(actual, expected, dtype, least);
    };
    const { x, a0, c0, parameters } = one.inputs;
    const inputs = { x, a0, ...(c0 ? { c0 } : {}), parameters, dtype };
    const forward = askJson(`${net}Forward`, { ...inputs, caches: 'inline' }, kernels);

    it('forward: every state, gate and prediction', () => {
      const { ft, it: update, cct, ot, ...outputs } = one.outputs;
      expectAllClose(forward, outputs);
      if (ft) expectAllClose(forward.caches as JsonObject, { ft, it: update, cct, ot });
    });

    it('as a chain of cells, forward and backward', () => {
      const lstm = net === 'lstm';
      const { da } = one.inputs;
      const T = (da as Json[][][])[0][0].length;
      const cells: JsonObject[] = [];
      let states: JsonObject = { a_prev: a0, ...(lstm ? { c_prev: c0 ?? zerosLike(a0) } : {}) };
      for (let t = 0; t < T; t++) {
        const cell = askJson(`${net}CellForward`, { xt: at(x, t), ...states, parameters, dtype }, kernels);
        const { a, c, y, y_pred, ft, it: update, cct, ot } = one.outputs;
        expectClose('a_next', cell.a_next, at(a, t));
        expectClose('yt_pred', cell.yt_pred, at(y ?? y_pred, t));
        if (lstm) {
          const gates = { c_next: c, ft, it: update, cct, ot };
          for (const [name, whole] of Object.entries(gates)) {
            expectClose(name, (cell.cache as JsonObject)[name], at(whole, t));
          }
        }
        cells.push(cell);
        states = { a_prev: cell.a_next, ...(lstm ? { c_prev: cell.c_next } : {}) };
      }

      const { dx, ...expected } = one.grads.da.full;
      const sums: JsonObject = {};
      let [da_carried, dc_carried] = [zerosLike(a0), zerosLike(a0)];
      for (let t = T - 1; t >= 0; t--) {
        const upstreamOf = { da_next: plus(at(da, t), da_carried), ...(lstm ? { dc_next: dc_carried } : {}) };
        const request = { ...upstreamOf, cache: cells[t].cache, dtype };
        const { dxt, da_prev, dc_prev, ...dParameters } = askJson(`${net}CellBackward`, request, kernels)
          .gradients as JsonObject;
        expectClose('dxt', dxt, at(dx, t), dx);
        [da_carried, dc_carried] = [da_prev, dc_prev];
        for (const [name, value] of Object.entries(dParameters))
          sums[name] = sums[name] ? plus(value, sums[name]) : value;
      }
      expectAllClose({ ...sums, da0: da_carried, dc0: dc_carried }, expected);
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

        const fromCaches = askText(
          `${net}Backward`,
          { caches: forward.caches, ...gradientsIn, ...options, dtype },
          kernels,
        );
        expect(fromCaches).toBe(fromInputs);
      }
    });
  });
});
