import { copyRows } from './product';
import { ROWS, tile } from './tile';
import { PANEL, panelWidth } from './vector';

/**
 * dW += Σ_r dz[r, :] · v[r, :]ᵀ, the weight gradients: a product whose inner dimension is the examples. Both sides
 * are packed block by block, dz in groups of columns and v in panels. Each element is summed over r in order.
 */

/** Examples that are packed at a time, and columns of dz: both blocks stay in the second cache. */
const EXAMPLES: i32 = 256;
const STRIP: i32 = 128;

const V_PANEL: usize = memory.data(EXAMPLES * <i32>PANEL, 16);
const GROUPS: usize = memory.data(EXAMPLES * STRIP * 8, 16); // room for doubles
const EDGE: usize = memory.data(<i32>PANEL * ROWS, 16);

/** dW (p, q), its rows `stride` bytes apart; dz (rows, p), v (rows, q). */
export function addOuterProducts<T>(dW: usize, stride: usize, dz: usize, v: usize, rows: i32, p: i32, q: i32): void {
  const ldz = <usize>p * sizeof<T>();
  const ldv = <usize>q * sizeof<T>();
  for (let from = 0; from < rows; from += EXAMPLES) {
    const block = min(EXAMPLES, rows - from);
    for (let i = 0; i < p; i += STRIP) {
      const strip = min(STRIP, p - i);
      packGroups<T>(dz + <usize>from * ldz + <usize>i * sizeof<T>(), ldz, block, strip);
      addStrip<T>(dW + <usize>i * stride, stride, v + <usize>from * ldv, ldv, block, strip, q);
    }
  }
}

function addStrip<T>(dW: usize, stride: usize, v: usize, ldv: usize, block: i32, strip: i32, q: i32): void {
  const width = panelWidth<T>();
  for (let j = 0; j < q; j += width) {
    const columns = min(width, q - j);
    const bytes = <usize>columns * sizeof<T>();
    packColumns<T>(v + <usize>j * sizeof<T>(), ldv, block, columns);
    let group = GROUPS;
    let w = dW + <usize>j * sizeof<T>();
    for (let i = 0; i < strip; i += ROWS) {
      const some = min(ROWS, strip - i);
      const advance = <usize>some * sizeof<T>();
      if (columns == width) {
        tile<T>(some, w, stride, group, sizeof<T>(), advance, V_PANEL, block);
      } else {
        // What does not belong to dW is computed beside it.
        copyRows(EDGE, PANEL, w, stride, some, bytes);
        tile<T>(some, EDGE, PANEL, group, sizeof<T>(), advance, V_PANEL, block);
        copyRows(w, stride, EDGE, PANEL, some, bytes);
      }
      group += <usize>block * advance;
      w += <usize>ROWS * stride;
    }
  }
}

/** A strip of dz as groups of ROWS columns: [i / ROWS][r][ROWS]. The last group has what columns are left. */
function packGroups<T>(dz: usize, ldz: usize, block: i32, strip: i32): void {
  let at = GROUPS;
  let from = dz;
  let i = 0;
  for (; i <= strip - ROWS; i += ROWS) {
    packGroup<T>(at, from, ldz, block, ROWS);
    at += <usize>(block * ROWS) * sizeof<T>();
    from += ROWS * sizeof<T>();
  }
  if (i < strip) packGroup<T>(at, from, ldz, block, strip - i);
}

// @ts-ignore: decorator
@inline
function packGroup<T>(to: usize, from: usize, ldz: usize, block: i32, columns: i32): void {
  const bytes = <usize>columns * sizeof<T>();
  for (let r = 0; r < block; r++) {
    store<T>(to, load<T>(from));
    if (columns > 1) store<T>(to + sizeof<T>(), load<T>(from + sizeof<T>()));
    if (columns > 2) store<T>(to + 2 * sizeof<T>(), load<T>(from + 2 * sizeof<T>()));
    if (columns > 3) store<T>(to + 3 * sizeof<T>(), load<T>(from + 3 * sizeof<T>()));
    to += bytes;
    from += ldz;
  }
}

/** Up to a panel's width of columns of v, one row of 64 bytes for each example. */
function packColumns<T>(from: usize, stride: usize, block: i32, columns: i32): void {
  const bytes = <usize>columns * sizeof<T>();
  let at = V_PANEL;
  if (bytes == PANEL) {
    for (let r = 0; r < block; r++) {
      const v0 = v128.load(from, 0), v1 = v128.load(from, 16), v2 = v128.load(from, 32), v3 = v128.load(from, 48);
      v128.store(at, v0, 0);
      v128.store(at, v1, 16);
      v128.store(at, v2, 32);
      v128.store(at, v3, 48);
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
