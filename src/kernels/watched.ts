import type { Build, Kernels, Rows } from './kernels.js';

/** Multiplications, with as many additions, between two checkpoints: some milliseconds of them. */
const MOST_PRODUCTS = 2 ** 26;

/**
 * The same kernels with a checkpoint before each product, of which there is one in every time step, at least; products
 * that take longer are cut over the examples. Where the cuts are follows from the shapes alone.
 *
 * @param checkpoint throws where the work is to be given up
 */
export function watched(build: Build, checkpoint: () => void): Build {
  return {
    ...build,
    float64: watchedKernels(build.float64, checkpoint),
    float32: watchedKernels(build.float32, checkpoint),
  };
}

function watchedKernels(kernels: Kernels, checkpoint: () => void): Kernels {
  /** Calls `multiply` with examples from … to − 1, until all m are done. */
  const inRuns = (m: number, size: number, multiply: (from: number, to: number) => void): void => {
    const step = Math.max(1, Math.floor(MOST_PRODUCTS / size));
    for (let from = 0; from < m; from += step) {
      checkpoint();
      multiply(from, Math.min(from + step, m));
    }
  };
  return {
    ...kernels,
    addProduct(out, W, v) {
      const { rows: p, columns: q } = W.matrix;
      inRuns(v.length / q, p * q, (from, to) => {
        kernels.addProduct(examples(out, p, from, to), W, examples(v, q, from, to));
      });
    },
    addTransposedProduct(out, W, v) {
      const { rows: p, columns: q } = W.matrix;
      inRuns(v.length / p, p * q, (from, to) => {
        kernels.addTransposedProduct(examples(out, q, from, to), W, examples(v, p, from, to));
      });
    },
    addOuterProducts(dW, dz, v) {
      const { rows: p, columns: q } = dW;
      inRuns(dz.length / p, p * q, (from, to) => {
        kernels.addOuterProducts(dW, examples(dz, p, from, to), examples(v, q, from, to));
      });
    },
  };
}

/** Examples from … to − 1 of rows with n numbers each. */
function examples(rows: Rows, n: number, from: number, to: number): Rows {
  const length = (to - from) * n;
  return length === rows.length ? rows : { data: rows.data, offset: rows.offset + from * n, length };
}
