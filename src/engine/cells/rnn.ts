import type { Factor, Matrix, Rows } from '../../kernels/kernels.js';
import type { Cell } from '../cell.js';
import { addInputOuterProducts, addInputProduct } from '../input.js';
import { clear, matrix, rows } from '../layout.js';

interface Rnn {
  readonly State: 'a';
  readonly Kept: never;
  readonly Gradient: 'dz';
  readonly Parameter: 'Wax' | 'Waa' | 'ba';
  /** (n_a, n_x), (n_a, n_a), (n_a) */
  readonly Weights: { readonly Wax: Factor; readonly Waa: Factor; readonly ba: Rows };
  readonly WeightGradients: {
    readonly dWax: Matrix | undefined;
    readonly dWaa: Matrix | undefined;
    readonly dba: Rows | undefined;
  };
}

/**
 * The RNN. One time step forward is
 *
 *     a_next = tanh(Waa·a_prev + Wax·xt + ba)
 *
 * and backward
 *
 *     dz      = da_next ∘ (1 − a_next²)
 *     dxt     = Waxᵀ·dz            dWax += dz·xtᵀ
 *     da_prev = Waaᵀ·dz            dWaa += dz·a_prevᵀ        dba += Σ_m dz
 */
export const rnn: Cell<Rnn> = {
  states: ['a'],
  kept: [],
  gradients: ['dz'],

  weights: (kernels, { Wax, Waa, ba }) => {
    return { Wax: kernels.factor(matrix(Wax)), Waa: kernels.factor(matrix(Waa)), ba: rows(ba) };
  },
  weightGradients: ({ dWax, dWaa, dba }) => ({
    dWax: dWax && matrix(dWax),
    dWaa: dWaa && matrix(dWaa),
    dba: dba && rows(dba),
  }),

  /** a_next = Wax·xt + ba */
  projectInput(kernels, { next }, { Wax, ba }, xt) {
    kernels.fillRows(next.a, ba);
    addInputProduct(kernels, next.a, Wax, xt);
  },

  /** a_next = tanh(Waa·a_prev + a_next) */
  recur(kernels, { next, prev }, { Waa }) {
    kernels.addProduct(next.a, Waa, prev.a);
    kernels.tanh(next.a);
  },

  /** dz = da_next ∘ (1 − a_next²), da_prev = Waaᵀ·dz */
  recurBackward(kernels, d_prev, { dz }, d_next, { next }, { Waa }) {
    kernels.tanhGradient(dz, d_next.a, next.a);
    clear(d_prev.a);
    kernels.addTransposedProduct(d_prev.a, Waa, dz);
  },

  /** dWaa += dz·a_prevᵀ */
  addPastGradients(kernels, { dWaa }, { dz }, { prev }) {
    if (dWaa) kernels.addOuterProducts(dWaa, dz, prev.a);
  },

  /** dxt = Waxᵀ·dz, dWax += dz·xtᵀ, dba += Σ_m dz */
  projectInputBackward(kernels, dxt, { dWax, dba }, { dz }, { Wax }, xt) {
    if (dxt) {
      clear(dxt);
      kernels.addTransposedProduct(dxt, Wax, dz);
    }
    if (dWax) addInputOuterProducts(kernels, dWax, dz, xt);
    if (dba) kernels.addRows(dba, dz);
  },
};
