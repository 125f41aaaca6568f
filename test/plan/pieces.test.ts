import { describe, expect, it } from 'vitest';
import type { SplitRequest } from '../../src/compute/messages.js';
import { answer, machineryWith } from '../../src/compute/worker/request.js';
import { readJson } from '../../src/formats/json/reader.js';
import { readContents, readGroup } from '../../src/formats/safetensors.js';
import { blockBounds, CUTTING } from '../../src/plan/blocks.js';
import { optionsOf } from '../../src/plan/finish.js';
import { firstNonFinite } from '../../src/plan/non-finite.js';
import { type Piece, plannedSlicesIn } from '../../src/plan/pieces.js';
import { KnownPlans, outputsOf, planOf } from '../../src/plan/plan.js';
import type { Request } from '../../src/plan/request.js';
import { reserve } from '../../src/plan/workspace.js';
import type { Fault } from '../../src/tensor/refusal.js';
import type { Sizes } from '../../src/tensor/shapes.js';
import type { GroupMember } from '../../src/tensor/signature.js';
import { type Dtype, elements } from '../../src/tensor/tensor.js';
import { askWith, codec, formats, writeJson } from '../ask.js';
import { builds, fastBuilds } from '../kernels/builds.js';
import { expectClose, flat, type Json, type JsonObject, numbersFrom, operationCalled, tensorsFor } from '../values.js';

const kernels = fastBuilds.at(-1) ?? builds[0];
/** Cut as in the service. */
const service = machineryWith({ kernels, formats });
/** Cut when they are small already, so that many requests can be tried. */
const machinery = machineryWith({ kernels, formats, cutting: { work: 1.5e6, bytes: 2 ** 19, examples: 16 } });

/** For each operation letters of a request that is just large, and whose batch is no multiple of anything. */
const large: Record<string, Sizes> = {
  rnnCellForward: { n_x: 11, n_a: 20, n_y: 5, m: 1281 },
  rnnCellBackward: { n_x: 11, n_a: 20, n_y: 5, m: 437 },
  rnnForward: { n_x: 11, n_a: 20, n_y: 5, m: 41, T_x: 32 },
  rnnBackward: { n_x: 11, n_a: 20, n_y: 5, m: 41, T_x: 13, T_da: 11 },
  lstmCellForward: { n_x: 8, n_a: 16, n_y: 5, m: 521 },
  lstmCellBackward: { n_x: 8, n_a: 16, n_y: 5, m: 173 },
  lstmForward: { n_x: 8, n_a: 16, n_y: 5, m: 41, T_x: 13 },
  lstmBackward: { n_x: 8, n_a: 16, n_y: 5, m: 41, T_x: 6, T_da: 5 },
  gruForward: { n_x: 9, n_a: 17, n_y: 5, m: 41, T_x: 15 },
  gruBackward: { n_x: 9, n_a: 17, n_y: 5, m: 41, T_x: 7, T_da: 6 },
  rnnForwardBackward: { n_x: 11, n_a: 20, n_y: 5, m: 41, T_x: 10 },
  lstmForwardBackward: { n_x: 8, n_a: 16, n_y: 5, m: 41, T_x: 5 },
  gruForwardBackward: { n_x: 9, n_a: 17, n_y: 5, m: 41, T_x: 6 },
};
const ids = Object.keys(large);
const dtypes = ['float64', 'float32'] as const;

/** Numbers small enough that the many weights do not drive the states to ±1. */
function requestFor(id: string, way = 1, seed = 1): JsonObject {
  const choices = { prediction: true, way, extras: true };
  return tensorsFor(operationCalled(id).request, large[id], numbersFrom(seed, 0.2), choices);
}

function read(id: string, body: object): Request {
  const operation = operationCalled(id);
  const values = readJson(Buffer.from(JSON.stringify(body)), operation.request, codec);
  return new KnownPlans(kernels, formats).examine(operation, values, 'json').request;
}

/** The same without blocks and pieces. */
function unsplit(id: string, body: object): { text: string } | { fault: Fault } {
  const request = read(id, body);
  const { operation, dtype } = request;
  const kernels = machinery.kernels[dtype];
  const plan = planOf(machinery.kernels, request, formats);
  const { request: values, answer, scratch, forward, computed, tensors } = reserve(kernels, request, plan);
  operation.run(kernels, values, answer, scratch, forward);
  operation.finish?.(answer, optionsOf(request.values), request.sizes);
  const found = firstNonFinite(computed, operation.time);
  if (found) return { fault: found.fault };
  const [{ slices }] = outputsOf(request, plan, tensors, formats);
  return { text: Buffer.from(formats.json.write(slices)).toString() };
}

