import { sigmoidAll, tanhAll } from './exponential';
import { madd, splat, VECTOR } from './vector';

/** Bytes of each array that are computed in one go: all of them together stay in the first cache. */
const CHUNK: usize = 2048;

/**
 * What ends the step of a GRU cell, for its elements:
 *
 *     z = σ(zz), c = tanh(zc)     in place
 *     aNext = c + z · (aPrev − c)
 */
export function output<T>(z: usize, c: usize, aNext: usize, aPrev: usize, length: i32): void {
  const bytes = <usize>length * sizeof<T>();
  for (let from: usize = 0; from < bytes; from += CHUNK) {
    const end = from + min(CHUNK, bytes - from);
    const some = <i32>((end - from) / sizeof<T>());
    sigmoidAll<T>(z + from, some);
    tanhAll<T>(c + from, c + from, some);
    let at = from;
    for (; at + 2 * VECTOR <= end; at += 2 * VECTOR) {
      const z0 = v128.load(z + at, 0), z1 = v128.load(z + at, 16);
      const c0 = v128.load(c + at, 0), c1 = v128.load(c + at, 16);
      const p0 = v128.load(aPrev + at, 0), p1 = v128.load(aPrev + at, 16);
      const a0 = madd<T>(z0, v128.sub<T>(p0, c0), c0), a1 = madd<T>(z1, v128.sub<T>(p1, c1), c1);
      v128.store(aNext + at, a0, 0);
      v128.store(aNext + at, a1, 16);
    }
    for (; at < end; at += sizeof<T>()) {
      const candidate = v128.load_splat<T>(c + at);
      const difference = v128.sub<T>(v128.load_splat<T>(aPrev + at), candidate);
      v128.store_lane<T>(aNext + at, madd<T>(v128.load_splat<T>(z + at), difference, candidate), 0);
    }
  }
}

/**
 * The backward of output(): the gradients of z and c before their activations, and z's part of the gradient of aPrev.
 * daPrev may be da.
 *
 *     dzz = da · (aPrev − c) · z · (1 − z)
 *     dzc = da · (1 − z) · (1 − c²)
 *     daPrev = da · z
 */
export function outputGradients<T>(
  dzz: usize, dzc: usize, daPrev: usize, da: usize, z: usize, c: usize, aPrev: usize, length: i32,
): void {
  const bytes = <usize>length * sizeof<T>();
  const one = splat<T>(1);
  let at: usize = 0;
  for (; at + 2 * VECTOR <= bytes; at += 2 * VECTOR) {
    const da0 = v128.load(da + at, 0), da1 = v128.load(da + at, 16);
    const z0 = v128.load(z + at, 0), z1 = v128.load(z + at, 16);
    const c0 = v128.load(c + at, 0), c1 = v128.load(c + at, 16);
    const p0 = v128.load(aPrev + at, 0), p1 = v128.load(aPrev + at, 16);
    const rest0 = v128.sub<T>(one, z0), rest1 = v128.sub<T>(one, z1);
    const kept0 = v128.mul<T>(da0, z0), kept1 = v128.mul<T>(da1, z1);
    const dzz0 = v128.mul<T>(v128.mul<T>(kept0, v128.sub<T>(p0, c0)), rest0);
    const dzz1 = v128.mul<T>(v128.mul<T>(kept1, v128.sub<T>(p1, c1)), rest1);
    const dzc0 = v128.mul<T>(v128.mul<T>(da0, rest0), v128.sub<T>(one, v128.mul<T>(c0, c0)));
    const dzc1 = v128.mul<T>(v128.mul<T>(da1, rest1), v128.sub<T>(one, v128.mul<T>(c1, c1)));
    v128.store(dzz + at, dzz0, 0);
    v128.store(dzz + at, dzz1, 16);
    v128.store(dzc + at, dzc0, 0);
    v128.store(dzc + at, dzc1, 16);
    v128.store(daPrev + at, kept0, 0);
    v128.store(daPrev + at, kept1, 16);
  }
  for (; at < bytes; at += sizeof<T>()) {
    const gradient = load<T>(da + at), update = load<T>(z + at), candidate = load<T>(c + at);
    const rest = <T>1 - update;
    const kept = gradient * update;
    store<T>(dzz + at, kept * (load<T>(aPrev + at) - candidate) * rest);
    store<T>(dzc + at, gradient * rest * (<T>1 - candidate * candidate));
    store<T>(daPrev + at, kept);
  }
}
