import { describe, expect, it } from 'vitest';
import { byId, type Machinery, machineryWith } from '../../src/compute/worker/request.js';
import { formatsWith } from '../../src/formats/formats.js';
import { type OperationEntry, operation } from '../../src/operations/operation.js';
import { dtype } from '../../src/operations/options.js';
import { group, type Members, optional, repeats, same, sharing } from '../../src/tensor/signature.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { askWith, formats, textOf } from '../ask.js';
import { fastBuilds } from '../kernels/builds.js';
import { factor, sum, tensor, whole } from '../symbols.js';
import { type JsonObject, numbersFrom } from '../values.js';

/** What the language of signatures can say, on operations that only tests have: what networks and losses will need. */

const said = { tag: { name: 'Test', description: '' }, summary: '', description: '', time: 'forward' } as const;
/** In several blocks as soon as there are four examples, and in pieces of some numbers. */
const SMALL = { work: 1, bytes: 64, examples: 2 };

/** An operation as the service runs it: in one, and cut into blocks and pieces. */
function both<I extends Members, O extends Members>(
  entry: Omit<OperationEntry<I, O, Members, Members>, keyof typeof said | 'id' | 'path' | 'flops'>,
): (request: object) => JsonObject {
  const made = operation({ ...said, id: 'test', path: '/test', flops: () => 1, ...entry });
  const run = (machinery: Partial<Machinery>, request: object) => {
    const all = { kernels: fastBuilds[0], formats, operations: byId([made]), ...machinery };
    return textOf(askWith(machineryWith(all), 'test', request));
  };
  return (request) => {
    const text = run({}, request);
    expect(run({ cutting: SMALL }, request)).toBe(text);
    expect(run({ cutting: SMALL, formats: formatsWith() }, request)).toBe(text);
    return JSON.parse(text);
  };
}

const fill = ({ data }: Tensor, value: number) => data.fill(value);
const total = ({ data }: Tensor) => [...data].reduce((sum, value) => sum + value, 0);

describe('tensors are known by their pointers', () => {
  it('so two gradients of one name and shape in two groups are two', () => {
    const layer = (name: string) => group(name, '', { dW: sum('n_a n_a', '') });
    const run = both({
      request: group('Request', '', { x: tensor('n_a m', ''), dtype }),
      answer: group('Answer', '', {
        gradients: group('Gradients', '', { first: layer('First'), second: layer('Second') }),
      }),
      run(_kernels, { x: { shape } }, { gradients: { first, second } }) {
        fill(first.dW, shape[1]);
        fill(second.dW, 10 * shape[1]);
      },
    });
    expect(run({ x: [[1, 2, 3, 4]] })).toEqual({ gradients: { first: { dW: [[4]] }, second: { dW: [[40]] } } });
  });

  it('so an answer can compute a member that is called like one of the request', () => {
    const parameters = (name: string, W: ReturnType<typeof factor>) => group(name, '', { W });
    const run = both({
      request: group('Request', '', {
        parameters: parameters('Parameters', factor('n_a n_x', '')),
        gradients: parameters('Gradients', factor('n_a n_x', '')),
        dtype,
      }),
      answer: group('Answer', '', { parameters: group('Updated', '', { W: sum('n_a n_x', '') }) }),
      run(_kernels, { parameters, gradients }, answer) {
        const { data } = answer.parameters.W;
        for (let i = 0; i < data.length; i++) data[i] = parameters.W.data[i] - 0.5 * gradients.W.data[i];
      },
    });
    const request = { parameters: { W: [[1, 2]] }, gradients: { W: [[2, -2]] } };
    expect(run(request)).toEqual({ parameters: { W: [[0, 3]] } });
  });
});

describe('what is shared is said', () => {
  const cache = group('Cache', '', {
    y: tensor('n_a m', ''),
    x: tensor('n_a m', ''),
    c: tensor('n_a m', ''),
    parameters: group('Parameters', '', { W: factor('n_a n_a', ''), b: optional(tensor('n_y 1', '')) }),
  });
  const run = both({
    request: group('Request', '', {
      x: tensor('n_a m', ''),
      c: optional(tensor('n_a m', '')),
      parameters: cache.members.parameters,
      dtype,
    }),
    answer: group('Answer', '', {
      y: tensor('n_a m', ''),
      cache: sharing(cache, {
        y: same('/y'),
        x: repeats('/x'),
        c: repeats('/c'),
        parameters: repeats('/parameters'),
      }),
    }),
    run: (_kernels, { x }, { y }) => y.data.set(x.data.map((value) => 2 * value)),
  });
  const request = { x: [[1, 2, 3, 4, 5]], parameters: { W: [[7]] } };

  it('a member is another one of the answer, or of the request, or of a group that is', () => {
    const c = [[9, 8, 7, 6, 5]];
    const y = [[2, 4, 6, 8, 10]];
    expect(run({ ...request, c })).toEqual({ y, cache: { y, c, ...request } });
  });

  it('what the request leaves out is zero, or is left out', () => {
    const { cache } = run(request) as { cache: JsonObject };
    expect(cache.c).toEqual([[0, 0, 0, 0, 0]]);
    expect(cache.parameters).toEqual({ W: [[7]] });
  });
});

