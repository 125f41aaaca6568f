import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { KnownWeights } from '../../../src/compute/worker/known-weights.js';
import { machineryWith } from '../../../src/compute/worker/request.js';
import { readJson } from '../../../src/formats/json/reader.js';
import { reference } from '../../../src/kernels/reference.js';
import type { GroupMember, Values } from '../../../src/tensor/signature.js';
import type { Dtype } from '../../../src/tensor/tensor.js';
import { askWith, codec, formats, textOf } from '../../ask.js';
import { allKernels, builds, fastBuilds } from '../../kernels/builds.js';
import { type Json, type JsonObject, numbersFrom, operationCalled, tensorsFor } from '../../values.js';

const dims = { n_x: 3, n_a: 5, n_y: 2, m: 2, T_x: 4, T_da: 3 };
const requestFor = (id: string, seed: number, choices = { prediction: true, way: 1, extras: true }): JsonObject => {
  return tensorsFor(operationCalled(id).request, dims, numbersFrom(seed), choices);
};

const signature = operationCalled('rnnForward').request;

const { parameters: _, ...others } = requestFor('rnnForward', 1);
const parameters = (seed: number) => JSON.stringify(requestFor('rnnForward', seed).parameters);
const body = (weights: string, more = '') =>
  `{"x":${JSON.stringify(others.x)},${more}"a0":${JSON.stringify(others.a0)},"parameters":${weights}}`;
/** Reads the body of a request that is served. */
const read = (known: KnownWeights, text: Buffer, of: GroupMember = signature): Values => {
  const look = known.look();
  const values = readJson(text, of, codec, look);
  look.accept(values.dtype as Dtype);
  return values;
};
/** Reads a body; tells whether its weights were known. */
const isKnown = (known: KnownWeights, text: string): boolean => {
  const before = [known.hitRate, lookups.get(known) ?? 0];
  read(known, Buffer.from(text));
  lookups.set(known, before[1] + 1);
  return Math.round(known.hitRate * (before[1] + 1) - before[0] * before[1]) === 1;
};
const lookups = new WeakMap<KnownWeights, number>();

const weightsOf = (values: Values) => values.parameters as Values;
/** What these weights take where matrices are multiplied with as they are. */
const bytesOf = (text: string) => {
  const tensors: number[][][] = Object.values(JSON.parse(text));
  return 1024 + text.length + tensors.reduce((sum, rows) => sum + 1024 + 8 * rows.flat().length, 0);
};

