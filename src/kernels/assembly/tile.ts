import { IS_WIDE, madd, PANEL } from './vector';

/** Rows of C that are computed in one go: as many accumulators as stay in registers, 8 of 16 or 32 bytes. */
export const ROWS: i32 = IS_WIDE ? 4 : 2;

/**
 * `rows` ≤ ROWS rows of C, one panel wide: C[i, :] += Σ_k a[i, k] · panel[k, :], each element summed over k in order.
 *
 * @param stride bytes from one row of C to the next
 * @param between bytes from a[i, k] to a[i + 1, k]     @param advance bytes from a[i, k] to a[i, k + 1]
 */
// @ts-ignore: decorator
@inline
export function tile<T>(rows: i32, c: usize, stride: usize, a: usize, between: usize, advance: usize, panel: usize, k: i32): void {
  if (ROWS == 4 && rows == 4) unrolled<T>(4, c, stride, a, between, advance, panel, k);
  else if (ROWS == 4 && rows == 3) unrolled<T>(3, c, stride, a, between, advance, panel, k);
  else if (rows == 2) unrolled<T>(2, c, stride, a, between, advance, panel, k);
  else unrolled<T>(1, c, stride, a, between, advance, panel, k);
}

/** For a constant number of rows: the others are folded away. */
// @ts-ignore: decorator
@inline
function unrolled<T>(rows: i32, c: usize, stride: usize, a: usize, between: usize, advance: usize, panel: usize, k: i32): void {
  const d = rows > 1 ? c + stride : c;
  const e = rows > 2 ? d + stride : c;
  const f = rows > 3 ? e + stride : c;
  let c0 = v128.load(c, 0), c1 = v128.load(c, 16), c2 = v128.load(c, 32), c3 = v128.load(c, 48);
  let d0 = v128.load(d, 0), d1 = v128.load(d, 16), d2 = v128.load(d, 32), d3 = v128.load(d, 48);
  let e0 = v128.load(e, 0), e1 = v128.load(e, 16), e2 = v128.load(e, 32), e3 = v128.load(e, 48);
  let f0 = v128.load(f, 0), f1 = v128.load(f, 16), f2 = v128.load(f, 32), f3 = v128.load(f, 48);
  const between2 = between * 2;
  const between3 = between * 3;
  const end = panel + <usize>k * PANEL;
  for (let p = panel; p < end; p += PANEL) {
    const p0 = v128.load(p, 0), p1 = v128.load(p, 16), p2 = v128.load(p, 32), p3 = v128.load(p, 48);
    const w = v128.load_splat<T>(a);
    c0 = madd<T>(w, p0, c0);
    c1 = madd<T>(w, p1, c1);
    c2 = madd<T>(w, p2, c2);
    c3 = madd<T>(w, p3, c3);
    if (rows > 1) {
      const x = v128.load_splat<T>(a + between);
      d0 = madd<T>(x, p0, d0);
      d1 = madd<T>(x, p1, d1);
      d2 = madd<T>(x, p2, d2);
      d3 = madd<T>(x, p3, d3);
    }
    if (rows > 2) {
      const y = v128.load_splat<T>(a + between2);
      e0 = madd<T>(y, p0, e0);
      e1 = madd<T>(y, p1, e1);
      e2 = madd<T>(y, p2, e2);
      e3 = madd<T>(y, p3, e3);
    }
    if (rows > 3) {
      const z = v128.load_splat<T>(a + between3);
      f0 = madd<T>(z, p0, f0);
      f1 = madd<T>(z, p1, f1);
      f2 = madd<T>(z, p2, f2);
      f3 = madd<T>(z, p3, f3);
    }
    a += advance;
  }
  storeRow(c, c0, c1, c2, c3);
  if (rows > 1) storeRow(d, d0, d1, d2, d3);
  if (rows > 2) storeRow(e, e0, e1, e2, e3);
  if (rows > 3) storeRow(f, f0, f1, f2, f3);
}

/** One row of C, two panels wide: eight accumulators for a batch of one. The panels are `between` bytes apart. */
export function longRow<T>(c: usize, a: usize, panel: usize, between: usize, k: i32): void {
  let c0 = v128.load(c, 0), c1 = v128.load(c, 16), c2 = v128.load(c, 32), c3 = v128.load(c, 48);
  let d0 = v128.load(c, 64), d1 = v128.load(c, 80), d2 = v128.load(c, 96), d3 = v128.load(c, 112);
  const end = panel + <usize>k * PANEL;
  for (let p = panel; p < end; p += PANEL) {
    const q = p + between;
    const x = v128.load_splat<T>(a);
    const p0 = v128.load(p, 0), p1 = v128.load(p, 16), p2 = v128.load(p, 32), p3 = v128.load(p, 48);
    c0 = madd<T>(x, p0, c0);
    c1 = madd<T>(x, p1, c1);
    c2 = madd<T>(x, p2, c2);
    c3 = madd<T>(x, p3, c3);
    const q0 = v128.load(q, 0), q1 = v128.load(q, 16), q2 = v128.load(q, 32), q3 = v128.load(q, 48);
    d0 = madd<T>(x, q0, d0);
    d1 = madd<T>(x, q1, d1);
    d2 = madd<T>(x, q2, d2);
    d3 = madd<T>(x, q3, d3);
    a += sizeof<T>();
  }
  storeRow(c, c0, c1, c2, c3);
  storeRow(c + PANEL, d0, d1, d2, d3);
}

// @ts-ignore: decorator
@inline
function storeRow(c: usize, c0: v128, c1: v128, c2: v128, c3: v128): void {
  v128.store(c, c0, 0);
  v128.store(c, c1, 16);
  v128.store(c, c2, 32);
  v128.store(c, c3, 48);
}