describe('how blocks are joined is declared', () => {
  const request = group('Request', '', { x: tensor('n_x m', ''), dtype });
  const x = [Array.from({ length: 64 }, (_, i) => i)];

  it('sums are added up', () => {
    const answer = group('Answer', '', { sum: sum('n_x', '') });
    const run = both({ request, answer, run: (_kernels, { x }, { sum }) => fill(sum, total(x)) });
    expect(run({ x })).toEqual({ sum: [2016] });
  });

  it('a mean is a sum that is finished once', () => {
    const run = both({
      request,
      answer: group('Answer', '', { mean: sum('', ''), means: sum('n_x', '') }),
      run(_kernels, { x }, { mean, means }) {
        for (const one of [mean, means]) fill(one, total(x));
      },
      finish({ mean, means }, _options, { m }) {
        for (const one of [mean, means]) one.data[0] /= m;
      },
    });
    expect(run({ x })).toEqual({ mean: 31.5, means: [31.5] });
  });

  it('finished sums that are not finite are refused, by their names', () => {
    const made = operation({
      ...said,
      id: 'test',
      path: '/test',
      flops: () => 1,
      request,
      answer: group('Answer', '', { loss: sum('', '') }),
      run() {},
      finish: ({ loss }) => fill(loss, Number.NaN),
    });
    for (const cutting of [SMALL, { ...SMALL, work: Number.POSITIVE_INFINITY, bytes: 1e9 }]) {
      const machinery = machineryWith({ kernels: fastBuilds[0], formats, operations: byId([made]), cutting });
      expect(askWith(machinery, 'test', { x })).toMatchObject({
        code: 'non-finite-result',
        faults: [{ pointer: '/loss', detail: 'loss is NaN: the result has left the range of float64' }],
      });
    }
  });

  it('an answer without examples that is no sum is a mistake in the table', () => {
    const answer = group('Answer', '', { W: tensor('n_x n_x', '') });
    const make = () =>
      operation({ ...said, id: 'test', path: '/test', flops: () => 1, request, answer, run: () => {} });
    expect(make).toThrow('test: /W has no axis of examples, and is not declared as a sum over them');
  });
});

