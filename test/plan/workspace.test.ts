import { describe, expect, it } from 'vitest';
import type { Kernels } from '../../src/kernels/kernels.js';
import { reference } from '../../src/kernels/reference.js';
import { operation } from '../../src/operations/operation.js';
import { operations } from '../../src/operations/operations.js';
import { dtype } from '../../src/operations/options.js';
import { membersOf, valuesOf } from '../../src/plan/members.js';
import { planOf } from '../../src/plan/plan.js';
import type { Request } from '../../src/plan/request.js';
import { reserve } from '../../src/plan/workspace.js';
import { bindSymbols, tensorsIn } from '../../src/tensor/shapes.js';
import { group, optional, repeats, same, sharing, type Values } from '../../src/tensor/signature.js';
import { elements, type Numbers, rowMajor, type Tensor } from '../../src/tensor/tensor.js';
import { formats } from '../ask.js';
import { fastBuilds } from '../kernels/builds.js';
import { factor, tensor, whole } from '../symbols.js';
import { numbersFrom, tensorsFor } from '../values.js';

const layout = operation({
  tag: { name: 'Test', description: '' },
  id: 'test',
  path: '/test',
  summary: '',
  description: '',
  time: 'forward',
  flops: () => 1,
  request: group('Request', '', {
    x: tensor('n_x m T_x', ''),
    c: optional(tensor('n_a m', '')),
    lengths: whole('m', ''),
    parameters: group('Parameters', '', { W: factor('n_a n_x', '') }),
    dtype,
  }),
  answer: group('Answer', '', {
    y: tensor('n_a m T_x', ''),
    kept: sharing(
      group('Kept', '', {
        y: tensor('n_a m T_x', ''),
        x: tensor('n_x m T_x', ''),
        c: tensor('n_a m', ''),
        lengths: whole('m', ''),
        parameters: group('Parameters', '', { W: factor('n_a n_x', '') }),
      }),
      {
        y: same('/y'),
        x: repeats('/x'),
        c: repeats('/c'),
        lengths: repeats('/lengths'),
        parameters: repeats('/parameters'),
      },
    ),
  }),
  run() {},
});

const [n_x, n_a, m, T_x] = [2, 3, 4, 5];

function counting(...shape: number[]): Tensor {
  return { shape, strides: rowMajor(shape), data: Float64Array.from({ length: elements(shape) }, (_, i) => i + 1) };
}

function requestOf(more: Values = {}): Request {
  const lengths = { shape: [m], strides: [1], data: Int32Array.from([5, 4, 3, 2]) };
  const parameters = { W: counting(n_a, n_x) };
  const values = { x: counting(n_x, m, T_x), lengths, parameters, dtype: 'float64', ...more };
  const sizes = bindSymbols(layout.tensors.request, values);
  return { operation: layout, values, sizes, dtype: 'float64', format: 'json' };
}

/** Kernels that note what is reserved and what is allocated from it. */
function noting(kernels: Kernels) {
  const reserved: number[] = [];
  const allocated: number[] = [];
  const noted: Kernels = {
    ...kernels,
    elementsFor: (length) => kernels.elementsFor(length),
    reserve(count) {
      reserved.push(count);
      const allocate = kernels.reserve(count);
      return (length) => {
        allocated.push(length);
        return allocate(length);
      };
    },
  };
  return { kernels: noted, reserved, allocated };
}

describe('the members of a request', () => {
  it('are planned where they are computed, and name their origin where they are not', () => {
    const { planned, origins, arranged } = membersOf(requestOf({ c: counting(n_a, m) }));
    expect(planned.map(({ key }) => key)).toEqual(['answer /y']);
    expect(
      origins.answer.map(({ path, from }) => [path.join('/'), 'key' in from ? from.key : from.request.pointer]),
    ).toEqual([
      ['y', 'answer /y'],
      ['kept/y', 'answer /y'],
      ['kept/x', '/x'],
      ['kept/c', '/c'],
      ['kept/lengths', '/lengths'],
      ['kept/parameters/W', '/parameters/W'],
    ]);
    expect(arranged.map(({ pointer }) => pointer)).toEqual(['/x', '/c']);
  });

  it('are planned, too, where the request leaves out what the answer repeats', () => {
    const { planned } = membersOf(requestOf());
    expect(planned.map(({ key, shape }) => [key, shape])).toEqual([
      ['answer /y', [n_a, m, T_x]],
      ['answer /kept/c', [n_a, m]],
    ]);
  });

  it('that nobody has computed are an error', () => {
    const request = requestOf();
    expect(() => valuesOf(membersOf(request), 'answer', request.values, new Map())).toThrow(
      'no tensor was computed for /y',
    );
  });
});

