import type { Dtype, Numbers } from '../tensor/tensor.js';

/**
 * The inner loops that the engine may call.
 *
 * An activation is held as rows: one row an example, its features side by side. A batch `v` of m examples
 * with n features is a run of m · n numbers; example j is v[j·n] … v[j·n + n − 1]. The equations are written for
 * one column vector; a kernel applies them to every row. Outputs come first, then inputs; `add…` accumulates
 * into its output. Each row gives the same bits alone and in a batch.
 *
 * All numbers of one request are of one type. Weights may lie anywhere; everything else that a kernel reads or writes
 * comes from the reserved memory. Of an elementary kernel (∘, + and −, σ and tanh with their gradients) the output may
 * be the same memory as an input.
 */
export interface Loops {
  /** out[j, :] = row, for every example j. The number of examples is out.length / row.length. */
  fillRows(out: Rows, row: Rows): void;

  /** out[j, :] += W · v[j, :], for every example j. W (p, q), v (m, q), out (m, p). */
  addProduct(out: Rows, W: Factor, v: Rows): void;

  /** out[j, :] += Wᵀ · v[j, :], for every example j. W (p, q), v (m, p), out (m, q). */
  addTransposedProduct(out: Rows, W: Factor, v: Rows): void;

  /** dW += Σ_j dz[j, :] · v[j, :]ᵀ. dz (m, p), v (m, q), dW (p, q). */
  addOuterProducts(dW: Matrix, dz: Rows, v: Rows): void;

  /** db += Σ_j dz[j, :]. dz (m, p), db (p). */
  addRows(db: Rows, dz: Rows): void;

  /** out = one + other. */
  add(out: Rows, one: Rows, other: Rows): void;

  /** out = one − other. */
  subtract(out: Rows, one: Rows, other: Rows): void;

  /** out = one ∘ other. */
  hadamard(out: Rows, one: Rows, other: Rows): void;

  /** out += one ∘ other. */
  addHadamard(out: Rows, one: Rows, other: Rows): void;

  /** v = σ(v), in place. */
  sigmoid(v: Rows): void;

  /** dz = da ∘ a ∘ (1 − a), where a = σ(z). */
  sigmoidGradient(dz: Rows, da: Rows, a: Rows): void;

  /** v = tanh(v), in place. */
  tanh(v: Rows): void;

  /** dz = da ∘ (1 − a²), where a = tanh(z). */
  tanhGradient(dz: Rows, da: Rows, a: Rows): void;

  /** Each row of n numbers becomes its softmax, in place. */
  softmaxRows(v: Rows, n: number): void;

  /**
   * The LSTM from its pre-activations, which the gates hold when they arrive:
   * ft = σ(ft), it = σ(it), cct = tanh(cct), ot = σ(ot), c_next = ft∘c_prev + it∘cct, a_next = ot∘tanh(c_next).
   * The elementary kernels say the same; in one go it is faster.
   */
  lstmGates(gates: LstmGates, c_next: Rows, a_next: Rows, c_prev: Rows): void;

  /**
   * And backward: with g = dc_next + da_next∘ot∘(1 − tanh²(c_next)),
   * dzf = g∘c_prev∘ft∘(1 − ft), dzi = g∘cct∘it∘(1 − it), dzc = g∘it∘(1 − cct²), dzo = da_next∘tanh(c_next)∘ot∘(1 − ot),
   * dc_prev = g∘ft. dc_prev may be the same memory as dc_next.
   */
  lstmGateGradients(
    dz: LstmGateGradients,
    dc_prev: Rows,
    da_next: Rows,
    dc_next: Rows,
    gates: LstmGates,
    c_prev: Rows,
    c_next: Rows,
  ): void;

  /**
   * The end of a step of the GRU, from the pre-activations that zt and cct hold when they arrive:
   * zt = σ(zt), cct = tanh(cct), a_next = zt∘a_prev + (1 − zt)∘cct. a_prev is other memory than a_next.
   */
  gruOutput(gates: GruGates, a_next: Rows, a_prev: Rows): void;

  /**
   * And backward: dzz = da_next∘(a_prev − cct)∘zt∘(1 − zt), dzc = da_next∘(1 − zt)∘(1 − cct²), da_prev = da_next∘zt.
   * da_prev may be the same memory as da_next.
   */
  gruOutputGradients(dz: GruGateGradients, da_prev: Rows, da_next: Rows, gates: GruGates, a_prev: Rows): void;
}

/** The loops for one type of numbers, and the way that they lay numbers out. */
export interface Kernels extends Loops {
  readonly dtype: Dtype;

  /**
   * Memory for one request; a further call takes all of it back. The numbers are zero.
   *
   * @param elements what the arrays of the request take together, by `elementsFor` and `elementsForFactor`
   */
  reserve(elements: number): (length: number) => Numbers;

  /** What an array of this length takes of the reserved memory. */
  elementsFor(length: number): number;

  /** What `factor` takes of the reserved memory for a matrix of this size, at most. */
  elementsForFactor(rows: number, columns: number): number;

  /** Makes a matrix ready to be multiplied with many times. The matrix must not change afterwards. */
  factor(W: Matrix): Factor;
}

/** A run of numbers: number i is data[offset + i]. */
export interface Rows {
  readonly data: Numbers;
  readonly offset: number;
  readonly length: number;
}

/** A (rows, columns) matrix in row-major memory: element (i, k) is data[offset + i · stride + k]. */
export interface Matrix {
  readonly data: Numbers;
  readonly offset: number;
  readonly rows: number;
  readonly columns: number;
  /** Distance from one row to the next, in elements; more than `columns` for a block of a wider matrix. */
  readonly stride: number;
}

/** A matrix in the form that the kernels which made it multiply with. */
export interface Factor {
  readonly matrix: Matrix;
}

/** The gates of an LSTM, each (m, n_a): forget, update, candidate, output. */
export interface LstmGates {
  readonly ft: Rows;
  readonly it: Rows;
  readonly cct: Rows;
  readonly ot: Rows;
}

/** The gradients of their pre-activations, each (m, n_a). */
export interface LstmGateGradients {
  readonly dzf: Rows;
  readonly dzi: Rows;
  readonly dzc: Rows;
  readonly dzo: Rows;
}

/** What ends a step of the GRU, each (m, n_a): update gate, candidate. */
export interface GruGates {
  readonly zt: Rows;
  readonly cct: Rows;
}

/** The gradients of their pre-activations, each (m, n_a). */
export interface GruGateGradients {
  readonly dzz: Rows;
  readonly dzc: Rows;
}

/**
 * The builds of the kernels, slowest first: plain TypeScript; WebAssembly SIMD; that with fused multiply-add; and that
 * in the shape that V8 turns into vectors of 256 bits.
 */
export const TIERS = ['scalar', 'simd', 'fma', 'wide'] as const;
export type Tier = (typeof TIERS)[number];

/** One build: kernels for each type of numbers, which share the reserved memory. */
export interface Build extends Readonly<Record<Dtype, Kernels>> {
  readonly tier: Tier;
  /** Lets go of the memory that a large request has left; was there any? What was reserved before is void. */
  release(): boolean;
}
