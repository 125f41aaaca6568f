/** What kernels/simd.ts calls. Every address is in bytes, every length in numbers. */
import { addOuterProducts } from './outer';
import { multiply, pack } from './product';

export { sigmoidAll, softmaxRows, tanhAll } from './activations';

export function pack64(panels: usize, source: usize, n: i32, k: i32, nStride: usize, kStride: usize): void {
  pack<f64>(panels, source, n, k, nStride, kStride);
}

export function multiply64(C: usize, A: usize, panels: usize, rows: i32, n: i32, k: i32): void {
  multiply<f64>(C, A, panels, rows, n, k);
}

export function addOuterProducts64(dW: usize, stride: usize, dz: usize, v: usize, rows: i32, p: i32, q: i32): void {
  addOuterProducts<f64>(dW, stride, dz, v, rows, p, q);
}

/** Where the memory that belongs to nobody begins. */
export function heapBase(): usize {
  return __heap_base;
}