function inParts(id: string, body: object, by = machinery): { text: string } | { fault: Fault } {
  const outcome = askWith(by, id, body);
  return outcome.ok ? { text: Buffer.concat(outcome.body).toString() } : { fault: outcome.faults[0] };
}

function partsOf(id: string, body: object, by = machinery): SplitRequest {
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  const result = answer(by, {
    operation: id,
    format: 'json',
    body: bytes,
    slot: 0,
    workLimit: Infinity,
    flopsLimit: Infinity,
    handedOver: 0,
    storage: { id: 'id', expiresAt: 'then', limit: Infinity },
  });
  if (!('blocks' in result)) throw new Error(`${id} is not large`);
  return result;
}

describe('blocks', () => {
  const boundsOf = (dims: Sizes) => {
    const operation = operationCalled('lstmForward');
    return blockBounds({ operation, sizes: dims }, { flops: operation.flops(dims) }, CUTTING);
  };
  const wide = { n_x: 64, n_a: 512, T_x: 64 };

  it.each([
    [1, [0, 1]],
    [31, [0, 31]],
    [32, [0, 16, 32]],
    [41, [0, 20, 41]],
    [50, [0, 16, 33, 50]],
    [127, [0, 18, 36, 54, 72, 90, 108, 127]],
    [1001, [0, 125, 250, 375, 500, 625, 750, 875, 1001]],
  ])('of %i examples have 16 or more, of about the same number, and are 8 at most', (m, bounds) => {
    expect(boundsOf({ ...wide, m })).toEqual(bounds);
  });

  it('are not made of what is large only as text', () => {
    expect(boundsOf({ n_x: 1, n_a: 1, m: 1000, T_x: 1000 })).toEqual([0, 1000]);
  });

  it('follow from the letters alone: n_a one less, and the request is not large', () => {
    const dims = { n_x: 64, n_a: 128, m: 32, T_x: 16 }; // 2 · 32 · 16 · 4 · 128 · 192 ≥ 1e8
    expect(boundsOf(dims)).toHaveLength(3);
    expect(boundsOf({ ...dims, n_a: 127 })).toHaveLength(2);
  });
});

describe('pieces', () => {
  it('hold every row of every tensor once, in the order of the text, at most 16 and of about the same length', () => {
    const body = { ...requestFor('lstmForward', 0), caches: 'inline' };
    const { pieces } = partsOf('lstmForward', body);
    expect(pieces.length).toBeGreaterThan(2);
    expect(pieces.length).toBeLessThanOrEqual(17);
    const rows = new Map<string, number>();
    for (const { planned, from, to } of plannedSlicesIn(pieces)) {
      const { pointer, shape } = planned;
      expect(from, pointer).toBe((rows.get(pointer) ?? 0) % shape[0]);
      rows.set(pointer, to);
    }
    const gates = ['ft', 'it', 'cct', 'ot'].map((gate) => `/caches/${gate}`);
    for (const pointer of ['/a', '/c', ...gates]) expect(rows.get(pointer), pointer).toBe(large.lstmForward.n_a);

    const sizes = pieces.map(({ items }: Piece) => {
      return items.reduce((sum, item) => {
        if (typeof item === 'string') return sum;
        if ('tensor' in item) return sum + elements(item.tensor.shape);
        return sum + elements(item.planned.shape.with(0, item.to - item.from));
      }, 0);
    });
    expect(Math.max(...sizes)).toBeLessThanOrEqual(2 ** 19 / 20);
  });
});

describe.each(ids)('a large request for %s', (id) => {
  it.each(dtypes)('in parts is the same as in one, in %s', (dtype) => {
    const body = { ...requestFor(id), dtype };
    expect(partsOf(id, body).blocks.length).toBeGreaterThan(1);
    const [parts, whole] = [inParts(id, body), unsplit(id, body)];
    if (!('text' in parts && 'text' in whole)) throw new Error('the request was refused');
    if (id.endsWith('Forward')) expect(parts.text === whole.text, 'the same bytes').toBe(true);
    else expectSameGradients(JSON.parse(parts.text).gradients, JSON.parse(whole.text).gradients, dtype);
  });
});