describe('weights that were read before', () => {
  it('are known by their text, and are the same tensors then', () => {
    const known = new KnownWeights(1e6, reference);
    const text = Buffer.from(body(parameters(1)));
    const first = weightsOf(read(known, text));
    expect(known.hitRate).toBe(0);
    const second = weightsOf(read(known, text));
    expect(known.hitRate).toBe(0.5);
    expect(second).toBe(first);
    expect(second).toEqual(weightsOf(readJson(text, signature)));
    expect(weightsOf(read(known, Buffer.from(body(parameters(2)))))).not.toBe(first);
    expect(known.hitRate).toBe(1 / 3);
  });

  it('are known wherever they stand in the body, and whatever stands around them', () => {
    const known = new KnownWeights(1e6, reference);
    expect(isKnown(known, body(parameters(1)))).toBe(false);
    expect(isKnown(known, body(parameters(1), '"caches":"inline",'))).toBe(true);
    expect(
      isKnown(
        known,
        `  {"parameters" :  ${parameters(1)} , ${body(parameters(1)).slice(1, body('').indexOf(',"parameters"'))}}`,
      ),
    ).toBe(true);
  });

  it('are not known with other white space, another order, or another way to write a number', () => {
    const known = new KnownWeights(1e6, reference);
    const text = parameters(1);
    expect(isKnown(known, body(text))).toBe(false);
    expect(isKnown(known, body(text.replace(',', ', ')))).toBe(false);
    expect(isKnown(known, body(`${text.slice(0, -1)} }`))).toBe(false);
    expect(isKnown(known, body(text.replace(/(\d)\]\]\}$/, '$10]]}')))).toBe(false);
    expect(isKnown(known, body(JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(text)).reverse()))))).toBe(
      false,
    );
    expect(isKnown(known, body(text))).toBe(true);
  });

  it('are told apart by their end alone', () => {
    const known = new KnownWeights(1e6, reference);
    const text = parameters(1);
    const other = text.replace(/\d\]\]\}$/, (end) => `${(Number(end[0]) + 1) % 10}]]}`);
    expect(other.slice(0, -4)).toBe(text.slice(0, -4));
    expect([isKnown(known, body(text)), isKnown(known, body(other))]).toEqual([false, false]);
    const last = (one: string) => {
      const { by } = weightsOf(read(known, Buffer.from(body(one)))) as unknown as {
        by: { data: number[] };
      };
      return by.data[1];
    };
    expect(last(text)).toBe(JSON.parse(text).by[1][0]);
    expect(last(other)).toBe(JSON.parse(other).by[1][0]);
  });

  it('are known for one type of numbers only', () => {
    const known = new KnownWeights(1e6, reference);
    const of = (dtype: string) => body(parameters(1), `"dtype":"${dtype}",`);
    expect([isKnown(known, of('float64')), isKnown(known, of('float32'))]).toEqual([false, false]);
    expect([isKnown(known, of('float64')), isKnown(known, of('float32'))]).toEqual([true, true]);
    const { Wax } = weightsOf(read(known, Buffer.from(of('float32')))) as {
      Wax: { data: object };
    };
    expect(Wax.data).toBeInstanceOf(Float32Array);
  });

  it('are known for one net only', () => {
    const known = new KnownWeights(1e6, reference);
    const readAs = (id: string, text: string) => read(known, Buffer.from(text), operationCalled(id).request);
    const text = body(parameters(1));
    readAs('rnnForward', text);
    expect(() => readAs('lstmForward', text)).toThrow('Wax is unknown');
    expect(known.hitRate).toBe(0);
  });

  it('stay what they are when the body and the memory they were read in are used for something else', () => {
    const known = new KnownWeights(1e6, reference);
    const bytes = Buffer.from(body(parameters(1)));
    const expected = weightsOf(readJson(Buffer.from(bytes), signature));
    read(known, bytes);
    bytes.fill(0);
    read(known, Buffer.from(body(parameters(2))));
    expect(weightsOf(read(known, Buffer.from(body(parameters(1)))))).toEqual(expected);
  });

  it('with a fault are not kept, nor is what is too short to be worth it', () => {
    const known = new KnownWeights(1e6, reference);
    const faulty = body(parameters(1).replace('[[', '[[true,'));
    for (const _ of [1, 2]) expect(() => read(known, Buffer.from(faulty))).toThrow();
    const tiny = '{"x":[[[1]]],"a0":[[1]],"parameters":{"Wax":[[1]],"Waa":[[1]],"ba":[[1]]}}';
    for (const _ of [1, 2]) read(known, Buffer.from(tiny));
    expect(known.hitRate).toBe(0);
  });

  it('do not hide faults of other members', () => {
    const known = new KnownWeights(1e6, reference);
    isKnown(known, body(parameters(1)));
    const faults = (text: string) => {
      const outcome = askWith(machineryWith({ kernels: builds[0], formats, weights: known }), 'rnnForward', text);
      return outcome.ok ? [] : outcome.faults.map(({ pointer }) => pointer);
    };
    expect(faults(body(parameters(1)))).toEqual([]);
    expect(faults(body(parameters(1), '"wrong":1,'))).toEqual(['/wrong']);
    expect(faults(body(parameters(1)).replace('}}', '}')).length).toBe(1);
    expect(faults(`${body(parameters(1)).slice(0, -1)},"x":[[[1]]]}`)).toEqual(['/x']);
    expect(faults(`${body(parameters(1)).slice(0, -1)},"parameters":${parameters(1)}}`)).toEqual(['/parameters']);
    expect(faults(body(parameters(1)).replace('"x":[[[', '"x":[[[1,')).length).toBe(1);
    // Weights that are known are checked with the others: a0 contradicts them.
    expect(faults(body(parameters(1)).replace(/"a0":\[\[/, '"a0":[[1,1],['))).toEqual(['/a0']);
  });

  it('are not taken for whole in a body that ends within them, or goes on wrongly behind them', () => {
    const known = new KnownWeights(1e6, reference);
    const text = body(parameters(1));
    isKnown(known, text);
    const start = text.indexOf('"parameters":') + '"parameters":'.length;
    for (let end = start; end < text.length; end++) {
      expect(() => read(known, Buffer.from(text.slice(0, end)))).toThrow();
    }
    for (const end of ['}', ']', ',', 'x', '{}']) {
      expect(() => read(known, Buffer.from(text + end))).toThrow();
      expect(() => read(known, Buffer.from(text.slice(0, -1) + end + end))).toThrow();
    }
  });
});

