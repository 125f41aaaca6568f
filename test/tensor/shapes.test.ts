import { describe, expect, it } from 'vitest';
import { Refusal } from '../../src/tensor/refusal.js';
import { bindSymbols, shapeIn } from '../../src/tensor/shapes.js';
import { flatten, group, optional, type Values } from '../../src/tensor/signature.js';
import { tensor } from '../symbols.js';

const signature = group('Request', '', {
  x: tensor('n_x m T_x', 'input'),
  a0: tensor('n_a m', 'state'),
  parameters: group('Parameters', '', { Wf: tensor('n_a n_a+n_x', 'weights'), bf: tensor('n_a 1', 'bias') }),
  da: optional(tensor('n_a m T_da<=T_x', 'gradient')),
  dc: optional(tensor('n_a m T_da', 'gradient')),
});

const of = (...shape: number[]) => ({ shape, strides: [], data: new Float64Array(0) });
const values = (changes: Values = {}): Values => ({
  x: of(3, 2, 4),
  a0: of(5, 2),
  parameters: { Wf: of(5, 8), bf: of(5, 1) },
  ...changes,
});

function details(changes: Values): string[] {
  try {
    bindSymbols(flatten(signature), values(changes));
  } catch (error) {
    if (error instanceof Refusal && error.code === 'shape-mismatch') return error.faults.map(({ detail }) => detail);
    throw error;
  }
  return [];
}

describe('shapes', () => {
  it('give the letters their values', () => {
    expect(bindSymbols(flatten(signature), values({ da: of(5, 2, 3) }))).toEqual({
      n_x: 3,
      m: 2,
      T_x: 4,
      n_a: 5,
      T_da: 3,
    });
  });

  it.each<[Values, string[]]>([
    [
      { parameters: { Wf: of(5, 7), bf: of(5, 1) } },
      ['/parameters/Wf has shape (5, 7), but (n_a, n_a + n_x) is (5, 8): n_a = 5 from /a0, n_x = 3 from /x'],
    ],
    [{ a0: of(5, 3) }, ['/a0 has shape (5, 3), but (n_a, m) is (5, 2): m = 2 from /x']],
    [{ parameters: { Wf: of(5, 8), bf: of(5, 2) } }, ['/parameters/bf has shape (5, 2), but (n_a, 1) is (5, 1)']],
    [{ a0: of(5) }, ['/a0 has shape (5), but (n_a, m) has 2 dimensions']],
    [{ da: of(5, 2, 5) }, ['/da has shape (5, 2, 5), but T_da = 5 is more than T_x = 4 from /x']],
    [
      { da: of(5, 2, 3), dc: of(5, 2, 4) },
      ['/dc has shape (5, 2, 4), but (n_a, m, T_da) is (5, 2, 3): T_da = 3 from /da'],
    ],
    [
      { x: of(2, 4, 3) },
      ['/x has shape (2, 4, 3), but (n_x, m, T_x) is (3, 2, 3): n_x = 3 from /parameters/Wf, m = 2 from /a0'],
    ],
    // Two that only contradict each other: the one that would fit with its axes in another order, else the later one.
    [{ x: of(3, 4, 2) }, ['/x has shape (3, 4, 2), but (n_x, m, T_x) is (3, 2, 2): m = 2 from /a0']],
    [{ x: of(3, 5, 4) }, ['/a0 has shape (5, 2), but (n_a, m) is (5, 5): m = 5 from /x']],
    // No n_x makes the weights (8, 5).
    [
      { a0: of(8, 2), parameters: { Wf: of(8, 5), bf: of(8, 1) } },
      ['/parameters/Wf has shape (8, 5), but (n_a, n_a + n_x) is (8, 11): n_a = 8 from /a0, n_x = 3 from /x'],
    ],
    [{ x: of(3, 2) }, ['/x has shape (3, 2), but (n_x, m, T_x) has 3 dimensions']],
  ])('that do not fit are explained with both sides: %j', (changes, expected) => {
    expect(details(changes)).toEqual(expected);
  });

  it('with a letter that has no value do not exist', () => {
    expect(shapeIn({ n_a: 2 }, tensor('n_y n_a', ''))).toBeUndefined();
    expect(shapeIn({ n_a: 2, n_x: 3 }, tensor('n_a n_a+n_x', ''))).toEqual([2, 5]);
  });
});