describe.each(ids.filter((id) => !id.includes('Cell')))('a large ragged request for %s', (id) => {
  it.each(dtypes)('in parts is the same as in one, in %s', (dtype) => {
    const choices = { prediction: true, way: 1, extras: true, ragged: true, indices: true };
    const tensors = tensorsFor(operationCalled(id).request, large[id], numbersFrom(3, 0.2), choices);
    const body = { ...tensors, dtype };
    const [parts, whole] = [inParts(id, body), unsplit(id, body)];
    if (!('text' in parts && 'text' in whole)) throw new Error('the request was refused');
    if (id.endsWith('Forward')) expect(parts.text === whole.text, 'the same bytes').toBe(true);
    else expectSameGradients(JSON.parse(parts.text).gradients, JSON.parse(whole.text).gradients, dtype);
  });
});

describe.each(ids.filter((id) => id.endsWith('ForwardBackward')))('a large %s', (id) => {
  it('is clipped by the norm of all blocks together, whatever of it is returned', () => {
    const body = { ...requestFor(id), reduction: 'sum', weights: undefined };
    const whole = JSON.parse(textOf(inParts(id, body)));
    const clip_norm = whole.gradient_norm / 3;
    const { gradients, gradient_norm } = JSON.parse(textOf(inParts(id, { ...body, clip_norm })));
    expect(gradient_norm).toBe(whole.gradient_norm);
    for (const [name, values] of Object.entries<Json>(whole.gradients)) {
      const factor = /^d[Wb]/.test(name) ? 1 / 3 : 1;
      expectClose(name, gradients[name], scaled(values, factor), 'float64');
    }
    const some = ['loss', 'gradients/da0', `gradients/${Object.keys(gradients).at(-1)}`];
    const part = JSON.parse(textOf(inParts(id, { ...body, clip_norm, return: some })));
    expect(Object.keys(part)).toEqual(['loss', 'gradients']);
    expect(part.loss).toBe(whole.loss);
    for (const [name, values] of Object.entries(part.gradients)) expect(values).toEqual(gradients[name]);
    expect(Object.keys(part.gradients)).toHaveLength(2);
  });
});

function textOf(outcome: ReturnType<typeof inParts>): string {
  if ('fault' in outcome) throw new Error(outcome.fault.detail);
  return outcome.text;
}

function scaled(values: Json, factor: number): Json {
  return Array.isArray(values) ? values.map((value) => scaled(value, factor)) : (values as number) * factor;
}

/** Gradients of what belongs to an example are the same; those of the weights are sums in another order. */
function expectSameGradients(parts: JsonObject, whole: JsonObject, dtype: Dtype): void {
  expect(Object.keys(parts)).toEqual(Object.keys(whole));
  for (const [name, expected] of Object.entries(whole)) {
    const [a, b] = [flat(parts[name]), flat(expected)];
    const largest = b.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    const error = b.reduce((max, value, i) => Math.max(max, Math.abs(value - a[i])), 0);
    expect(a.length).toBe(b.length);
    if (/^d[Wb]/.test(name)) expect(error / largest, name).toBeLessThanOrEqual(dtype === 'float64' ? 1e-12 : 1e-5);
    else expect(error, name).toBe(0);
  }
}

describe.each(['rnn', 'lstm'])('%s: large caches', (net) => {
  it.each(dtypes)('inline are those of the unsplit request, and go back with the same gradients, in %s', (dtype) => {
    const forward = { ...requestFor(`${net}Forward`), dtype, caches: 'inline' };
    const parts = inParts(`${net}Forward`, forward);
    expect(parts).toEqual(unsplit(`${net}Forward`, forward));
    if (!('text' in parts)) throw new Error('the request was refused');

    const { a, caches } = JSON.parse(parts.text);
    const da = a; // as good as any
    const { caches: _, ...inputs } = forward;
    const fromCaches = inParts(`${net}Backward`, { caches, da, dtype });
    expect(fromCaches).toEqual(inParts(`${net}Backward`, { ...inputs, da }));
  });
});

