import { madd, PANEL, panelWidth } from './vector';

/**
 * C += A · B, where B is packed: panels of 8 doubles (16 floats) side by side, each with one row of 64 bytes for
 * every k. Each element of C is the sum c + a_0·b_0 + a_1·b_1 + … in that order, however many rows there are and
 * however the loops are cut, so that a batch gives the same bits as its examples one by one.
 */

/** Rows of a panel that are multiplied in one go: 16 KiB, which stays in the first cache. */
const BLOCK: i32 = 256;

/** Where the last, incomplete panel of C is computed, two rows of it. */
const EDGE: usize = memory.data(128, 16);

/**
 * Packs W, or Wᵀ: row k of panel j is source(j·width … , k), zero where there are no more columns.
 *
 * @param n columns of B, the outputs        @param k rows of B, the inputs
 * @param nStride bytes from one column of B to the next     @param kStride from one row to the next
 */
export function pack<T>(panels: usize, source: usize, n: i32, k: i32, nStride: usize, kStride: usize): void {
  const width = panelWidth<T>();
  let at = panels;
  for (let j = 0; j < n; j += width) {
    const columns = min(width, n - j);
    let row = source + <usize>j * nStride;
    for (let i = 0; i < k; i++) {
      let from = row;
      for (let c = 0; c < columns; c++) {
        store<T>(at + <usize>c * sizeof<T>(), load<T>(from));
        from += nStride;
      }
      for (let c = columns; c < width; c++) store<T>(at + <usize>c * sizeof<T>(), <T>0);
      at += PANEL;
      row += kStride;
    }
  }
}

/** C (rows, n) += A (rows, k) · panels (k, n). C and A are without gaps between their rows. */
export function multiply<T>(C: usize, A: usize, panels: usize, rows: i32, n: i32, k: i32): void {
  const width = panelWidth<T>();
  const lda = <usize>k * sizeof<T>();
  const ldc = <usize>n * sizeof<T>();
  const panelBytes = <usize>k * PANEL;
  for (let j = 0; j < n; j += width) {
    const panel = panels + (<usize>j / <usize>width) * panelBytes;
    const c = C + <usize>j * sizeof<T>();
    if (n - j >= width) {
      for (let from = 0; from < k; from += BLOCK) {
        const length = min(BLOCK, k - from);
        multiplyPanel<T>(c, ldc, A + <usize>from * sizeof<T>(), lda, panel + <usize>from * PANEL, rows, length);
      }
    } else {
      multiplyEdge<T>(c, ldc, A, lda, panel, rows, n - j, k);
    }
  }
}

function multiplyPanel<T>(C: usize, ldc: usize, A: usize, lda: usize, panel: usize, rows: i32, k: i32): void {
  let c = C;
  let a = A;
  let row = 0;
  for (; row <= rows - 2; row += 2) {
    tile2<T>(c, c + ldc, a, a + lda, panel, k);
    c += 2 * ldc;
    a += 2 * lda;
  }
  if (row < rows) tile1<T>(c, a, panel, k);
}

/** The columns that do not fill a panel: computed beside C, and only what belongs to C is copied back. */
function multiplyEdge<T>(C: usize, ldc: usize, A: usize, lda: usize, panel: usize, rows: i32, columns: i32, k: i32): void {
  const bytes = <usize>columns * sizeof<T>();
  let c = C;
  let a = A;
  let row = 0;
  for (; row <= rows - 2; row += 2) {
    memory.copy(EDGE, c, bytes);
    memory.copy(EDGE + PANEL, c + ldc, bytes);
    tile2<T>(EDGE, EDGE + PANEL, a, a + lda, panel, k);
    memory.copy(c, EDGE, bytes);
    memory.copy(c + ldc, EDGE + PANEL, bytes);
    c += 2 * ldc;
    a += 2 * lda;
  }
  if (row < rows) {
    memory.copy(EDGE, c, bytes);
    tile1<T>(EDGE, a, panel, k);
    memory.copy(c, EDGE, bytes);
  }
}

/** Two rows of C, one panel wide: eight accumulators. */
// @ts-ignore: decorator
@inline
function tile2<T>(c: usize, d: usize, a: usize, b: usize, panel: usize, k: i32): void {
  let c0 = v128.load(c, 0), c1 = v128.load(c, 16), c2 = v128.load(c, 32), c3 = v128.load(c, 48);
  let d0 = v128.load(d, 0), d1 = v128.load(d, 16), d2 = v128.load(d, 32), d3 = v128.load(d, 48);
  let p = panel;
  const end = panel + <usize>k * PANEL;
  while (p < end) {
    const p0 = v128.load(p, 0), p1 = v128.load(p, 16), p2 = v128.load(p, 32), p3 = v128.load(p, 48);
    const x = v128.load_splat<T>(a);
    c0 = madd<T>(x, p0, c0);
    c1 = madd<T>(x, p1, c1);
    c2 = madd<T>(x, p2, c2);
    c3 = madd<T>(x, p3, c3);
    const y = v128.load_splat<T>(b);
    d0 = madd<T>(y, p0, d0);
    d1 = madd<T>(y, p1, d1);
    d2 = madd<T>(y, p2, d2);
    d3 = madd<T>(y, p3, d3);
    p += PANEL;
    a += sizeof<T>();
    b += sizeof<T>();
  }
  v128.store(c, c0, 0);
  v128.store(c, c1, 16);
  v128.store(c, c2, 32);
  v128.store(c, c3, 48);
  v128.store(d, d0, 0);
  v128.store(d, d1, 16);
  v128.store(d, d2, 32);
  v128.store(d, d3, 48);
}

/** One row of C, one panel wide. */
// @ts-ignore: decorator
@inline
function tile1<T>(c: usize, a: usize, panel: usize, k: i32): void {
  let c0 = v128.load(c, 0), c1 = v128.load(c, 16), c2 = v128.load(c, 32), c3 = v128.load(c, 48);
  let p = panel;
  const end = panel + <usize>k * PANEL;
  while (p < end) {
    const x = v128.load_splat<T>(a);
    c0 = madd<T>(x, v128.load(p, 0), c0);
    c1 = madd<T>(x, v128.load(p, 16), c1);
    c2 = madd<T>(x, v128.load(p, 32), c2);
    c3 = madd<T>(x, v128.load(p, 48), c3);
    p += PANEL;
    a += sizeof<T>();
  }
  v128.store(c, c0, 0);
  v128.store(c, c1, 16);
  v128.store(c, c2, 32);
  v128.store(c, c3, 48);
}