describe('the limit', () => {
  const texts = Array.from({ length: 30 }, (_, seed) => parameters(seed));

  it('drops what was used least recently', () => {
    const limit = texts.slice(0, 3).reduce((sum, text) => sum + bytesOf(text) + 20, 0);
    const known = new KnownWeights(limit, reference);
    const ask = (i: number) => isKnown(known, body(texts[i]));
    expect([ask(0), ask(1), ask(2)]).toEqual([false, false, false]);
    expect([ask(0), ask(2)]).toEqual([true, true]);
    expect(ask(3)).toBe(false); // 1 goes
    expect([ask(0), ask(2), ask(3)]).toEqual([true, true, true]);
    expect(ask(1)).toBe(false); // 0 goes
    expect([ask(2), ask(3), ask(1)]).toEqual([true, true, true]);
    expect(ask(0)).toBe(false);
  });

  it('does not keep what is larger than it alone, and loses nothing for it', () => {
    const known = new KnownWeights(bytesOf(texts[0]) + 20, reference);
    const large = tensorsFor(signature, { ...dims, n_x: 30 }, numbersFrom(1), {
      prediction: true,
      way: 0,
      extras: true,
    });
    expect(isKnown(known, body(texts[0]))).toBe(false);
    for (const _ of [1, 2]) expect(isKnown(known, body(JSON.stringify(large.parameters)))).toBe(false);
    expect(isKnown(known, body(texts[0]))).toBe(true);
  });

  it.each([0, 1])('of %i bytes keeps nothing', (limit) => {
    const known = new KnownWeights(limit, reference);
    for (const _ of [1, 2]) expect(isKnown(known, body(texts[0]))).toBe(false);
  });

  it('of weights that begin alike keeps the 8 that were used last', () => {
    // Zeros first: the first 128 bytes are the same.
    const alike = texts.map((text, i) => {
      const weights = JSON.parse(text);
      weights.Wax = new Array(5).fill([0, 0, 0]);
      weights.Waa = new Array(5).fill([0, 0, 0, 0, 0]);
      weights.Wya = new Array(2).fill([0, 0, 0, 0, 0]);
      weights.ba[0][0] = i;
      return JSON.stringify({ Wax: weights.Wax, Waa: weights.Waa, Wya: weights.Wya, ...weights });
    });
    const known = new KnownWeights(1e6, reference);
    const ask = (i: number) => isKnown(known, body(alike[i]));
    for (let i = 0; i < 8; i++) expect(ask(i)).toBe(false);
    for (let i = 0; i < 8; i++) expect(ask(i)).toBe(true);
    expect(ask(0)).toBe(true);
    expect(ask(8)).toBe(false); // 1 goes
    expect(ask(0)).toBe(true);
    expect(ask(1)).toBe(false);
  });
});