describe.each([
  ['rnn', { n_x: 11, n_a: 20, n_y: 5, m: 41, T_x: 128 }],
  ['lstm', { n_x: 8, n_a: 16, n_y: 5, m: 41, T_x: 40 }],
])('%s: large stored caches', (net, dims) => {
  const choices = { prediction: true, way: 0, extras: true };
  const request = tensorsFor(operationCalled(`${net}Forward`).request, dims, numbersFrom(1, 0.2), choices);

  it.each(dtypes)('are the bytes of the unsplit request, and give the gradients of inline ones, in %s', (dtype) => {
    const forward = { ...request, dtype, caches: 'stored' };
    const { pieces } = partsOf(`${net}Forward`, forward);
    expect(pieces.filter(({ destination }) => destination === 'store').length).toBeGreaterThan(1);
    const outcome = askWith(machinery, `${net}Forward`, forward);
    if (!outcome.ok || !outcome.deposit) throw new Error('nothing is stored');
    const group = operationCalled(`${net}Forward`).answer.members.caches as GroupMember;
    const bytes = Uint8Array.from(Buffer.concat(outcome.deposit));
    const caches = readGroup(bytes, readContents(bytes), group, dtype);
    const inline = inParts(`${net}Forward`, { ...forward, caches: 'inline' });
    if (!('text' in inline)) throw new Error('the request was refused');
    expect(inline.text.includes(Buffer.from(writeJson(group, caches, codec)).toString())).toBe(true);

    const { cache_id, cache_expires_at, a, ...states } = JSON.parse(Buffer.concat(outcome.body).toString());
    const { caches: _, ...others } = JSON.parse(inline.text);
    expect({ a, ...states }).toEqual(others);
    const [da, inputs] = [a, { ...forward, caches: undefined }];
    const fromStored = inParts(`${net}Backward`, { cache_id, da, dtype });
    expect(fromStored).toEqual(inParts(`${net}Backward`, { ...inputs, da }));
  });

  it('are refused over their limit, both amounts named, before anything is computed', () => {
    const body = Buffer.from(JSON.stringify({ ...request, caches: 'stored' }));
    const ask = (limit: number) => {
      const storage = { id: 'x', expiresAt: 'y', limit };
      const limits = { workLimit: Infinity, flopsLimit: Infinity };
      const task = { operation: `${net}Forward`, body: Uint8Array.from(body), slot: 0, handedOver: 0 };
      return answer(machinery, { ...task, format: 'json', ...limits, storage });
    };
    const outcome = askWith(machinery, `${net}Forward`, body.toString());
    if (!outcome.ok || !outcome.deposit) throw new Error('nothing is stored');
    const { length } = Buffer.concat(outcome.deposit);
    const detail = `the caches of this request take ${length} bytes, but at most ${length - 1} can be stored`;
    expect(ask(length - 1)).toMatchObject({ code: 'work-too-large', faults: [{ pointer: '/caches', detail }] });
    expect('blocks' in ask(length)).toBe(true);
  });
});

describe('what is large only as text', () => {
  it('is one block and several pieces', () => {
    const dims = { n_x: 1, n_a: 2, n_y: 2, m: 100, T_x: 401 };
    const choices = { prediction: false, way: 0, extras: false };
    const body = tensorsFor(operationCalled('rnnForward').request, dims, numbersFrom(3), choices);
    const { blocks, pieces } = partsOf('rnnForward', body);
    expect([blocks.length, pieces.length > 1]).toEqual([1, true]);
    expect(inParts('rnnForward', body)).toEqual(unsplit('rnnForward', body));
  });

  it('repeats large tensors of the request with every bit', () => {
    const dims = { n_x: 1, n_a: 250, n_y: 2, m: 1 };
    const choices = { prediction: false, way: 0, extras: false };
    const body = tensorsFor(operationCalled('rnnCellForward').request, dims, numbersFrom(3), choices);
    expect(partsOf('rnnCellForward', body).pieces.length).toBeGreaterThan(1);
    const parts = inParts('rnnCellForward', body);
    expect(parts).toEqual(unsplit('rnnCellForward', body));
    if ('text' in parts) expect(JSON.parse(parts.text).cache.parameters).toEqual(body.parameters);
  });
});

