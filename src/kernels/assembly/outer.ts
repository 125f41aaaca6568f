import { madd, PANEL, panelWidth } from './vector';

/**
 * dW += Σ_r dz[r, :] · v[r, :]ᵀ, the weight gradients: a product whose inner dimension is the examples. Both sides
 * are packed block by block, dz in pairs of columns and v in panels. Each element is summed over r in order.
 */

/** Examples that are packed at a time, and columns of dz: both blocks stay in the second cache. */
const EXAMPLES: i32 = 256;
const STRIP: i32 = 128;

const V_PANEL: usize = memory.data(16384, 16); // EXAMPLES · PANEL
const PAIRS: usize = memory.data(262144, 16); // EXAMPLES · STRIP doubles
const EDGE: usize = memory.data(128, 16);

/** dW (p, q), its rows `stride` bytes apart; dz (rows, p), v (rows, q). */
export function addOuterProducts<T>(dW: usize, stride: usize, dz: usize, v: usize, rows: i32, p: i32, q: i32): void {
  const ldz = <usize>p * sizeof<T>();
  const ldv = <usize>q * sizeof<T>();
  for (let from = 0; from < rows; from += EXAMPLES) {
    const block = min(EXAMPLES, rows - from);
    for (let i = 0; i < p; i += STRIP) {
      const strip = min(STRIP, p - i);
      packPairs<T>(dz + <usize>from * ldz + <usize>i * sizeof<T>(), ldz, block, strip);
      addStrip<T>(dW + <usize>i * stride, stride, v + <usize>from * ldv, ldv, block, strip, q);
    }
  }
}

function addStrip<T>(dW: usize, stride: usize, v: usize, ldv: usize, block: i32, strip: i32, q: i32): void {
  const width = panelWidth<T>();
  const pairBytes = <usize>block * 2 * sizeof<T>();
  for (let j = 0; j < q; j += width) {
    const columns = min(width, q - j);
    const bytes = <usize>columns * sizeof<T>();
    packColumns<T>(v + <usize>j * sizeof<T>(), ldv, block, columns);
    let pair = PAIRS;
    let w = dW + <usize>j * sizeof<T>();
    for (let i = 0; i < strip; i += 2) {
      const both = i + 1 < strip;
      if (columns == width && both) {
        tile<T>(w, w + stride, pair, block);
      } else {
        // What does not belong to dW is computed beside it.
        memory.copy(EDGE, w, bytes);
        if (both) memory.copy(EDGE + PANEL, w + stride, bytes);
        tile<T>(EDGE, EDGE + PANEL, pair, block);
        memory.copy(w, EDGE, bytes);
        if (both) memory.copy(w + stride, EDGE + PANEL, bytes);
      }
      pair += pairBytes;
      w += 2 * stride;
    }
  }
}

/** A strip of dz as pairs of columns: [i / 2][r][2]. The last column of an odd strip has a partner of zeros. */
function packPairs<T>(dz: usize, ldz: usize, block: i32, strip: i32): void {
  let at = PAIRS;
  for (let i = 0; i < strip; i += 2) {
    let from = dz + <usize>i * sizeof<T>();
    const both = i + 1 < strip;
    for (let r = 0; r < block; r++) {
      store<T>(at, load<T>(from));
      store<T>(at + sizeof<T>(), both ? load<T>(from + sizeof<T>()) : <T>0);
      at += 2 * sizeof<T>();
      from += ldz;
    }
  }
}

/** Up to a panel's width of columns of v, one row of 64 bytes for each example. */
function packColumns<T>(from: usize, stride: usize, block: i32, columns: i32): void {
  const bytes = <usize>columns * sizeof<T>();
  let at = V_PANEL;
  if (bytes == PANEL) {
    for (let r = 0; r < block; r++) {
      v128.store(at, v128.load(from, 0), 0);
      v128.store(at, v128.load(from, 16), 16);
      v128.store(at, v128.load(from, 32), 32);
      v128.store(at, v128.load(from, 48), 48);
      at += PANEL;
      from += stride;
    }
    return;
  }
  memory.fill(V_PANEL, 0, <usize>block * PANEL);
  for (let r = 0; r < block; r++) {
    for (let c: usize = 0; c < bytes; c += sizeof<T>()) store<T>(at + c, load<T>(from + c));
    at += PANEL;
    from += stride;
  }
}

/** Two rows of dW, one panel wide. */
// @ts-ignore: decorator
@inline
function tile<T>(c: usize, d: usize, pair: usize, block: i32): void {
  let c0 = v128.load(c, 0), c1 = v128.load(c, 16), c2 = v128.load(c, 32), c3 = v128.load(c, 48);
  let d0 = v128.load(d, 0), d1 = v128.load(d, 16), d2 = v128.load(d, 32), d3 = v128.load(d, 48);
  let a = pair;
  let p = V_PANEL;
  const end = p + <usize>block * PANEL;
  while (p < end) {
    const p0 = v128.load(p, 0), p1 = v128.load(p, 16), p2 = v128.load(p, 32), p3 = v128.load(p, 48);
    const x = v128.load_splat<T>(a);
    c0 = madd<T>(x, p0, c0);
    c1 = madd<T>(x, p1, c1);
    c2 = madd<T>(x, p2, c2);
    c3 = madd<T>(x, p3, c3);
    const y = v128.load_splat<T>(a + sizeof<T>());
    d0 = madd<T>(y, p0, d0);
    d1 = madd<T>(y, p1, d1);
    d2 = madd<T>(y, p2, d2);
    d3 = madd<T>(y, p3, d3);
    p += PANEL;
    a += 2 * sizeof<T>();
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
