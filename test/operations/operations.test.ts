import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { machineryWith } from '../../src/compute/worker/request.js';
import { formatsWith } from '../../src/formats/formats.js';
import { readContents, readGroup } from '../../src/formats/safetensors.js';
import type { Build } from '../../src/kernels/kernels.js';
import type { Operation } from '../../src/operations/operation.js';
import { operations } from '../../src/operations/operations.js';
import { shapeIn } from '../../src/tensor/shapes.js';
import type { GroupMember } from '../../src/tensor/signature.js';
import type { Dtype } from '../../src/tensor/tensor.js';
import { ask, askJson as askJsonOn, askText as askTextOn, askWith, refusal, textOf, writeJson } from '../ask.js';
import { cases } from '../cases.js';
import { written } from '../formats/json/written.js';
import { allKernels, anyBuild, anyDtype, builds } from '../kernels/builds.js';
import {
  choicesArbitrary,
  dimsArbitrary,
  dimsArbitraryFor,
  expectClose,
  type Json,
  type JsonObject,
  numbersFrom,
  operationCalled,
  shapeOf,
  symbolsOf,
  tensorsFor,
} from '../values.js';

const requestArbitrary = (operation: Operation) =>
  fc.record({ dims: dimsArbitraryFor(operation.request), choices: choicesArbitrary, seed: fc.integer() });

/** Does the answer hold exactly the tensors of its signature, in the right shapes? */
function expectShapes(group: GroupMember, answer: JsonObject, dims: Record<string, number>): void {
  for (const name of Object.keys(answer)) expect(Object.keys(group.members)).toContain(name);
  for (const [name, member] of Object.entries(group.members)) {
    if (answer[name] === undefined) expect(member.optional || name === 'dx', `${name} may be absent`).toBe(true);
    else if (member.kind === 'tensor') expect(shapeOf(answer[name]), name).toEqual(shapeIn(dims, member));
    else if (member.kind === 'group') expectShapes(member, answer[name] as JsonObject, dims);
  }
}

/** A group as clients of many languages print it: with null for what is not set. */
function withNulls({ members }: GroupMember, values: JsonObject): JsonObject {
  const filled = Object.entries(members).map(([name, member]) => {
    const value = values[name] ?? null;
    return [name, member.kind === 'group' && value ? withNulls(member, value as JsonObject) : value];
  });
  return Object.fromEntries(filled);
}

/** The cells of the table: rnn, lstm, … */
const networks = operations.flatMap(({ id }) => (id.endsWith('CellForward') ? [id.replace('CellForward', '')] : []));
const byId = operations.map((operation): [string, Operation] => [operation.id, operation]);

describe.each(byId)('%s, on any build, in any type,', (id, operation) => {
  const any = fc.record({ kernels: anyBuild, dtype: anyDtype, of: requestArbitrary(operation) });

  it('answers every request of its signature with the tensors of its signature', () => {
    fc.assert(
      fc.property(any, ({ kernels, dtype, of: { dims, choices, seed } }) => {
        const request = tensorsFor(operation.request, dims, numbersFrom(seed), choices);
        expectShapes(operation.answer, askJsonOn(id, { ...request, dtype }, kernels), dims);
      }),
    );
  });

  it('gives the same bytes for the same request, in whatever order its members are written', () => {
    fc.assert(
      fc.property(any, ({ kernels, dtype, of: { dims, choices, seed } }) => {
        const request = { ...tensorsFor(operation.request, dims, numbersFrom(seed), choices), dtype };
        const reversed = Object.fromEntries(Object.entries(request).reverse());
        expect(askTextOn(id, reversed, kernels)).toBe(askTextOn(id, request, kernels));
      }),
      { numRuns: cases(50) },
    );
  });

  it('gives the same bytes with the plain codec', () => {
    fc.assert(
      fc.property(any, ({ kernels, dtype, of: { dims, choices, seed } }) => {
        const request = { ...tensorsFor(operation.request, dims, numbersFrom(seed), choices), dtype };
        expect(textOf(askWith(machineryWith({ kernels, formats: formatsWith() }), id, request))).toBe(
          askTextOn(id, request, kernels),
        );
      }),
      { numRuns: cases(30) },
    );
  });
});

