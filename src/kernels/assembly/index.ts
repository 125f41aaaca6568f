/** What kernels/simd.ts calls. Every address is in bytes, every length in numbers. */
import { tanhAll } from './exponential';
import { gateGradients, gates } from './lstm';
import { addOuterProducts } from './outer';
import { multiply } from './product';
import { gradient } from './rnn';
import { add, addRows } from './rows';
import { softmaxRows } from './softmax';

export function multiply64(C: usize, A: usize, panels: usize, rows: i32, n: i32, k: i32): void {
  multiply<f64>(C, A, panels, rows, n, k);
}

export function multiply32(C: usize, A: usize, panels: usize, rows: i32, n: i32, k: i32): void {
  multiply<f32>(C, A, panels, rows, n, k);
}

export function addOuterProducts64(dW: usize, stride: usize, dz: usize, v: usize, rows: i32, p: i32, q: i32): void {
  addOuterProducts<f64>(dW, stride, dz, v, rows, p, q);
}

export function addOuterProducts32(dW: usize, stride: usize, dz: usize, v: usize, rows: i32, p: i32, q: i32): void {
  addOuterProducts<f32>(dW, stride, dz, v, rows, p, q);
}

export function tanh64(v: usize, length: i32): void {
  tanhAll<f64>(v, v, length);
}

export function tanh32(v: usize, length: i32): void {
  tanhAll<f32>(v, v, length);
}

export function softmaxRows64(v: usize, length: i32, n: i32): void {
  softmaxRows<f64>(v, length, n);
}

export function softmaxRows32(v: usize, length: i32, n: i32): void {
  softmaxRows<f32>(v, length, n);
}

export function lstmGates64(f: usize, i: usize, c: usize, o: usize, cPrev: usize, cNext: usize, aNext: usize, length: i32): void {
  gates<f64>(f, i, c, o, cPrev, cNext, aNext, length);
}

export function lstmGates32(f: usize, i: usize, c: usize, o: usize, cPrev: usize, cNext: usize, aNext: usize, length: i32): void {
  gates<f32>(f, i, c, o, cPrev, cNext, aNext, length);
}

export function lstmGateGradients64(
  dzf: usize, dzi: usize, dzc: usize, dzo: usize, dcPrev: usize, da: usize, dc: usize,
  f: usize, i: usize, c: usize, o: usize, cPrev: usize, cNext: usize, length: i32,
): void {
  gateGradients<f64>(dzf, dzi, dzc, dzo, dcPrev, da, dc, f, i, c, o, cPrev, cNext, length);
}

export function lstmGateGradients32(
  dzf: usize, dzi: usize, dzc: usize, dzo: usize, dcPrev: usize, da: usize, dc: usize,
  f: usize, i: usize, c: usize, o: usize, cPrev: usize, cNext: usize, length: i32,
): void {
  gateGradients<f32>(dzf, dzi, dzc, dzo, dcPrev, da, dc, f, i, c, o, cPrev, cNext, length);
}

export function tanhGradient64(dz: usize, da: usize, a: usize, length: i32): void {
  gradient<f64>(dz, da, a, length);
}

export function tanhGradient32(dz: usize, da: usize, a: usize, length: i32): void {
  gradient<f32>(dz, da, a, length);
}

export function add64(out: usize, a: usize, b: usize, length: i32): void {
  add<f64>(out, a, b, length);
}

export function add32(out: usize, a: usize, b: usize, length: i32): void {
  add<f32>(out, a, b, length);
}

export function addRows64(db: usize, dz: usize, rows: i32, n: i32): void {
  addRows<f64>(db, dz, rows, n);
}

export function addRows32(db: usize, dz: usize, rows: i32, n: i32): void {
  addRows<f32>(db, dz, rows, n);
}

/** Where the memory that belongs to nobody begins. */
export function heapBase(): usize {
  return __heap_base;
}
