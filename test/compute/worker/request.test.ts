import { describe, expect, it } from 'vitest';
import { ask, askText, refusal } from '../../ask.js';
import { numbersFrom, operationCalled, tensorsFor } from '../../values.js';

const dims = { n_x: 2, n_a: 3, n_y: 2, m: 2, T_x: 4, T_da: 4 };
const choices = { prediction: true, way: 1, extras: true };
const request = (id: string) => tensorsFor(operationCalled(id).request, dims, numbersFrom(1), choices);

describe('the work of a request', () => {
  it('is refused over its limit, both amounts named, before it is begun', () => {
    // The request: x 2·2·4, a0 3·2, parameters 3·2 + 3·3 + 2·3 + 3 + 2; x and a0 once more as they are computed with. The
    // answer: a 3·2·4, y_pred 2·2·4, and its text: 26 bytes a number, brackets and commas, names.
    const text = 26 * (24 + 16) + 3 * (1 + 3 + 6) + 3 * (1 + 2 + 4) + '"a":,'.length + '"y_pred":'.length + '{}'.length;
    const bytes = 8 * (16 + 6 + 26 + 16 + 6 + 24 + 16) + text;
    expect(refusal('rnnForward', request('rnnForward'), bytes - 1)).toEqual({
      code: 'work-too-large',
      faults: [{ pointer: '', detail: expect.stringContaining(`${bytes} bytes, but the limit is ${bytes - 1} bytes`) }],
    });
    expect(ask('rnnForward', request('rnnForward'), bytes).ok).toBe(true);
  });

  it('is refused for what its blocks need again, too: weights and gradients for each of them', () => {
    const large = { n_x: 64, n_a: 256, n_y: 2, m: 64, T_x: 4, T_da: 4 };
    const body = tensorsFor(operationCalled('lstmBackward').request, large, numbersFrom(1), choices);
    const [{ detail }] = refusal('lstmBackward', body, 1).faults;
    const asked = Number(/can take (\d+) bytes/.exec(detail)?.[1]);
    const gradients = 8 * 4 * 256 * (64 + 256); // bytes of dWf, dWi, dWc and dWo
    expect(asked).toBeGreaterThan(8 * gradients); // of 4 blocks, where they are computed and where they are joined
    expect(ask('lstmBackward', body, asked).ok).toBe(true);
  });

  it('is refused when a short request asks for a huge answer', () => {
    const [m, n_a, T_x] = [2000, 2000, 2000];
    const huge = {
      x: [Array.from({ length: m }, () => new Array(T_x).fill(0))],
      a0: Array.from({ length: n_a }, () => new Array(m).fill(0)),
      parameters: {
        Wax: Array.from({ length: n_a }, () => [0]),
        Waa: Array.from({ length: n_a }, () => new Array(n_a).fill(0)),
        ba: Array.from({ length: n_a }, () => [0]),
      },
    };
    expect(refusal('rnnForward', huge, 2 ** 30).code).toBe('work-too-large');
  }, 120_000);

  it('tells its stages and its sizes', () => {
    const { timings, sizes } = ask('lstmBackward', request('lstmBackward'));
    expect(Object.keys(timings)).toEqual(['queue', 'decode', 'compute', 'encode']);
    expect(sizes).toEqual(dims);
  });
});

describe('a result that is not finite', () => {
  const one = (value: number) => [[value]];

  it('is refused by tensor, time step and position', () => {
    // Wya·a = 1e308 · 10 overflows at the step where a is not 0.
    const parameters = { Wax: one(50), Waa: one(0), ba: one(0), Wya: [[1e308], [1]], by: [[1e308], [1]] };
    expect(refusal('rnnForward', { x: [[[0, 0, 1]]], a0: one(0), parameters })).toEqual({
      code: 'non-finite-result',
      faults: [
        {
          pointer: '/y_pred/0/0/2',
          detail: 'y_pred[0, 0, 2] of (n_y, m, T_x) is NaN at time step 2: the result has left the range of float64',
        },
      ],
    });
  });

  it('is named at the first time step of all tensors', () => {
    // a is NaN from step 1 on (1e308·10 − 1e308·10); the prediction of step 1 follows from it.
    const parameters = { Wax: [[1e308, 1e308]], Waa: one(0), ba: one(0), Wya: one(1), by: one(0) };
    const { faults } = refusal('rnnForward', { x: [[[1, 10, 1]], [[1, -10, 1]]], a0: one(0), parameters });
    expect(faults[0].pointer).toBe('/a/0/0/1');
  });

  it('of the forward pass is told by a backward operation, too', () => {
    const parameters = { Wax: [[1e308, 1e308]], Waa: one(0), ba: one(0) };
    const body = { x: [[[1, 10, 1]], [[1, -10, 1]]], a0: one(0), parameters, da: [[[1, 1, 1]]] };
    expect(refusal('rnnBackward', body).faults[0].pointer).toBe('/a/0/0/1');
  });

  it('of a backward operation is looked for from the last time step', () => {
    const parameters = { Wax: one(1e200), Waa: one(0), ba: one(0) };
    const body = { x: [[[0, 0, 0]]], a0: one(0), parameters, da: [[[1e200, 1e200, 1]]] };
    expect(refusal('rnnBackward', body).faults[0].pointer).toBe('/gradients/dx/0/0/1');
  });

  it('without a time step is named by its position', () => {
    const parameters = { Wax: one(0), Waa: one(0), ba: one(0) };
    const body = { x: [[[1e200]]], a0: one(0), parameters, da: [[[1e200]]] };
    expect(refusal('rnnBackward', body).faults).toEqual([
      {
        pointer: '/gradients/dWax/0/0',
        detail: 'dWax[0, 0] of (n_a, n_x) is Infinity: the result has left the range of float64',
      },
    ]);
  });

  it('is not what saturated gates and logits thousands apart give', () => {
    const parameters = { Wax: one(1e6), Waa: one(-1e6), ba: one(1e300), Wya: [[5000], [-5000]], by: [[1], [2]] };
    const text = askText('rnnForward', { x: [[[1, -1, 1e300]]], a0: one(1), parameters });
    expect(JSON.parse(text)).toEqual({ a: [[[1, 1, 1]]], y_pred: [[[1, 1, 1]], [[0, 0, 0]]] });
  });
});