describe.each(byId)('%s', (id, operation) => {
  it('takes null for what may be absent, and for nothing else', () => {
    const symbols = Object.fromEntries([...symbolsOf(operation.request)].map((symbol) => [symbol, 2]));
    const ways = Math.max(1, operation.request.either.length - 1);
    for (let way = 0; way < ways; way++) {
      const request = tensorsFor(operation.request, symbols, numbersFrom(1), { prediction: false, way, extras: false });
      const filled = withNulls(operation.request, request);
      expect(Object.values(filled)).toContain(null);
      expect(askTextOn(id, filled)).toBe(askTextOn(id, request));
      for (const [name, { optional }] of Object.entries(operation.request.members)) {
        if (optional || !(name in request)) continue;
        const { faults } = refusal(id, { ...filled, [name]: null });
        expect(faults).toEqual([{ pointer: `/${name}`, detail: expect.stringContaining(`/${name} is null, but`) }]);
      }
    }
  });

  it('refuses every request that lacks one of its members or has one too many', () => {
    const symbols = Object.fromEntries([...symbolsOf(operation.request)].map((symbol) => [symbol, 2]));
    const dims = { ...symbols, n_a: 3, T_x: 3 };
    const request = tensorsFor(operation.request, dims, numbersFrom(1), { prediction: true, way: 1, extras: false });
    for (const name of Object.keys(request)) {
      const { [name]: _, ...less } = request;
      expect(refusal(id, less).faults.map(({ pointer }) => pointer)).toContain(`/${name}`);
    }
    expect(refusal(id, { ...request, extra: 1 }).faults[0].pointer).toBe('/extra');
    expect(refusal(id, { ...request, dtype: 'float16' }).faults[0].detail).toBe(
      '/dtype is "float16", but must be "float64" or "float32"',
    );
  });
});

describe.each(operations.filter(({ time }) => time === 'forward').map(({ id }) => id))('the cache of %s', (id) => {
  it('repeats the inputs with all their bits: −0, denormals and large numbers', () => {
    const values = [-0, 5e-324, 0, -1.5e-310, 0.1, 1e-7, 1e21];
    let at = 0;
    const next = () => values[at++ % values.length];
    const dims = { n_x: 2, n_a: 3, n_y: 2, m: 1, T_x: 2, T_da: 2 };
    const request = tensorsFor(operationCalled(id).request, dims, next, { prediction: false, way: 0, extras: true });
    const text = jsonText({ ...request, ...(id.includes('Cell') ? {} : { caches: 'inline' }) });
    const outcome = ask(id, text);
    if (!outcome.ok) throw new Error(outcome.faults[0].detail);
    const answer = Buffer.concat(outcome.body).toString();
    const names = Object.keys(request).filter((name) => name !== 'reset');
    expect(names.length).toBeGreaterThanOrEqual(3);
    for (const name of names) expect(answer).toContain(`"${name}":${jsonText(request[name])}`);
  });
});

/** What each step of a sequence is computed with. */
function weightsOf({ parameters, reset }: JsonObject): JsonObject {
  return { parameters, ...(reset ? { reset } : {}) };
}

