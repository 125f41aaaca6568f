import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KnownWeights } from '../../src/compute/worker/known-weights.js';
import { machineryWith } from '../../src/compute/worker/request.js';
import { reference } from '../../src/kernels/reference.js';
import { askWith, formats, textOf } from '../ask.js';
import { fastBuilds } from '../kernels/builds.js';
import { type Json, type JsonObject, numbersFrom, operationCalled, tensorsFor } from '../values.js';
import { scrape } from './monitoring/scrape.js';
import { type Started, start } from './start.js';

const WORK_LIMIT = 100_000;
const request = (seed: number, dims = {}): JsonObject =>
  tensorsFor(
    operationCalled('lstmForward').request,
    { n_x: 3, n_a: 4, n_y: 2, m: 2, T_x: 4, T_da: 4, ...dims },
    numbersFrom(seed),
    { prediction: true, way: 1, extras: true },
  );

/** What must be refused, each with weights that never came before. */
const wrong = (change: (values: JsonObject, parameters: JsonObject, seed: number) => void) => (seed: number) => {
  const values = request(seed);
  change(values, values.parameters as JsonObject, seed);
  return JSON.stringify(values);
};
const weightOf = (Wf: (of: Json[][], seed: number) => Json) =>
  wrong((_, parameters, seed) => {
    parameters.Wf = Wf(parameters.Wf as Json[][], seed);
  });
const kinds: Record<string, (seed: number) => string> = {
  'a matrix of weights with one dimension': weightOf((Wf) => Wf[0]),
  'a matrix of weights with one dimension and one number': weightOf((_, seed) => [seed]),
  'a matrix of weights with three dimensions': weightOf((Wf) => [Wf]),
  'a matrix of weights with eight dimensions': weightOf((Wf) => [[[[[[Wf]]]]]]),
  'a matrix of weights with a hundred dimensions': (seed) =>
    weightOf(() => 'deep')(seed).replace('"deep"', `${'['.repeat(100)}${seed}${']'.repeat(100)}`),
  'a number for a matrix of weights': weightOf((_, seed) => seed),
  'a matrix of weights of another shape': weightOf((Wf) => Wf.slice(1)),
  'a matrix of weights that is ragged': weightOf((Wf) => [...Wf.slice(1), [1]]),
  'a matrix of weights that is empty': weightOf(() => []),
  'a bias with one dimension': wrong((_, parameters) => {
    parameters.bo = [1, 2, 3, 4];
  }),
  'weights that are too large for their type': (seed) => weightOf(() => [[1]])(seed).replace('[[1]]', '[[1e999]]'),
  'weights without one of them': wrong((_, parameters) => {
    delete parameters.bo;
  }),
  'weights with an unknown one': wrong((_, parameters) => {
    parameters.Wz = parameters.Wf;
  }),
  'an unknown member behind the weights': wrong((values) => {
    values.zz = 1;
  }),
  'the weights twice': (seed) => `${wrong(() => {})(seed).slice(0, -1)},"parameters":{}}`,
  'a body that ends too early': (seed) => wrong(() => {})(seed).slice(0, -1),
  'a body that goes on behind its end': (seed) => `${wrong(() => {})(seed)}]`,
  'no x': wrong((values) => {
    delete values.x;
  }),
  'an x with two dimensions': wrong((values) => {
    values.x = (values.x as Json[])[0];
  }),
  'an a0 of another shape, before weights that are right': (seed) => {
    const { parameters, ...others } = request(seed);
    return JSON.stringify({ ...others, a0: [[1]], parameters });
  },
  'an unknown type of numbers': wrong((values) => {
    values.dtype = 'float16';
  }),
  'too much to compute': (seed) => JSON.stringify(request(seed, { T_x: 500 + seed })),
  'a result that is not finite': wrong((_, parameters, seed) => {
    parameters.Wy = new Array(2).fill(new Array(4).fill(1e308));
    parameters.by = [[1e308], [seed]];
    parameters.bf = parameters.bi = parameters.bc = parameters.bo = new Array(4).fill([1e3]);
  }),
};
const bodies = (count: number) => Array.from({ length: count }, (_, i) => Object.values(kinds)[i % SIZE](1000 + i));
const SIZE = Object.keys(kinds).length;