describe('what the weights take', () => {
  const LIMIT = 8e6;
  const machineryOf = () => {
    const weights = new KnownWeights(LIMIT, fastBuilds[0]);
    return { ...machineryWith({ kernels: fastBuilds[0], formats }), weights };
  };
  /** Bytes that are in use beside what was before, when the weights of so many requests have come and gone. */
  function bytesAfter(count: number, requestOf: (i: number) => string): number {
    const machinery = machineryOf();
    askWith(machinery, 'lstmCellForward', requestOf(-1));
    const before = bytesInUse();
    for (let i = 0; i < count; i++) for (const _ of [1, 2]) textOf(askWith(machinery, 'lstmCellForward', requestOf(i)));
    return bytesInUse() - before;
  }
  /** Requests of one shape that differ in one weight. */
  const requests = (n_x: number, n_a: number) => {
    const values = tensorsFor(operationCalled('lstmCellForward').request, { n_x, n_a, n_y: 1, m: 1 }, numbersFrom(1), {
      prediction: false,
      way: 0,
      extras: false,
    });
    const here = 123456.75;
    ((values.parameters as JsonObject).Wf as Json[][])[0][0] = here;
    const [before, after] = JSON.stringify({ ...values, dtype: 'float32' }).split(String(here));
    return (first: number) => before + first + after;
  };

  it('is not more than the limit, where there are many small ones', () => {
    expect(bytesAfter(4000, requests(1, 1))).toBeLessThan(1.2 * LIMIT);
  });

  it('is not more than the limit, where panels are larger than matrices', () => {
    expect(bytesAfter(100, requests(5000, 1))).toBeLessThan(1.2 * LIMIT);
  });

  it('is no waste of the limit', () => {
    const machinery = machineryOf();
    const request = requests(1, 1);
    for (const _ of [1, 2]) for (let i = 0; i < 500; i++) askWith(machinery, 'lstmCellForward', request(i));
    expect(machinery.weights.hitRate).toBe(1 / 2);
  });
});

/** Of this thread: objects, and numbers outside of them. */
function bytesInUse(): number {
  setFlagsFromString('--expose-gc');
  for (const _ of [1, 2]) runInNewContext('gc')();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const withWeights = [
  ['rnnCellForward', 'parameters'],
  ['rnnCellBackward', 'cache.parameters'],
  ['rnnForward', 'parameters'],
  ['rnnBackward', 'parameters'],
  ['rnnBackward', 'caches.parameters'],
  ['lstmCellForward', 'parameters'],
  ['lstmCellBackward', 'cache.parameters'],
  ['lstmForward', 'parameters'],
  ['lstmBackward', 'parameters'],
  ['lstmBackward', 'caches.parameters'],
] as const;

describe.each(withWeights)('%s with known %s', (id, where) => {
  it.each(allKernels)('gives the same bytes on $tier $dtype', ({ tier, dtype }) => {
    const kernels = builds.find((build) => build.tier === tier) ?? fastBuilds[0];
    const way = where.startsWith('caches') ? 0 : 1;
    const request = { ...requestFor(id, 1, { prediction: true, way, extras: true }), dtype } as JsonObject;
    const holder = where.includes('.') ? (request[where.split('.')[0]] as JsonObject) : request;
    expect(holder.parameters).toBeDefined();
    const alone = textOf(askWith(machineryWith({ kernels, formats }), id, request));
    const known = new KnownWeights(1e6, reference);
    const ask = (one: JsonObject) => textOf(askWith(machineryWith({ kernels, formats, weights: known }), id, one));
    expect(ask(request)).toBe(alone);
    // Another request between: other weights, in the memory that these were in.
    ask({ ...requestFor(id, 2, { prediction: true, way, extras: true }), dtype });
    for (const _ of [1, 2, 3]) expect(ask(request)).toBe(alone);
    expect(known.hitRate).toBeCloseTo(3 / 5, 10);
  });
});

describe('weights that forward and backward operations share', () => {
  it('are read once', () => {
    const known = new KnownWeights(1e6, reference);
    const machinery = machineryWith({ kernels: fastBuilds[0], formats, weights: known });
    const { parameters: weights, ...rest } = requestFor('lstmBackward', 1);
    const { da, dc, ...inputs } = rest as Record<string, Json>;
    const forward = { ...inputs, parameters: weights, caches: 'inline' };
    const { caches } = JSON.parse(textOf(askWith(machinery, 'lstmForward', forward)));
    const fromInputs = textOf(askWith(machinery, 'lstmBackward', { ...inputs, parameters: weights, da, dc }));
    expect(known.hitRate).toBe(1 / 2);
    expect(textOf(askWith(machinery, 'lstmBackward', { caches, da, dc }))).toBe(fromInputs);
    expect(known.hitRate).toBe(2 / 3);
  });
});
