import { madd, VECTOR } from './vector';

/** What happens to runs of numbers element by element. out may be a or b. */

/** out = a + b */
export function add<T>(out: usize, a: usize, b: usize, length: i32): void {
  const bytes = <usize>length * sizeof<T>();
  let i: usize = 0;
  for (; i + 2 * VECTOR <= bytes; i += 2 * VECTOR) {
    const a0 = v128.load(a + i, 0), a1 = v128.load(a + i, 16);
    const b0 = v128.load(b + i, 0), b1 = v128.load(b + i, 16);
    const y0 = v128.add<T>(a0, b0), y1 = v128.add<T>(a1, b1);
    v128.store(out + i, y0, 0);
    v128.store(out + i, y1, 16);
  }
  for (; i < bytes; i += sizeof<T>()) store<T>(out + i, load<T>(a + i) + load<T>(b + i));
}

/** out = a − b */
export function subtract<T>(out: usize, a: usize, b: usize, length: i32): void {
  const bytes = <usize>length * sizeof<T>();
  let i: usize = 0;
  for (; i + 2 * VECTOR <= bytes; i += 2 * VECTOR) {
    const a0 = v128.load(a + i, 0), a1 = v128.load(a + i, 16);
    const b0 = v128.load(b + i, 0), b1 = v128.load(b + i, 16);
    const y0 = v128.sub<T>(a0, b0), y1 = v128.sub<T>(a1, b1);
    v128.store(out + i, y0, 0);
    v128.store(out + i, y1, 16);
  }
  for (; i < bytes; i += sizeof<T>()) store<T>(out + i, load<T>(a + i) - load<T>(b + i));
}

/** out = a ∘ b */
export function hadamard<T>(out: usize, a: usize, b: usize, length: i32): void {
  const bytes = <usize>length * sizeof<T>();
  let i: usize = 0;
  for (; i + 2 * VECTOR <= bytes; i += 2 * VECTOR) {
    const a0 = v128.load(a + i, 0), a1 = v128.load(a + i, 16);
    const b0 = v128.load(b + i, 0), b1 = v128.load(b + i, 16);
    const y0 = v128.mul<T>(a0, b0), y1 = v128.mul<T>(a1, b1);
    v128.store(out + i, y0, 0);
    v128.store(out + i, y1, 16);
  }
  for (; i < bytes; i += sizeof<T>()) store<T>(out + i, load<T>(a + i) * load<T>(b + i));
}

/** out += a ∘ b */
export function addHadamard<T>(out: usize, a: usize, b: usize, length: i32): void {
  const bytes = <usize>length * sizeof<T>();
  let i: usize = 0;
  for (; i + 2 * VECTOR <= bytes; i += 2 * VECTOR) {
    const a0 = v128.load(a + i, 0), a1 = v128.load(a + i, 16);
    const b0 = v128.load(b + i, 0), b1 = v128.load(b + i, 16);
    const c0 = v128.load(out + i, 0), c1 = v128.load(out + i, 16);
    const y0 = madd<T>(a0, b0, c0), y1 = madd<T>(a1, b1, c1);
    v128.store(out + i, y0, 0);
    v128.store(out + i, y1, 16);
  }
  for (; i < bytes; i += sizeof<T>()) {
    const y = madd<T>(v128.load_splat<T>(a + i), v128.load_splat<T>(b + i), v128.load_splat<T>(out + i));
    v128.store_lane<T>(out + i, y, 0);
  }
}

/** db (n) += Σ_r dz[r, :], row by row. */
export function addRows<T>(db: usize, dz: usize, rows: i32, n: i32): void {
  for (let row = 0; row < rows; row++) {
    add<T>(db, db, dz, n);
    dz += <usize>n * sizeof<T>();
  }
}
