import { VECTOR } from './vector';

/** Sums of runs of numbers. */

/** out = a + b */
export function add<T>(out: usize, a: usize, b: usize, length: i32): void {
  const bytes = <usize>length * sizeof<T>();
  let i: usize = 0;
  for (; i + 2 * VECTOR <= bytes; i += 2 * VECTOR) {
    const a0 = v128.load(a + i, 0), a1 = v128.load(a + i, 16);
    const b0 = v128.load(b + i, 0), b1 = v128.load(b + i, 16);
    const sum0 = v128.add<T>(a0, b0), sum1 = v128.add<T>(a1, b1);
    v128.store(out + i, sum0, 0);
    v128.store(out + i, sum1, 16);
  }
  for (; i < bytes; i += sizeof<T>()) store<T>(out + i, load<T>(a + i) + load<T>(b + i));
}

/** db (n) += Σ_r dz[r, :], row by row. */
export function addRows<T>(db: usize, dz: usize, rows: i32, n: i32): void {
  for (let row = 0; row < rows; row++) {
    add<T>(db, db, dz, n);
    dz += <usize>n * sizeof<T>();
  }
}