/** JSON.stringify, but numbers are written as the service writes them. */
function jsonText(value: Json): string {
  if (typeof value === 'number') return written(value);
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(jsonText).join()}]`;
  return `{${Object.entries(value)
    .map(([name, inner]) => `"${name}":${jsonText(inner)}`)
    .join()}}`;
}

describe.each(networks)('%s over a sequence, on any build, in any type,', (net) => {
  const lstm = net === 'lstm';
  const sequence = (id: string) => operationCalled(`${net}${id}`);
  const machinery = fc.record({ kernels: anyBuild, dtype: anyDtype });

  /** What the properties below ask with. */
  const asker = ({ kernels, dtype }: { kernels: Build; dtype: Dtype }) => ({
    askJson: (id: string, request: object) => askJsonOn(id, { ...request, dtype }, kernels),
    askText: (id: string, request: object) => askTextOn(id, { ...request, dtype }, kernels),
  });

  it('is the chain of its cells, to the last byte', () => {
    fc.assert(
      fc.property(machinery, dimsArbitrary, fc.integer(), (any, dims, seed) => {
        const { askJson } = asker(any);
        const choices = { prediction: true, way: 0, extras: true };
        const request = tensorsFor(sequence('Forward').request, dims, numbersFrom(seed), choices);
        const whole = askJson(`${net}Forward`, request);
        let a_prev = request.a0;
        let c_prev = request.c0;
        for (let t = 0; t < dims.T_x; t++) {
          const xt = at(request.x, t);
          const cell = askJson(`${net}CellForward`, {
            xt,
            a_prev,
            ...(lstm ? { c_prev } : {}),
            ...weightsOf(request),
          });
          expect(cell.a_next).toEqual(at(whole.a, t));
          expect(cell.yt_pred).toEqual(at(whole.y ?? whole.y_pred, t));
          if (lstm) expect(cell.c_next).toEqual(at(whole.c, t));
          a_prev = cell.a_next;
          c_prev = cell.c_next;
        }
      }),
      { numRuns: cases(60) },
    );
  });

  it.each(allKernels)('goes backward as the chain of its cells, on $tier in $dtype', ({ tier, dtype }) => {
    const { askJson } = asker({ dtype, kernels: builds.find((build) => build.tier === tier) ?? builds[0] });
    const dims = { n_x: 3, n_a: 4, n_y: 2, m: 2, T_x: 5, T_da: 5 };
    const choices = { prediction: false, way: 1, extras: true };
    const next = numbersFrom(7);
    const request = tensorsFor(sequence('Backward').request, dims, () => Math.fround(next()), choices);
    // Added as float32 numbers: JavaScript takes the shortest digits of one for the double that is nearest to them.
    const read = dtype === 'float32' ? rounded : (tensor: Json) => tensor;
    const { gradients } = askJson(`${net}Backward`, request) as { gradients: JsonObject };

    const caches: Json[] = [];
    let [a_prev, c_prev] = [request.a0, request.c0];
    for (let t = 0; t < dims.T_x; t++) {
      const xt = at(request.x, t);
      const cell = askJson(`${net}CellForward`, {
        xt,
        a_prev,
        ...(lstm ? { c_prev } : {}),
        ...weightsOf(request),
      });
      caches.push(cell.cache);
      [a_prev, c_prev] = [cell.a_next, cell.c_next];
    }
    let [da_carried, dc_carried]: Json[] = [];
    for (let t = dims.T_x - 1; t >= 0; t--) {
      const da_next = read(plus(at(request.da, t), da_carried));
      const dc_next = lstm ? { dc_next: read(plus(at(request.dc, t), dc_carried)) } : {};
      const cell = askJson(`${net}CellBackward`, { da_next, ...dc_next, cache: caches[t] }).gradients as JsonObject;
      expect(cell.dxt).toEqual(at(gradients.dx, t));
      [da_carried, dc_carried] = [read(cell.da_prev), lstm ? read(cell.dc_prev) : 0];
    }
    expect(da_carried).toEqual(read(gradients.da0));
    if (lstm) expect(dc_carried).toEqual(read(gradients.dc0));
  });

  const backwardArbitrary = fc.record({ dims: dimsArbitrary, extras: fc.boolean(), seed: fc.integer() });

  it('goes backward from inline caches, from stored ones and from inputs with the same bytes', () => {
    fc.assert(
      fc.property(
        machinery,
        backwardArbitrary,
        fc.integer({ min: 1, max: 6 }),
        fc.boolean(),
        (any, { dims, extras, seed }, bptt_steps, prediction) => {
          const { askJson, askText } = asker(any);
          const choices = { prediction, way: 1, extras };
          const request = tensorsFor(sequence('Backward').request, dims, numbersFrom(seed), choices);
          const { da, dc, ...inputs } = request;
          const { caches, ...states } = askJson(`${net}Forward`, { ...inputs, caches: 'inline' });
          const { cache_id, cache_expires_at, ...same } = askJson(`${net}Forward`, { ...inputs, caches: 'stored' });
          expect(same).toEqual(states);
          expect(cache_id).toMatch(/^[0-9a-z-]{46}$/);
          expect(new Date(cache_expires_at as string).toISOString()).toBe(cache_expires_at);
          const upstream = { da, ...(dc ? { dc } : {}), bptt_steps };
          const fromInputs = askText(`${net}Backward`, { ...inputs, ...upstream });
          expect(askText(`${net}Backward`, { caches, ...upstream })).toBe(fromInputs);
          for (let i = 0; i < 2; i++) expect(askText(`${net}Backward`, { cache_id, ...upstream })).toBe(fromInputs);
        },
      ),
    );
  });

  it('stores in caches exactly what inline ones are read back as', () => {
    const bits = [-0, 5e-324, 0, -1.5e-310, 0.1, 1e-7, 1e21];
    let i = 0;
    const dims = { n_x: 2, n_a: 3, n_y: 2, m: 2, T_x: 3, T_da: 3 };
    const choices = { prediction: false, way: 0, extras: true };
    const request = tensorsFor(sequence('Forward').request, dims, () => bits[i++ % bits.length], choices);
    const outcome = ask(`${net}Forward`, jsonText({ ...request, caches: 'stored' }));
    if (!outcome.ok || !outcome.deposit) throw new Error('nothing is stored');
    const group = sequence('Forward').answer.members.caches as GroupMember;
    const bytes = Uint8Array.from(Buffer.concat(outcome.deposit));
    const caches = readGroup(bytes, readContents(bytes), group, 'float64');
    const inline = askTextOn(`${net}Forward`, jsonText({ ...request, caches: 'inline' }));
    expect(inline).toContain(`"caches":${Buffer.from(writeJson(group, caches))}`);
  });

  it('truncated at T_x steps or more is full backpropagation; at fewer steps it is not', () => {
    fc.assert(
      fc.property(machinery, backwardArbitrary, fc.integer({ min: 0, max: 9 }), (any, { dims, extras, seed }, more) => {
        const { askText } = asker(any);
        const request = tensorsFor(sequence('Backward').request, dims, numbersFrom(seed), {
          prediction: false,
          way: 1,
          extras,
        });
        const truncated = askText(`${net}Backward`, { ...request, bptt_steps: dims.T_x + more });
        expect(truncated).toBe(askText(`${net}Backward`, request));
        const cut = askText(`${net}Backward`, { ...request, bptt_steps: 1 });
        expect(cut === truncated).toBe(dims.T_da === 1);
      }),
    );
  });

  it('truncated at k steps is its segments one by one, each from the states before it', () => {
    fc.assert(
      fc.property(machinery, backwardArbitrary, fc.integer({ min: 1, max: 4 }), (any, { dims, extras, seed }, k) => {
        const { askJson } = asker(any);
        // Sums may be smaller than what is summed, which is around 1.
        const expectNear = (name: string, actual: Json, expected: Json) =>
          expectClose(name, actual, expected, any.dtype, 1);
        const choices = { prediction: false, way: 1, extras };
        const request = tensorsFor(sequence('Backward').request, dims, numbersFrom(seed), choices);
        const { da, dc, ...inputs } = request;
        const forward = askJson(`${net}Forward`, inputs);
        const { gradients } = askJson(`${net}Backward`, { ...request, bptt_steps: k }) as { gradients: JsonObject };

        const sums: JsonObject = {};
        for (let from = 0; from < dims.T_da; from += k) {
          const cut = (tensor: Json) => steps(tensor, from, Math.min(from + k, dims.T_da));
          const before = (states: Json, initial: Json) => (from === 0 ? initial : at(states, from - 1));
          const c0 = lstm && (from > 0 || inputs.c0) ? { c0: before(forward.c, inputs.c0) } : {};
          const segment = askJson(`${net}Backward`, {
            x: cut(inputs.x),
            a0: before(forward.a, inputs.a0),
            ...c0,
            ...weightsOf(inputs),
            da: cut(da),
            ...(dc ? { dc: cut(dc) } : {}),
          }).gradients as JsonObject;
          expectNear('dx', cut(gradients.dx), segment.dx);
          if (from === 0) expectNear('da0', gradients.da0, segment.da0);
          if (from === 0 && lstm) expectNear('dc0', gradients.dc0, segment.dc0);
          for (const [name, value] of Object.entries(segment)) {
            if (name.startsWith('dW') || name.startsWith('db')) sums[name] = plus(value, sums[name]);
          }
        }
        for (const [name, value] of Object.entries(sums)) expectNear(name, gradients[name], value);
      }),
    );
  });

  it('with a shorter da is the sequence that ends there', () => {
    fc.assert(
      fc.property(machinery, backwardArbitrary, (any, { dims, extras, seed }) => {
        const { askText } = asker(any);
        const request = tensorsFor(sequence('Backward').request, dims, numbersFrom(seed), {
          prediction: false,
          way: 1,
          extras,
        });
        const x = (request.x as Json[][][]).map((feature) => feature.map((example) => example.slice(0, dims.T_da)));
        expect(askText(`${net}Backward`, request)).toBe(askText(`${net}Backward`, { ...request, x }));
      }),
    );
  });

  it('takes one way to give the forward pass, not both and not none', () => {
    const dims = { n_x: 2, n_a: 2, n_y: 2, m: 1, T_x: 2, T_da: 2 };
    const backward = sequence('Backward').request;
    const fromInputs = tensorsFor(backward, dims, numbersFrom(1), { prediction: false, way: 1, extras: false });
    const fromCaches = tensorsFor(backward, dims, numbersFrom(1), { prediction: false, way: 0, extras: false });
    expect(refusal(`${net}Backward`, { ...fromInputs, ...fromCaches })).toEqual({
      code: 'invalid-request',
      faults: [{ pointer: '/x', detail: '/x cannot be given together with /caches: one of them is enough' }],
    });
    expect(refusal(`${net}Backward`, { da: fromInputs.da }).faults).toEqual([
      {
        pointer: '',
        detail: 'the forward pass is missing: the body must have either caches, or cache_id, or x, a0 and parameters',
      },
    ]);
    // null is absent, and what is one of the options no way.
    const nulls = { caches: null, cache_id: null, x: null, a0: null, parameters: null, bptt_steps: 2 };
    expect(refusal(`${net}Backward`, { da: fromInputs.da, ...nulls }).faults).toHaveLength(1);
    expect(refusal(`${net}Backward`, { da: fromInputs.da, x: fromInputs.x }).faults).toMatchObject([
      { pointer: '/a0', detail: expect.stringMatching(/^\/a0 is missing/) },
      { pointer: '/parameters', detail: expect.stringMatching(/^\/parameters is missing/) },
    ]);
  });

  it.runIf(lstm)('takes dc with as many time steps as da, fewer than x or not, and no others', () => {
    const dims = { n_x: 2, n_a: 2, n_y: 2, m: 1, T_x: 4, T_da: 3 };
    const choices = { prediction: false, way: 1, extras: true };
    const request = tensorsFor(sequence('Backward').request, dims, numbersFrom(1), choices);
    const gradients = askJsonOn('lstmBackward', request).gradients as JsonObject;
    expect(shapeOf(gradients.dx)).toEqual([2, 1, 3]);
    for (const T_dc of [2, 4]) {
      const { dc } = tensorsFor(sequence('Backward').request, { ...dims, T_da: T_dc }, numbersFrom(1), choices);
      expect(refusal('lstmBackward', { ...request, dc })).toEqual({
        code: 'shape-mismatch',
        faults: [
          {
            pointer: '/dc',
            detail: `/dc has shape (2, 1, ${T_dc}), but (n_a, m, T_da) is (2, 1, 3): T_da = 3 from /da`,
          },
        ],
      });
    }
  });

  it('refuses stored caches of another kind, of another type, and of other letters', () => {
    const dims = { n_x: 2, n_a: 3, n_y: 2, m: 1, T_x: 2, T_da: 2 };
    const store = (id: string, dtype: Dtype) => {
      const choices = { prediction: false, way: 0, extras: false };
      const request = tensorsFor(operationCalled(id).request, dims, numbersFrom(1), choices);
      return askJsonOn(id, { ...request, dtype, caches: 'stored' }).cache_id;
    };
    const da = Array(3).fill([[1, 1]]);
    const [own, other] = [net, networks.find((one) => one !== net) as string];
    const [Own, Other] = [own, other].map((name) => name[0].toUpperCase() + name.slice(1));
    expect(refusal(`${net}Backward`, { cache_id: store(`${other}Forward`, 'float64'), da })).toEqual({
      code: 'invalid-request',
      faults: [
        { pointer: '/cache_id', detail: `/cache_id names ${Other}Caches, but ${own}Backward takes ${Own}Caches` },
      ],
    });
    const detail = '/cache_id names caches in float32, but /dtype is "float64"';
    expect(refusal(`${net}Backward`, { cache_id: store(`${own}Forward`, 'float32'), da })).toEqual({
      code: 'invalid-request',
      faults: [{ pointer: '/cache_id', detail }],
    });
    expect(refusal(`${net}Backward`, { cache_id: store(`${own}Forward`, 'float64'), da: [[[1, 1]]] })).toEqual({
      code: 'shape-mismatch',
      faults: [
        {
          pointer: '/da',
          detail: '/da has shape (1, 1, 2), but (n_a, m, T_da) is (3, 1, 2): n_a = 3 from /caches/a',
        },
      ],
    });
  });

  it('refuses a cache_id that is no string, or a long one, and one beside caches or inputs', () => {
    const detailOf = (request: object) => refusal(`${net}Backward`, { da: [[[1]]], ...request }).faults[0].detail;
    expect(detailOf({ cache_id: 5 })).toBe('/cache_id is a number, but must be a string of at most 64 characters');
    expect(detailOf({ cache_id: 'x'.repeat(65) })).toBe(
      '/cache_id has 65 characters, but must be a string of at most 64 characters',
    );
    expect(detailOf({ cache_id: 'x', a0: [[1]] })).toMatch(/^\/a0 cannot be given together with \/cache_id/);
  });
});

/** Time step t of a (n, m, T) tensor. */
function at(tensor: Json, t: number): Json {
  return (tensor as number[][][]).map((row) => row.map((example) => example[t]));
}

/** Time steps from … to − 1 of a (n, m, T) tensor. */
function steps(tensor: Json, from: number, to: number): Json {
  return (tensor as number[][][]).map((row) => row.map((example) => example.slice(from, to)));
}

/** Every number as the nearest float32. */
function rounded(tensor: Json): Json {
  return Array.isArray(tensor) ? tensor.map(rounded) : Math.fround(tensor as number);
}

function plus(one: Json, other: Json | undefined): Json {
  return (one as number[][]).map((row, i) => row.map((value, j) => value + ((other as number[][])?.[i][j] ?? 0)));
}
