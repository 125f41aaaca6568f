import type { LstmGateGradients, Rows } from '../../kernels/kernels.js';
import type { Cell } from '../cell.js';
import { clear } from '../layout.js';
import {
  addInputGradients,
  addStateGradients,
  type GateWeightGradients,
  type GateWeights,
  gateWeightGradients,
  gateWeights,
  projectGate,
} from './gate.js';

/** One of something for each gate: forget f, update i, candidate c, output o. */
interface PerGate<Item> {
  readonly f: Item;
  readonly i: Item;
  readonly c: Item;
  readonly o: Item;
}

interface Lstm {
  readonly State: 'a' | 'c';
  readonly Kept: 'ft' | 'it' | 'cct' | 'ot';
  readonly Gradient: 'dzf' | 'dzi' | 'dzc' | 'dzo';
  readonly Parameter: 'Wf' | 'bf' | 'Wi' | 'bi' | 'Wc' | 'bc' | 'Wo' | 'bo';
  readonly Weights: PerGate<GateWeights>;
  readonly WeightGradients: PerGate<GateWeightGradients>;
}

/**
 * The LSTM. With z = [a_prev ; xt], one time step forward is
 *
 *     ft  = σ(Wf·z + bf)     forget gate
 *     it  = σ(Wi·z + bi)     update gate
 *     cct = tanh(Wc·z + bc)  candidate
 *     ot  = σ(Wo·z + bo)     output gate
 *     c_next = ft∘c_prev + it∘cct
 *     a_next = ot∘tanh(c_next)
 *
 * and backward, with g = dc_next + da_next∘ot∘(1 − tanh²(c_next)),
 *
 *     dzf = g∘c_prev∘ft∘(1 − ft)       dzi = g∘cct∘it∘(1 − it)
 *     dzc = g∘it∘(1 − cct²)            dzo = da_next∘tanh(c_next)∘ot∘(1 − ot)
 *     dW• += dz•·zᵀ      db• += Σ_m dz•
 *     [da_prev ; dxt] = Wfᵀ·dzf + Wiᵀ·dzi + Wcᵀ·dzc + Woᵀ·dzo
 *     dc_prev = g∘ft
 */
export const lstm: Cell<Lstm> = {
  states: ['a', 'c'],
  kept: ['ft', 'it', 'cct', 'ot'],
  gradients: ['dzf', 'dzi', 'dzc', 'dzo'],

  weights: (kernels, { Wf, bf, Wi, bi, Wc, bc, Wo, bo }) => ({
    f: gateWeights(kernels, Wf, bf),
    i: gateWeights(kernels, Wi, bi),
    c: gateWeights(kernels, Wc, bc),
    o: gateWeights(kernels, Wo, bo),
  }),
  weightGradients: ({ dWf, dbf, dWi, dbi, dWc, dbc, dWo, dbo }) => ({
    f: gateWeightGradients(dWf, dbf),
    i: gateWeightGradients(dWi, dbi),
    c: gateWeightGradients(dWc, dbc),
    o: gateWeightGradients(dWo, dbo),
  }),

  /** Each gate = Wx•·xt + b• */
  projectInput(kernels, { kept: { ft, it, cct, ot } }, { f, i, c, o }, xt) {
    projectGate(kernels, ft, f, xt);
    projectGate(kernels, it, i, xt);
    projectGate(kernels, cct, c, xt);
    projectGate(kernels, ot, o, xt);
  },

  /** The gates, from Wa•·a_prev and what they hold, and the states */
  recur(kernels, { next, kept, prev }, { f, i, c, o }) {
    kernels.addProduct(kept.ft, f.Wa, prev.a);
    kernels.addProduct(kept.it, i.Wa, prev.a);
    kernels.addProduct(kept.cct, c.Wa, prev.a);
    kernels.addProduct(kept.ot, o.Wa, prev.a);
    kernels.lstmGates(kept, next.c, next.a, prev.c);
  },

  /** dz•, dc_prev, and da_prev = Wafᵀ·dzf + Waiᵀ·dzi + Wacᵀ·dzc + Waoᵀ·dzo */
  recurBackward(kernels, d_prev, dz, d_next, { next, kept, prev }, { f, i, c, o }) {
    kernels.lstmGateGradients(dz, d_prev.c, d_next.a, d_next.c, kept, prev.c, next.c);
    clear(d_prev.a);
    kernels.addTransposedProduct(d_prev.a, f.Wa, dz.dzf);
    kernels.addTransposedProduct(d_prev.a, i.Wa, dz.dzi);
    kernels.addTransposedProduct(d_prev.a, c.Wa, dz.dzc);
    kernels.addTransposedProduct(d_prev.a, o.Wa, dz.dzo);
  },

  /** dWa• += dz•·a_prevᵀ */
  addPastGradients(kernels, dWeights, dz, { prev }) {
    forEachGate(dWeights, dz, (gate, dzGate) => addStateGradients(kernels, gate, dzGate, prev.a));
  },

  /** dxt = Σ• Wx•ᵀ·dz•, dWx• += dz•·xtᵀ, db• += Σ_m dz• */
  projectInputBackward(kernels, dxt, dWeights, dz, { f, i, c, o }, xt) {
    if (dxt) {
      clear(dxt);
      kernels.addTransposedProduct(dxt, f.Wx, dz.dzf);
      kernels.addTransposedProduct(dxt, i.Wx, dz.dzi);
      kernels.addTransposedProduct(dxt, c.Wx, dz.dzc);
      kernels.addTransposedProduct(dxt, o.Wx, dz.dzo);
    }
    forEachGate(dWeights, dz, (gate, dzGate) => addInputGradients(kernels, gate, dzGate, xt));
  },
};

function forEachGate(
  { f, i, c, o }: PerGate<GateWeightGradients>,
  { dzf, dzi, dzc, dzo }: LstmGateGradients,
  apply: (gradient: GateWeightGradients, dz: Rows) => void,
): void {
  apply(f, dzf);
  apply(i, dzi);
  apply(c, dzc);
  apply(o, dzo);
}
