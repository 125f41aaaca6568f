/**
 * What all kernels share. A vector is 16 bytes: two doubles, or four floats. A panel is 64 bytes wide: four vectors
 * side by side, which is as many as stay in registers beside their factors.
 */

export const VECTOR: usize = 16;
export const PANEL: usize = 64;

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
