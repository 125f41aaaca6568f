import { longRow, ROWS, tile } from './tile';
import { PANEL, panelWidth } from './vector';

/**
 * C += A · B, where B is packed: panels of 8 doubles (16 floats) side by side, each with one row of 64 bytes for
 * every k. Each element of C is the sum c + a_0·b_0 + a_1·b_1 + … in that order, however many rows there are and
 * however the loops are cut, so that a batch gives the same bits as its examples one by one.
 */

/** Rows of a panel that are multiplied in one go: 16 KiB, which stays in the first cache. */
const BLOCK: i32 = 256;

/** Where the last, incomplete panel of C is computed. */
const EDGE: usize = memory.data(<i32>PANEL * ROWS, 16);

/** Rows of A and C that are worked on before the next ones: they stay in the second cache while the panels go by. */
const STRIPE: i32 = 64;

/** C (rows, n) += A (rows, k) · panels (k, n). C and A are without gaps between their rows. */
export function multiply<T>(C: usize, A: usize, panels: usize, rows: i32, n: i32, k: i32): void {
  for (let row = 0; row < rows; row += STRIPE) {
    const c = C + <usize>row * <usize>n * sizeof<T>();
    const a = A + <usize>row * <usize>k * sizeof<T>();
    multiplyStripe<T>(c, a, panels, min(STRIPE, rows - row), n, k);
  }
}

function multiplyStripe<T>(C: usize, A: usize, panels: usize, rows: i32, n: i32, k: i32): void {
  const width = panelWidth<T>();
  const lda = <usize>k * sizeof<T>();
  const ldc = <usize>n * sizeof<T>();
  const panelBytes = <usize>k * PANEL;
  let panel = panels;
  let c = C;
  let j = 0;
  // Node 20, which runs the build without relaxed SIMD, has not the registers for it.
  if (ASC_FEATURE_RELAXED_SIMD && rows == 1) {
    for (; j <= n - 2 * width; j += 2 * width) {
      longRow<T>(c, A, panel, panelBytes, k);
      panel += 2 * panelBytes;
      c += 2 * PANEL;
    }
  }
  for (; j <= n - width; j += width) {
    for (let from = 0; from < k; from += BLOCK) {
      multiplyPanel<T>(c, ldc, A + <usize>from * sizeof<T>(), lda, panel + <usize>from * PANEL, rows, min(BLOCK, k - from));
    }
    panel += panelBytes;
    c += PANEL;
  }
  if (j < n) multiplyEdge<T>(c, ldc, A, lda, panel, rows, n - j, k);
}

function multiplyPanel<T>(c: usize, ldc: usize, a: usize, lda: usize, panel: usize, rows: i32, k: i32): void {
  for (let row = 0; row < rows; row += ROWS) {
    tile<T>(min(ROWS, rows - row), c, ldc, a, lda, sizeof<T>(), panel, k);
    c += <usize>ROWS * ldc;
    a += <usize>ROWS * lda;
  }
}

/** The columns that do not fill a panel: computed beside C, and only what belongs to C is copied back. */
function multiplyEdge<T>(c: usize, ldc: usize, a: usize, lda: usize, panel: usize, rows: i32, columns: i32, k: i32): void {
  const bytes = <usize>columns * sizeof<T>();
  for (let row = 0; row < rows; row += ROWS) {
    const some = min(ROWS, rows - row);
    copyRows(EDGE, PANEL, c, ldc, some, bytes);
    tile<T>(some, EDGE, PANEL, a, lda, sizeof<T>(), panel, k);
    copyRows(c, ldc, EDGE, PANEL, some, bytes);
    c += <usize>ROWS * ldc;
    a += <usize>ROWS * lda;
  }
}

/** Rows of `bytes` bytes, from one block of memory to another. */
export function copyRows(to: usize, toStride: usize, from: usize, fromStride: usize, rows: i32, bytes: usize): void {
  for (let row = 0; row < rows; row++) {
    memory.copy(to, from, bytes);
    to += toStride;
    from += fromStride;
  }
}