describe('a result of a large request that is not finite', () => {
  const random = (next: () => number, n: number) => Math.floor(((next() / 0.2 + 1) / 2) * n);

  /** The innermost array of a tensor, and the index in it, of a random element: of one of two examples. */
  function place(tensor: Json, m: number, next: () => number): { holder: number[]; index: number } {
    const holder = tensor as Json[];
    const index = holder.length === m ? [3, m - 3][random(next, 2)] : random(next, holder.length);
    return Array.isArray(holder[index]) ? place(holder[index], m, next) : { holder: holder as number[], index };
  }

  it.each(ids)('of %s is told as that of the unsplit request', (id) => {
    const next = numbersFrom(7, 0.2);
    const body = requestFor(id);
    // Other large numbers drive the units to ±1, and are gone.
    const isFelt = /(?<!Forward)Backward$/.test(id) ? /^d/ : /^(Wya?|by|targets)$/;
    const felt = (values: JsonObject): Json[] =>
      Object.entries(values).flatMap(([name, value]) => {
        if (typeof value !== 'object') return [];
        if (!Array.isArray(value)) return felt(value as JsonObject);
        return isFelt.test(name) ? [value] : [];
      });
    const all = felt(body);
    let refused = 0;
    for (let i = 0; i < 4; i++) {
      // A few numbers so large that what they are multiplied with, or added to, leaves the range.
      const changed = Array.from({ length: 2 + 6 * i }, () => {
        const { holder, index } = place(all[random(next, all.length)], large[id].m, next);
        const before = [...holder];
        const value = Math.sign(next()) * (i % 2 === 0 ? 1.7e308 : 1e200);
        // One number, or all that stand beside it.
        if (next() > 0) holder[index] = value;
        else holder.fill(value);
        return () => {
          for (const [k, one] of before.entries()) holder[k] = one;
        };
      });
      const [parts, whole] = [inParts(id, body), unsplit(id, body)];
      if ('fault' in whole) {
        refused++;
        expect(parts).toEqual(whole);
      } else expect('text' in parts).toBe(true);
      for (const restore of changed.reverse()) restore();
    }
    expect(refused).toBeGreaterThan(0);
  });

  const zeros = (...shape: number[]): Json => {
    const [n, ...rest] = shape;
    return Array.from({ length: n }, () => (rest.length === 0 ? 0 : zeros(...rest)));
  };

  it('names time step and example as they are in the request', () => {
    // Wya·a + by = 1e308 + 1e308 where a is 1.
    const { n_x, n_a, n_y, m, T_x } = large.rnnForward;
    const [Wax, Wya, by] = [zeros(n_a, n_x), zeros(n_y, n_a), zeros(n_y, 1)] as number[][][];
    [Wax[3][0], Wya[2][3], by[2][0]] = [50, 1e308, 1e308];
    const x = zeros(n_x, m, T_x) as number[][][];
    [x[0][37][5], x[0][2][9]] = [1, 1];
    const parameters = { Wax, Waa: zeros(n_a, n_a), Wya, ba: zeros(n_a, 1), by };
    const fault = {
      pointer: '/y_pred/0/37/5',
      detail: 'y_pred[0, 37, 5] of (n_y, m, T_x) is NaN at time step 5: the result has left the range of float64',
    };
    expect(unsplit('rnnForward', { x, a0: zeros(n_a, m), parameters })).toEqual({ fault });
    expect(inParts('rnnForward', { x, a0: zeros(n_a, m), parameters })).toEqual({ fault });
  });

  it.each([
    ['float64', 1e308],
    ['float32', 2e38],
  ] as const)('is found where only the sum over the blocks leaves the range, in %s', (dtype, size) => {
    // dba is a sum over examples of different blocks; with so many hidden units it is written in several pieces.
    const [n_x, n_a, m] = [300, 301, 32];
    const T = 20;
    const parameters = { Wax: zeros(n_a, n_x), Waa: zeros(n_a, n_a), ba: zeros(n_a, 1) };
    const x = zeros(n_x, m, T) as number[][][];
    const da = zeros(n_a, m, T) as number[][][];
    for (const j of [1, 30]) {
      x[7][j][4] = 1;
      da[290][j][4] = size;
    }
    const body = { x, a0: zeros(n_a, m), parameters, da, dtype };
    const { blocks, pieces } = partsOf('rnnBackward', body, service);
    expect(blocks.length).toBe(2);
    const slices = plannedSlicesIn(pieces).filter(({ planned }) => planned.pointer === '/gradients/dWax');
    expect(slices.length).toBeGreaterThan(1);
    const fault = {
      pointer: '/gradients/dWax/290/7',
      detail: `dWax[290, 7] of (n_a, n_x) is Infinity: the result has left the range of ${dtype}`,
    };
    expect(unsplit('rnnBackward', body)).toEqual({ fault });
    expect(inParts('rnnBackward', body, service)).toEqual({ fault });
  });

  it('is named at the first element, also where a later block has the earlier one', () => {
    const { n_x, n_a, m, T_da } = large.rnnBackward;
    const parameters = { Wax: zeros(n_a, n_x), Waa: zeros(n_a, n_a), ba: zeros(n_a, 1) };
    const x = zeros(n_x, m, T_da) as number[][][];
    const da = zeros(n_a, m, T_da) as number[][][];
    [x[7][1][4], da[15][1][4]] = [1e200, 1e200];
    [x[7][30][4], da[6][30][4]] = [1e200, 1e200];
    const body = { x, a0: zeros(n_a, m), parameters, da };
    expect(unsplit('rnnBackward', body)).toMatchObject({ fault: { pointer: '/gradients/dWax/6/7' } });
    expect(inParts('rnnBackward', body)).toMatchObject({ fault: { pointer: '/gradients/dWax/6/7' } });
  });
});
