import { PANEL_BYTES } from '../panel';

/**
 * What all kernels share. A vector is 16 bytes: two doubles, or four floats. Where operations on neighbouring vectors
 * stand side by side, V8 can fuse them to one of 32 bytes (--experimental-wasm-revectorize).
 */

export const VECTOR: usize = 16;
export const PANEL: usize = PANEL_BYTES;

/** Set for the build for vectors of 32 bytes: asc --use WIDE=1. */
// @ts-ignore: not declared in the other builds
export const IS_WIDE = isDefined(WIDE);

/** Numbers in a panel's row: 8 doubles or 16 floats. */
// @ts-ignore: decorator
@inline
export function panelWidth<T>(): i32 {
  return <i32>(PANEL / sizeof<T>());
}

/** a · b + c, lane by lane: rounded once in a build with relaxed SIMD, twice in one without. */
// @ts-ignore: decorator
@inline
export function madd<T>(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return v128.relaxed_madd<T>(a, b, c);
  return v128.add<T>(v128.mul<T>(a, b), c);
}

// @ts-ignore: decorator
@inline
export function splat<T>(value: i32): v128 {
  return v128.splat<T>(<T>value);
}