describe('a workspace', () => {
  const workspaceOf = (request: Request, kernels: Kernels = reference.float64) => {
    return reserve(kernels, request, planOf(reference, request, formats));
  };

  it('has the batch where the kernels work, time steps slowest and features contiguous', () => {
    const request = requestOf();
    const { x } = workspaceOf(request).request as { x: Tensor };
    const written = request.values.x as Tensor;
    expect(x.strides).toEqual([1, n_x, m * n_x]);
    expect(x.data.buffer).not.toBe(written.data.buffer);
    for (let i = 0; i < n_x; i++) {
      for (let j = 0; j < m; j++) {
        for (let t = 0; t < T_x; t++) {
          expect(x.data[(t * m + j) * n_x + i]).toBe(written.data[(i * m + j) * T_x + t]);
        }
      }
    }
  });

  it('leaves weights and whole numbers in the memory of the request', () => {
    const request = requestOf();
    const { request: values, answer } = workspaceOf(request);
    expect(values.parameters).toBe(request.values.parameters);
    expect(values.lengths).toBe(request.values.lengths);
    const { kept } = answer as { kept: Values };
    expect(kept.lengths).toBe(request.values.lengths);
    expect((kept.parameters as Values).W).toBe((request.values.parameters as Values).W);
  });

  it('has one tensor for two members of the answer that are the same', () => {
    const { answer, request: values, computed } = workspaceOf(requestOf());
    const { y, kept } = answer as { y: Tensor; kept: Values };
    expect(kept.y).toBe(y);
    expect(kept.x).toBe(values.x);
    expect(computed.map(({ tensor }) => tensor)).toEqual([y, kept.c]);
  });

  it.each(fastBuilds.map((build) => [build.tier, build] as const))(
    'is zero where it is to be filled, after a request that has filled it: %s',
    (_, build) => {
      const fillAll = (tensors: Iterable<{ readonly data: Numbers | Int32Array }>, value: number) => {
        for (const { data } of tensors) data.fill(value);
      };
      const request = requestOf();
      const plan = planOf(build, request, formats);
      fillAll(reserve(build.float64, request, plan).tensors.values(), 7);
      for (const { data } of reserve(build.float64, request, plan).tensors.values()) {
        expect([...data].every((value) => value === 0)).toBe(true);
      }
    },
  );
});

describe.each(operations.map((one) => [one.id, one] as const))('the plan of %s', (_, one) => {
  it.each(fastBuilds.map((build) => [build.tier, build] as const))(
    'reserves once what its tensors and its factors take: %s',
    (_, build) => {
      const sizes = { n_x: 3, n_a: 5, n_y: 2, m: 7, T_x: 4, T_da: 3 };
      const choices = { prediction: true, way: 0, extras: true };
      const body = tensorsFor(one.request, sizes, numbersFrom(1), choices);
      const values = formats.json.read(Buffer.from(JSON.stringify(body)), one.request);
      const bound = bindSymbols(one.tensors.request, values);
      const request: Request = { operation: one, values, sizes: bound, dtype: 'float64', format: 'json' };
      const { numbers } = planOf(build, request, formats);
      const { kernels, reserved, allocated } = noting(build.float64);
      reserve(kernels, request, planOf(build, request, formats));

      expect(reserved).toEqual([numbers]);
      const factors = [...tensorsIn(one.tensors.request, values)].filter(({ member }) => member.isFactor);
      const panels = factors.map(({ tensor: { shape } }) => kernels.elementsForFactor(shape[0], shape[1]));
      const taken = [...allocated.map((length) => kernels.elementsFor(length)), ...panels];
      expect(taken.reduce((sum, count) => sum + count, 0)).toBe(numbers);
    },
  );
});