describe('axes are declared', () => {
  it('examples may be any axis: the first, the second, or the third behind the layers', () => {
    const run = both({
      request: group('Request', '', {
        first: tensor('m T_x n_x', ''),
        third: tensor('n_l n_a m', ''),
        dtype,
      }),
      answer: group('Answer', '', {
        first: tensor('m T_x n_x', ''),
        third: tensor('n_l n_a m', ''),
        losses: tensor('m', ''),
      }),
      run(_kernels, request, answer) {
        const [m, T, n] = request.first.shape;
        // Time steps are the slowest, features are contiguous.
        expect(request.first.strides).toEqual([n, m * n, 1]);
        const [, n_a] = request.third.shape;
        expect(request.third.strides).toEqual([m * n_a, 1, n_a]);
        for (const name of ['first', 'third'] as const) {
          answer[name].data.set(request[name].data.map((value) => value + 0.5));
        }
        for (let j = 0; j < m; j++) answer.losses.data[j] = request.first.data[((T - 1) * m + j) * n];
      },
    });
    const next = numbersFrom(3, 8);
    const whole = () => Math.round(next());
    const [m, T, n, n_l, n_a] = [9, 3, 2, 2, 3];
    const nest = (...shape: number[]): never =>
      (shape.length === 0 ? whole() : Array.from({ length: shape[0] }, () => nest(...shape.slice(1)))) as never;
    const [first, third]: number[][][][] = [nest(m, T, n), nest(n_l, n_a, m)];
    const half = (tensor: number[][][]) => tensor.map((rows) => rows.map((row) => row.map((value) => value + 0.5)));
    expect(run({ first, third })).toEqual({
      first: half(first),
      third: half(third),
      losses: first.map((example) => example[T - 1][0]),
    });
  });

  it('whole numbers are cut with their examples, and never read as of the dtype', () => {
    const run = both({
      request: group('Request', '', { x: tensor('n_x m T_x', ''), lengths: whole('m', ''), dtype }),
      answer: group('Answer', '', { sums: tensor('n_x m', ''), kept: sharing(keep, { lengths: repeats('/lengths') }) }),
      run(_kernels, { x, lengths }, { sums }) {
        const [n, m] = x.shape;
        expect(lengths.data).toBeInstanceOf(Int32Array);
        expect(lengths.shape).toEqual([m]);
        for (let j = 0; j < m; j++) {
          for (let t = 0; t < lengths.data[j]; t++) sums.data[j * n] += x.data[(t * m + j) * n];
        }
      },
    });
    const [x, lengths] = [[Array.from({ length: 5 }, (_, j) => [j, j, j])], [3, 1, 2, 3, 1]];
    for (const dtype of ['float64', 'float32']) {
      expect(run({ x, lengths, dtype })).toEqual({ sums: [[0, 1, 4, 9, 4]], kept: { lengths } });
    }
  });
  const keep = group('Kept', '', { lengths: whole('m', '') });

  it('what is no whole number of 32 bits is refused, by its place', () => {
    const made = operation({
      ...said,
      id: 'test',
      path: '/test',
      flops: () => 1,
      request: group('Request', '', { lengths: whole('m', ''), dtype }),
      answer: group('Answer', '', { y: tensor('m', '') }),
      run() {},
    });
    const faultsOf = (request: object) => {
      const outcome = askWith(
        machineryWith({ kernels: fastBuilds[0], formats, operations: byId([made]) }),
        'test',
        request,
      );
      if (outcome.ok) throw new Error('was not refused');
      return outcome.faults.map(({ detail }) => detail);
    };
    expect(faultsOf({ lengths: [1, 2.5] })).toEqual(['/lengths/1 is 2.5, but must be a whole number of 32 bits']);
    expect(faultsOf({ lengths: [1, 3e9] })).toEqual([
      '/lengths/1 is 3000000000, but must be a whole number of 32 bits',
    ]);
    expect(faultsOf({ lengths: 3 })).toEqual(['/lengths is a number, but must be an array of whole numbers, (m)']);
    expect(faultsOf({ lengths: [[1]] })).toEqual(['/lengths has shape (1, 1), but (m) has 1 dimension']);
  });

  it('a shape may be a single number, and have multiples of a symbol', () => {
    const run = both({
      request: group('Request', '', {
        rate: tensor('', ''),
        x: tensor('2*n_a m', ''),
        W: factor('n_a n_a+2*n_x', ''),
        dtype,
      }),
      answer: group('Answer', '', { y: tensor('n_a m', ''), n: sum('', '') }),
      run(_kernels, { rate, x, W }, { y, n }) {
        expect([x.shape[0], W.shape]).toEqual([4, [2, 8]]);
        fill(y, rate.data[0]);
        fill(n, x.shape[1]);
      },
    });
    const W = [Array(8).fill(1), Array(8).fill(1)];
    const x = Array(4).fill([1, 2, 3, 4, 5]);
    const row = Array(5).fill(0.25);
    expect(run({ rate: 0.25, x, W })).toEqual({ y: [row, row], n: 5 });
  });

  it('a multiple that does not fit is explained', () => {
    const made = operation({
      ...said,
      id: 'test',
      path: '/test',
      flops: () => 1,
      request: group('Request', '', { x: tensor('2*n_a m', ''), a: optional(tensor('n_a m', '')), dtype }),
      answer: group('Answer', '', { y: tensor('m', '') }),
      run() {},
    });
    const detailOf = (request: object) => {
      const machinery = machineryWith({ kernels: fastBuilds[0], formats, operations: byId([made]) });
      return askWith(machinery, 'test', request);
    };
    expect(detailOf({ x: [[1], [1], [1]] })).toMatchObject({
      faults: [{ detail: '/x has shape (3, 1), but (2·n_a, m) is (2·n_a, 1)' }],
    });
    expect(detailOf({ x: [[1], [1]], a: [[1], [1]] })).toMatchObject({ code: 'shape-mismatch' });
  });

  it('a symbol that is not declared, or two axes of examples, are mistakes in the table', () => {
    expect(() => tensor('n_x q_typo', '')).toThrow('q_typo in q_typo is not declared');
    expect(() => tensor('m m', '')).toThrow('m m has two axes of batch');
    expect(() => tensor('n_x*2', '')).toThrow('n_x*2 is neither a symbol nor a number of them');
  });
});
