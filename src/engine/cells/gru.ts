import type { Rows } from '../../kernels/kernels.js';
import type { Cell } from '../cell.js';
import { clear, rows } from '../layout.js';
import {
  addInputGradients,
  addStateGradients,
  type GateWeightGradients,
  type GateWeights,
  gateWeightGradients,
  gateWeights,
  projectGate,
} from './gate.js';

interface Gru {
  readonly State: 'a';
  readonly Kept: 'rt' | 'zt' | 'cct';
  readonly Gradient: 'dzr' | 'dzz' | 'dzc' | 'reset';
  readonly Parameter: 'Wr' | 'br' | 'Wz' | 'bz' | 'Wc' | 'bc' | 'bca';
  /** Reset gate, update gate, candidate; and the candidate's second bias, where the reset gate acts after the product. */
  readonly Weights: { readonly r: GateWeights; readonly z: GateWeights; readonly c: GateWeights; readonly bca: Rows };
  readonly WeightGradients: {
    readonly r: GateWeightGradients;
    readonly z: GateWeightGradients;
    readonly c: GateWeightGradients;
    readonly dbca: Rows | undefined;
  };
}

/** The second bias of the candidate where there is none. */
const NONE: Rows = { data: new Float64Array(0), offset: 0, length: 0 };

/** What both kinds of GRU have in common: all but what stands around the reset gate. */
const common = {
  states: ['a'],
  kept: ['rt', 'zt', 'cct'],
  gradients: ['dzr', 'dzz', 'dzc', 'reset'],

  /** rt, zt, cct = Wx•·xt + b• */
  projectInput(kernels, { kept: { rt, zt, cct } }, { r, z, c }, xt) {
    projectGate(kernels, rt, r, xt);
    projectGate(kernels, zt, z, xt);
    projectGate(kernels, cct, c, xt);
  },

  /** dxt = Σ• Wx•ᵀ·dz•, dWx• += dz•·xtᵀ, db• += Σ_m dz• */
  projectInputBackward(kernels, dxt, dWeights, { dzr, dzz, dzc }, { r, z, c }, xt) {
    if (dxt) {
      clear(dxt);
      kernels.addTransposedProduct(dxt, r.Wx, dzr);
      kernels.addTransposedProduct(dxt, z.Wx, dzz);
      kernels.addTransposedProduct(dxt, c.Wx, dzc);
    }
    addInputGradients(kernels, dWeights.r, dzr, xt);
    addInputGradients(kernels, dWeights.z, dzz, xt);
    addInputGradients(kernels, dWeights.c, dzc, xt);
  },
} satisfies Partial<Cell<Gru>>;

/**
 * The GRU whose reset gate acts before the product, on the state. One time step forward is
 *
 *     rt  = σ(Wra·a_prev + Wrx·xt + br)             reset gate
 *     zt  = σ(Wza·a_prev + Wzx·xt + bz)             update gate
 *     cct = tanh(Wca·(rt∘a_prev) + Wcx·xt + bc)     candidate
 *     a_next = zt∘a_prev + (1 − zt)∘cct
 *
 * and backward
 *
 *     dzz = da_next∘(a_prev − cct)∘zt∘(1 − zt)      dzc = da_next∘(1 − zt)∘(1 − cct²)
 *     s   = Wcaᵀ·dzc                                dzr = s∘a_prev∘rt∘(1 − rt)
 *     da_prev = zt∘da_next + s∘rt + Wraᵀ·dzr + Wzaᵀ·dzz
 *     dWca += dzc·(rt∘a_prev)ᵀ                      dWra += dzr·a_prevᵀ, dWza += dzz·a_prevᵀ
 */
