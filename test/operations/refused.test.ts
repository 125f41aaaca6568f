import { describe, expect, it } from 'vitest';
import { askJson, refusal } from '../ask.js';
import { type JsonObject, numbersFrom, operationCalled, tensorsFor } from '../values.js';

/** What a request can get wrong with lengths, indices, losses, the reset gate and what it wants back. */

const dims = { n_x: 3, n_a: 2, n_y: 4, m: 2, T_x: 3, T_da: 3 };

function requestFor(id: string, more: Partial<Parameters<typeof tensorsFor>[3]> = {}): JsonObject {
  const choices = { prediction: true, way: 1, extras: false, ...more };
  return tensorsFor(operationCalled(id).request, dims, numbersFrom(1), choices);
}

/** The only fault of a request that differs from a right one in these members. */
function faultOf(id: string, members: JsonObject, more?: Parameters<typeof requestFor>[1]) {
  const { code, faults } = refusal(id, { ...requestFor(id, more), ...members });
  expect(faults).toHaveLength(1);
  return { code, ...faults[0] };
}

describe('lengths', () => {
  it.each([
    [[1, 4], '/lengths/1', '/lengths/1 is 4, but must be from 1 to T_x = 3'],
    [[0, 3], '/lengths/0', '/lengths/0 is 0, but must be from 1 to T_x = 3'],
    [[1, -2], '/lengths/1', '/lengths/1 is -2, but must be from 1 to T_x = 3'],
    [[1.5, 2], '/lengths/0', '/lengths/0 is 1.5, but must be a whole number of 32 bits'],
  ])('%j are refused', (lengths, pointer, detail) => {
    for (const id of ['rnnForward', 'lstmBackward', 'gruForwardBackward']) {
      expect(faultOf(id, { lengths })).toEqual({ code: 'invalid-tensor', pointer, detail });
    }
  });

  it('are one for each example', () => {
    expect(faultOf('lstmForward', { lengths: [1, 2, 3] })).toEqual({
      code: 'shape-mismatch',
      pointer: '/lengths',
      detail: '/lengths has shape (3), but (m) is (2): m = 2 from /x',
    });
  });

  it('of caches are not overruled', () => {
    const { caches } = askJson('gruForward', { ...requestFor('gruForward'), lengths: [3, 1], caches: 'inline' });
    const { da } = requestFor('gruBackward');
    expect(refusal('gruBackward', { caches, da, lengths: [3, 2] })).toEqual({
      code: 'invalid-tensor',
      faults: [{ pointer: '/lengths/1', detail: '/lengths/1 is 2, but the caches have length 1 there' }],
    });
    expect(askJson('gruBackward', { caches, da, lengths: [3, 1] })).toEqual(askJson('gruBackward', { caches, da }));
  });
});

describe('ids', () => {
  it('below 0 or from n_x on are refused, by their place', () => {
    for (const id of ['rnnForward', 'lstmBackward', 'gruForwardBackward']) {
      const ids = [
        [0, 1, 2],
        [2, 3, 1],
      ];
      expect(faultOf(id, { ids }, { indices: true })).toEqual({
        code: 'invalid-tensor',
        pointer: '/ids/1/1',
        detail: '/ids/1/1 is 3, but must be from 0 to n_x − 1 = 2',
      });
    }
  });

  it('and x are not given together, and one of them is needed', () => {
    const { x, ...others } = requestFor('rnnForward');
    const ids = [
      [0, 1, 2],
      [2, 1, 0],
    ];
    expect(refusal('rnnForward', { x, ids, ...others }).faults).toEqual([
      { pointer: '/ids', detail: '/ids cannot be given together with /x: one of them is enough' },
    ]);
    expect(refusal('rnnForward', others).faults).toEqual([
      {
        pointer: '/x',
        detail: '/x is missing (input sequence, (n_x, m, T_x)); ids may stand for it',
      },
    ]);
    expect(askJson('rnnForward', { ids, ...others })).toBeDefined();
  });

  it('are columns of the weights: the answer is that of a one-hot x', () => {
    for (const net of ['rnn', 'lstm', 'gru']) {
      const { x: _, ...others } = requestFor(`${net}Forward`);
      const ids = [
        [0, 2, 1],
        [2, 2, 0],
      ];
      const x = [0, 1, 2].map((k) => ids.map((row) => row.map((id) => (id === k ? 1 : 0))));
      expect(askJson(`${net}Forward`, { ids, ...others })).toEqual(askJson(`${net}Forward`, { x, ...others }));
    }
  });
});