describe('a refused request', () => {
  const served = [1, 2, 3, 4, 5].map((seed) => JSON.stringify(request(seed)));
  const machineryOf = () => {
    const kernels = fastBuilds[0];
    return { ...machineryWith({ kernels, formats }), weights: new KnownWeights(200_000, kernels) };
  };

  it.each(Object.entries(kinds))('with %s leaves nothing behind in a worker', (_, kind) => {
    const machinery = machineryOf();
    const ask = (body: string) => askWith(machinery, 'lstmForward', body, WORK_LIMIT);
    const answers = served.map((body) => textOf(ask(body)));
    expect(machinery.weights.hitRate).toBe(0);
    for (let seed = 1000; seed < 1040; seed++) expect(ask(kind(seed)).ok).toBe(false);
    expect(machinery.weights.hitRate).toBe(0);
    expect(served.map((body) => textOf(ask(body)))).toEqual(answers);
    expect(machinery.weights.hitRate).toBe(1 / 2);
    // And what is new can still be kept.
    for (const _ of [1, 2]) textOf(ask(JSON.stringify(request(6))));
    expect(machinery.weights.hitRate).toBe(6 / 12);
  });

  it('that has weights which are known does not make them the ones that were used last', () => {
    const texts = served.map((body) => JSON.stringify(JSON.parse(body).parameters));
    const tensors = Object.values(JSON.parse(texts[0]) as Record<string, number[][]>);
    const bytes = 1024 + texts[0].length + tensors.reduce((sum, rows) => sum + 1024 + 8 * rows.flat().length, 0);
    const parameters = new KnownWeights(5.5 * bytes, reference); // has room for five, not for six
    let asked = 0;
    const isKnown = (body: string) => {
      const before = parameters.hitRate * asked;
      textOf(askWith(machineryWith({ kernels: reference, formats, weights: parameters }), 'lstmForward', body));
      return Math.round(parameters.hitRate * ++asked - before) === 1;
    };
    for (const body of served) expect(isKnown(body)).toBe(false);
    const outcome = askWith(
      machineryWith({ kernels: reference, formats, weights: parameters }),
      'lstmForward',
      `${served[0].slice(0, -1)},"z":1}`,
    );
    expect(outcome.ok).toBe(false);
    expect(isKnown(JSON.stringify(request(6)))).toBe(false); // the first one goes
    expect(isKnown(served[1])).toBe(true);
    expect(isKnown(served[0])).toBe(false);
  });

  it('does not add to the plans that a worker knows', () => {
    const shapes = JSON.stringify(request(1));
    const { float64, ...build } = fastBuilds[0];
    let plans = 0;
    const elementsFor = (length: number) => {
      plans++;
      return float64.elementsFor(length);
    };
    const counting = machineryWith({ kernels: { ...build, float64: { ...float64, elementsFor } }, formats });
    textOf(askWith(counting, 'lstmForward', shapes));
    const first = plans;
    expect(first).toBeGreaterThan(0);
    for (let i = 0; i < 300; i++) askWith(counting, 'lstmForward', kinds['too much to compute'](i), WORK_LIMIT);
    plans = 0;
    textOf(askWith(counting, 'lstmForward', shapes));
    expect(plans).toBe(0);
  });
});

describe('a thousand refused requests of all kinds', () => {
  let service: Started;
  beforeAll(async () => {
    service = await start({ workers: 1, workLimit: WORK_LIMIT, weightsLimit: 200_000 });
  });
  afterAll(() => service.stop());

  const post = async (body: string) => {
    const answer = await fetch(`${service.url}/v1/lstm/forward`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    await answer.arrayBuffer();
    return answer;
  };
  /** The median of what reading takes, in milliseconds, and what is known of the weights. */
  const decoding = async (body: string) => {
    const decodes: number[] = [];
    let known = 0;
    for (let i = 0; i < 100; i++) {
      const answer = await post(body);
      expect(answer.status).toBe(200);
      const timing = answer.headers.get('server-timing') ?? '';
      decodes.push(Number(/decode;dur=([\d.]+)/.exec(timing)?.[1]));
      known = Number(/desc="(\d+)% known"/.exec(timing)?.[1]);
    }
    return { ms: decodes.sort((a, b) => a - b)[50], known };
  };

  it('leave the share of known weights, the speed and every number of /metrics as they were', async () => {
    // Weights are nearly all of it.
    const body = JSON.stringify(request(1, { n_x: 20, n_a: 10, m: 1, T_x: 1 }));
    const before = await decoding(body);
    expect(before.known).toBe(99);
    for (const wrongs = bodies(1000); wrongs.length > 0; ) {
      for (const { status } of await Promise.all(wrongs.splice(0, 10).map(post))) {
        expect([400, 413, 422]).toContain(status);
      }
    }
    const after = await decoding(body);
    expect(after.known).toBe(100); // 199 of 200
    expect(after.ms).toBeLessThan(2 * before.ms + 0.05);
    const other = await decoding(JSON.stringify(request(2, { n_x: 20, n_a: 10, m: 1, T_x: 1 })));
    expect(other.known).toBe(99); // 298 of 300
    expect(other.ms).toBeLessThan(2 * before.ms + 0.05);
    const samples = await scrape(service.url);
    expect(samples.filter(({ value }) => !(value >= 0))).toEqual([]);
    expect(service.pool.memory.used).toBe(0);
  });
});