export const gruResetBefore: Cell<Gru> = {
  ...common,

  weights: (kernels, { Wr, br, Wz, bz, Wc, bc }) => ({
    r: gateWeights(kernels, Wr, br),
    z: gateWeights(kernels, Wz, bz),
    c: gateWeights(kernels, Wc, bc),
    bca: NONE,
  }),
  weightGradients: ({ dWr, dbr, dWz, dbz, dWc, dbc }) => ({
    r: gateWeightGradients(dWr, dbr),
    z: gateWeightGradients(dWz, dbz),
    c: gateWeightGradients(dWc, dbc),
    dbca: undefined,
  }),

  /** The gates from what they hold, and the state; rt∘a_prev is in a_next on the way */
  recur(kernels, { next, kept: { rt, zt, cct }, prev }, { r, z, c }) {
    kernels.addProduct(rt, r.Wa, prev.a);
    kernels.addProduct(zt, z.Wa, prev.a);
    kernels.sigmoid(rt);
    kernels.hadamard(next.a, rt, prev.a);
    kernels.addProduct(cct, c.Wa, next.a);
    kernels.gruOutput({ zt, cct }, next.a, prev.a);
  },

  /** dz•, da_prev, and reset = rt∘a_prev; s is in dzr on the way */
  recurBackward(kernels, d_prev, { dzr, dzz, dzc, reset }, d_next, { kept: { rt, zt, cct }, prev }, { r, z, c }) {
    kernels.gruOutputGradients({ dzz, dzc }, d_prev.a, d_next.a, { zt, cct }, prev.a);
    clear(dzr);
    kernels.addTransposedProduct(dzr, c.Wa, dzc);
    kernels.addHadamard(d_prev.a, dzr, rt);
    kernels.hadamard(reset, rt, prev.a);
    kernels.hadamard(dzr, dzr, prev.a);
    kernels.sigmoidGradient(dzr, dzr, rt);
    kernels.addTransposedProduct(d_prev.a, r.Wa, dzr);
    kernels.addTransposedProduct(d_prev.a, z.Wa, dzz);
  },

  addPastGradients(kernels, { r, z, c }, { dzr, dzz, dzc, reset }, { prev }) {
    addStateGradients(kernels, r, dzr, prev.a);
    addStateGradients(kernels, z, dzz, prev.a);
    addStateGradients(kernels, c, dzc, reset);
  },
};

/**
 * The GRU whose reset gate acts after the product, as PyTorch, cuDNN and Keras have it. The candidate is
 *
 *     rec = Wca·a_prev + bca
 *     cct = tanh(rt∘rec + Wcx·xt + bc)
 *
 * and the rest of the step as above. Backward,
 *
 *     dzr = dzc∘rec∘rt∘(1 − rt)        d_rec = dzc∘rt
 *     da_prev = zt∘da_next + Wcaᵀ·d_rec + Wraᵀ·dzr + Wzaᵀ·dzz
 *     dWca += d_rec·a_prevᵀ            dbca += Σ_m d_rec
 *
 * rec is computed again on the way back: keeping it would take a third more of the caches.
 */
export const gruResetAfter: Cell<Gru> = {
  ...common,

  weights: (kernels, { bca, ...parameters }) => ({
    ...gruResetBefore.weights(kernels, { bca, ...parameters }),
    bca: rows(bca),
  }),
  weightGradients: ({ dbca, ...gradients }) => ({
    ...gruResetBefore.weightGradients({ dbca, ...gradients }),
    dbca: dbca && rows(dbca),
  }),

  /** The gates from what they hold, and the state; rec is in a_next on the way */
  recur(kernels, { next, kept: { rt, zt, cct }, prev }, { r, z, c, bca }) {
    kernels.addProduct(rt, r.Wa, prev.a);
    kernels.addProduct(zt, z.Wa, prev.a);
    kernels.fillRows(next.a, bca);
    kernels.addProduct(next.a, c.Wa, prev.a);
    kernels.sigmoid(rt);
    kernels.addHadamard(cct, rt, next.a);
    kernels.gruOutput({ zt, cct }, next.a, prev.a);
  },

  /** dz•, da_prev, and reset = d_rec; rec is in dzr on the way */
  recurBackward(kernels, d_prev, { dzr, dzz, dzc, reset }, d_next, { kept: { rt, zt, cct }, prev }, { r, z, c, bca }) {
    kernels.gruOutputGradients({ dzz, dzc }, d_prev.a, d_next.a, { zt, cct }, prev.a);
    kernels.fillRows(dzr, bca);
    kernels.addProduct(dzr, c.Wa, prev.a);
    kernels.hadamard(dzr, dzr, dzc);
    kernels.sigmoidGradient(dzr, dzr, rt);
    kernels.hadamard(reset, dzc, rt);
    kernels.addTransposedProduct(d_prev.a, c.Wa, reset);
    kernels.addTransposedProduct(d_prev.a, r.Wa, dzr);
    kernels.addTransposedProduct(d_prev.a, z.Wa, dzz);
  },

  addPastGradients(kernels, { r, z, c, dbca }, { dzr, dzz, reset }, { prev }) {
    addStateGradients(kernels, r, dzr, prev.a);
    addStateGradients(kernels, z, dzz, prev.a);
    addStateGradients(kernels, c, reset, prev.a);
    if (dbca) kernels.addRows(dbca, reset);
  },
};