describe('return', () => {
  it('names members that there are', () => {
    expect(faultOf('lstmForward', { return: ['a', 'z'] })).toEqual({
      code: 'invalid-request',
      pointer: '/return/1',
      detail: '/return/1 is "z", but must be one of a, y, c, a_last and c_last',
    });
    expect(faultOf('rnnBackward', { return: ['gradients/dWf'] }).detail).toBe(
      '/return/0 is "gradients/dWf", but must be one of gradients, gradients/dx, gradients/da0, gradients/dWax, gradients/dWaa and gradients/dba',
    );
    expect(faultOf('rnnForward', { return: [] }).detail).toBe('/return is empty, but must have at least one name');
    expect(faultOf('rnnForward', { return: ['a', 5] })).toMatchObject({ pointer: '/return/1' });
    expect(faultOf('rnnForward', { return: 'a' }).detail).toBe('/return is a string, but must be an array of strings');
  });

  it('names members that this request has', () => {
    const plain = requestFor('lstmForward', { prediction: false });
    expect(refusal('lstmForward', { ...plain, return: ['y'] }).faults).toEqual([
      { pointer: '/return/0', detail: '/return/0 is "y", which the answer to this request does not have' },
    ]);
    const request = { ...requestFor('gruForwardBackward', { indices: true }), return: ['gradients/dx'] };
    expect(refusal('gruForwardBackward', request).faults[0].pointer).toBe('/return/0');
  });

  it('leaves out what is not listed, and changes nothing else', () => {
    for (const id of ['rnnForward', 'lstmForward', 'gruForward', 'lstmBackward', 'lstmForwardBackward']) {
      const request = requestFor(id, { ragged: true });
      const whole = askJson(id, request);
      const flat = (answer: JsonObject): [string, unknown][] =>
        Object.entries(answer).flatMap(([name, value]) => {
          if (typeof value !== 'object' || Array.isArray(value)) return [[name, value]];
          return flat(value as JsonObject).map(([inner, value]): [string, unknown] => [`${name}/${inner}`, value]);
        });
      for (const [name, value] of flat(whole)) {
        expect(flat(askJson(id, { ...request, return: [name] }))).toEqual([[name, value]]);
      }
    }
  });

  it('of the states after the last step has each example’s own', () => {
    for (const net of ['rnn', 'lstm', 'gru']) {
      const lengths = [1, 3];
      const request = { ...requestFor(`${net}Forward`), lengths };
      const { a } = askJson(`${net}Forward`, request) as { a: number[][][] };
      const last = a.map((unit) => unit.map((steps, j) => steps[lengths[j] - 1]));
      expect(askJson(`${net}Forward`, { ...request, return: ['a_last'] })).toEqual({ a_last: last });
      expect(askJson(`${net}Forward`, { ...request, return: ['a', 'a_last'] })).toEqual({ a, a_last: last });
    }
  });
});

