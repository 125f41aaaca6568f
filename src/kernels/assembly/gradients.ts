import { splat, VECTOR } from './vector';

/** What an activation function hands back. dz may be da or a. */

/** a = tanh(z): dz = da · (1 − a²) */
export function tanhGradient<T>(dz: usize, da: usize, a: usize, length: i32): void {
  const bytes = <usize>length * sizeof<T>();
  const one = splat<T>(1);
  let i: usize = 0;
  for (; i + 2 * VECTOR <= bytes; i += 2 * VECTOR) {
    const a0 = v128.load(a + i, 0), a1 = v128.load(a + i, 16);
    const da0 = v128.load(da + i, 0), da1 = v128.load(da + i, 16);
    const dz0 = v128.mul<T>(da0, v128.sub<T>(one, v128.mul<T>(a0, a0)));
    const dz1 = v128.mul<T>(da1, v128.sub<T>(one, v128.mul<T>(a1, a1)));
    v128.store(dz + i, dz0, 0);
    v128.store(dz + i, dz1, 16);
  }
  for (; i < bytes; i += sizeof<T>()) {
    const y = load<T>(a + i);
    store<T>(dz + i, load<T>(da + i) * (<T>1 - y * y));
  }
}

/** a = σ(z): dz = da · a · (1 − a) */
export function sigmoidGradient<T>(dz: usize, da: usize, a: usize, length: i32): void {
  const bytes = <usize>length * sizeof<T>();
  const one = splat<T>(1);
  let i: usize = 0;
  for (; i + 2 * VECTOR <= bytes; i += 2 * VECTOR) {
    const a0 = v128.load(a + i, 0), a1 = v128.load(a + i, 16);
    const da0 = v128.load(da + i, 0), da1 = v128.load(da + i, 16);
    const dz0 = v128.mul<T>(v128.mul<T>(da0, a0), v128.sub<T>(one, a0));
    const dz1 = v128.mul<T>(v128.mul<T>(da1, a1), v128.sub<T>(one, a1));
    v128.store(dz + i, dz0, 0);
    v128.store(dz + i, dz1, 16);
  }
  for (; i < bytes; i += sizeof<T>()) {
    const y = load<T>(a + i);
    store<T>(dz + i, load<T>(da + i) * y * (<T>1 - y));
  }
}
