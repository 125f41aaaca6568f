/**
 * The inner loops the engine may call, and the way it lays numbers out.
 *
 * An activation is held as rows: one row an example, its features side by side. A batch `v` of m examples
 * with n features is a Float64Array of m · n numbers; example j is `v[j·n] … v[j·n + n − 1]`. The equations
 * are written for one column vector; a kernel applies them to every row. Outputs come first, then inputs;
 * `add…` accumulates into its output. Each row gives the same bits alone and in a batch.
 */
export interface Kernels {
  readonly tier: Tier;

  /**
   * Memory for one request. Everything a kernel reads or writes comes from here; a further call takes all of it
   * back. The numbers are zero.
   *
   * @param elements what the arrays of the request take together, by `elementsFor` and `elementsForFactor`
   */
  reserve(elements: number): (length: number) => Float64Array;

  /** What an array of this length takes of the reserved memory. */
  elementsFor(length: number): number;

  /** What `factor` takes of the reserved memory for a matrix of this size, at most. */
  elementsForFactor(rows: number, columns: number): number;

  /** Makes a matrix ready to be multiplied with many times. The matrix must not change afterwards. */
  factor(W: Matrix): Factor;

  /** out[j, :] = row, for every example j. The number of examples is out.length / row.length. */
  fillRows(out: Float64Array, row: Float64Array): void;

  /** out[j, :] += W · v[j, :], for every example j. W (p, q), v (m, q), out (m, p). */
  addProduct(out: Float64Array, W: Factor, v: Float64Array): void;

  /** out[j, :] += Wᵀ · v[j, :], for every example j. W (p, q), v (m, p), out (m, q). */
  addTransposedProduct(out: Float64Array, W: Factor, v: Float64Array): void;

  /** dW += Σ_j dz[j, :] · v[j, :]ᵀ. dz (m, p), v (m, q), dW (p, q). */
  addOuterProducts(dW: Matrix, dz: Float64Array, v: Float64Array): void;

  /** db += Σ_j dz[j, :]. dz (m, p), db (p). */
  addRows(db: Float64Array, dz: Float64Array): void;

  /** v = σ(v), in place. */
  sigmoid(v: Float64Array): void;

  /** v = tanh(v), in place. */
  tanh(v: Float64Array): void;

  /** Each row of n numbers becomes its softmax, in place. */
  softmaxRows(v: Float64Array, n: number): void;
}

/** The builds of the kernels, slowest first: plain TypeScript, WebAssembly SIMD, and that with fused multiply-add. */
export const TIERS = ['scalar', 'simd', 'fma'] as const;
export type Tier = (typeof TIERS)[number];

/** A (rows, columns) matrix in row-major memory: element (i, k) is data[offset + i · stride + k]. */
export interface Matrix {
  readonly data: Float64Array;
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