describe('a loss', () => {
  it('needs predictions', () => {
    const { parameters, ...others } = requestFor('gruForwardBackward');
    const { Wy: _, by: __, ...rest } = parameters as JsonObject;
    expect(refusal('gruForwardBackward', { ...others, parameters: rest })).toEqual({
      code: 'invalid-request',
      faults: ['Wy', 'by'].map((name) => ({
        pointer: `/parameters/${name}`,
        detail: `/parameters/${name} is missing: the loss is one of the predictions, which need Wy and by`,
      })),
    });
  });

  it('is one that there is', () => {
    expect(faultOf('rnnForwardBackward', { loss: 'hinge' }).detail).toBe(
      '/loss is "hinge", but must be "cross_entropy" or "squared_error" or "binary_cross_entropy"',
    );
    const { loss: _, ...others } = requestFor('rnnForwardBackward');
    expect(refusal('rnnForwardBackward', others).faults[0].pointer).toBe('/loss');
  });

  it('takes classes below n_y, where it is one of classes', () => {
    const classes = [
      [0, 1, 2],
      [3, 4, 0],
    ];
    expect(faultOf('lstmForwardBackward', { targets: classes })).toEqual({
      code: 'invalid-tensor',
      pointer: '/targets/1/1',
      detail: '/targets/1/1 is 4, but must be from 0 to n_y − 1 = 3',
    });
    expect(faultOf('lstmForwardBackward', { targets: classes.map(() => [0, 1, 2]), loss: 'squared_error' })).toEqual({
      code: 'invalid-request',
      pointer: '/targets',
      detail: '/targets are classes, (m, T_x), but loss is "squared_error", which takes numbers, (n_y, m, T_x)',
    });
    expect(faultOf('lstmForwardBackward', { targets: [1, 2, 3] })).toMatchObject({
      code: 'shape-mismatch',
      detail: '/targets has shape (3), but (n_y, m, T_x) has 3 dimensions, and (m, T_x) has 2',
    });
    expect(faultOf('lstmForwardBackward', { targets: 'cat' }).detail).toBe(
      '/targets is a string, but must be 3 levels of nested arrays of numbers, (n_y, m, T_x), or whole numbers, (m, T_x)',
    );
  });

  it('takes weights from 0, and a mean needs one above', () => {
    const weights = (value: number) => [0, 1].map(() => [value, value, value]);
    expect(faultOf('rnnForwardBackward', { weights: weights(-0.5) })).toEqual({
      code: 'invalid-tensor',
      pointer: '/weights/0/0',
      detail: '/weights/0/0 is -0.5, but must be at least 0',
    });
    expect(faultOf('rnnForwardBackward', { weights: weights(0) })).toEqual({
      code: 'invalid-tensor',
      pointer: '/weights',
      detail: 'all /weights are 0, so there is nothing that a mean could be taken of; reduction "sum" would be 0',
    });
    const sum = askJson('rnnForwardBackward', {
      ...requestFor('rnnForwardBackward'),
      weights: weights(0),
      reduction: 'sum',
    });
    expect(sum.loss).toBe(0);
  });

  it('is clipped to a norm above 0', () => {
    expect(faultOf('rnnForwardBackward', { clip_norm: 0 }).detail).toBe(
      '/clip_norm is 0, but must be a number above 0',
    );
    expect(faultOf('rnnForwardBackward', { clip_norm: '1' }).detail).toBe(
      '/clip_norm is a string, but must be a number above 0',
    );
  });
});

describe('the reset gate', () => {
  const bca = [[1], [2]];

  it('has the bias bca if it acts after the product, and only then', () => {
    const { parameters, ...others } = requestFor('gruForward');
    const withBias = { ...(parameters as JsonObject), bca };
    const refused = (request: JsonObject) => refusal('gruForward', { ...others, ...request }).faults[0];
    expect(refused({ parameters: withBias })).toEqual({
      pointer: '/parameters/bca',
      detail: '/parameters/bca is given, but reset is absent, which means "before": only reset "after" has this bias',
    });
    expect(refused({ parameters: withBias, reset: 'before' }).detail).toMatch(/reset is "before": only/);
    expect(refused({ parameters, reset: 'after' })).toEqual({
      pointer: '/parameters/bca',
      detail:
        '/parameters/bca is missing (bias of the candidate\'s product with the state, (n_a, 1)): reset "after" needs it',
    });
    expect(refused({ parameters, reset: 'between' }).pointer).toBe('/reset');
  });

  it('of caches is known, and not overruled', () => {
    const { parameters, ...others } = requestFor('gruForward');
    const request = { ...others, parameters: { ...(parameters as JsonObject), bca }, reset: 'after' };
    const { caches } = askJson('gruForward', { ...request, caches: 'inline' });
    const { da } = requestFor('gruBackward');
    const known = askJson('gruBackward', { caches, da });
    expect(askJson('gruBackward', { caches, da, reset: 'after' })).toEqual(known);
    expect(askJson('gruBackward', { ...request, da })).toEqual(known);
    expect(refusal('gruBackward', { caches, da, reset: 'before' }).faults[0].pointer).toBe('/caches/parameters/bca');
  });
});
