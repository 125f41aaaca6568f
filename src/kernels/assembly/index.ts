/**
 * What kernels/simd.ts calls: each kernel of kernels/list.ts but fillRows, for each type of numbers. Every address is in
 * bytes, every length in numbers; arguments are in the order of the kernel's, lengths last.
 */
import { add, addHadamard, addRows, hadamard, subtract } from './elements';
import { sigmoidAll, tanhAll } from './exponential';
import { sigmoidGradient, tanhGradient } from './gradients';
import { output, outputGradients } from './gru';
import { gateGradients, gates } from './lstm';
import { addOuterProducts } from './outer';
import { multiply } from './product';
import { softmaxRows } from './softmax';

export function addProduct64(out: usize, panels: usize, v: usize, m: i32, n: i32, k: i32): void {
  multiply<f64>(out, v, panels, m, n, k);
}

export function addProduct32(out: usize, panels: usize, v: usize, m: i32, n: i32, k: i32): void {
  multiply<f32>(out, v, panels, m, n, k);
}

export function addTransposedProduct64(out: usize, panels: usize, v: usize, m: i32, n: i32, k: i32): void {
  multiply<f64>(out, v, panels, m, n, k);
}

export function addTransposedProduct32(out: usize, panels: usize, v: usize, m: i32, n: i32, k: i32): void {
  multiply<f32>(out, v, panels, m, n, k);
}

export function addOuterProducts64(dW: usize, stride: usize, dz: usize, v: usize, m: i32, p: i32, q: i32): void {
  addOuterProducts<f64>(dW, stride, dz, v, m, p, q);
}

export function addOuterProducts32(dW: usize, stride: usize, dz: usize, v: usize, m: i32, p: i32, q: i32): void {
  addOuterProducts<f32>(dW, stride, dz, v, m, p, q);
}

export function addRows64(db: usize, dz: usize, m: i32, n: i32): void {
  addRows<f64>(db, dz, m, n);
}

export function addRows32(db: usize, dz: usize, m: i32, n: i32): void {
  addRows<f32>(db, dz, m, n);
}

export function add64(out: usize, a: usize, b: usize, length: i32): void {
  add<f64>(out, a, b, length);
}

export function add32(out: usize, a: usize, b: usize, length: i32): void {
  add<f32>(out, a, b, length);
}

export function subtract64(out: usize, a: usize, b: usize, length: i32): void {
  subtract<f64>(out, a, b, length);
}

export function subtract32(out: usize, a: usize, b: usize, length: i32): void {
  subtract<f32>(out, a, b, length);
}

export function hadamard64(out: usize, a: usize, b: usize, length: i32): void {
  hadamard<f64>(out, a, b, length);
}

export function hadamard32(out: usize, a: usize, b: usize, length: i32): void {
  hadamard<f32>(out, a, b, length);
}

export function addHadamard64(out: usize, a: usize, b: usize, length: i32): void {
  addHadamard<f64>(out, a, b, length);
}

export function addHadamard32(out: usize, a: usize, b: usize, length: i32): void {
  addHadamard<f32>(out, a, b, length);
}

export function sigmoid64(v: usize, length: i32): void {
  sigmoidAll<f64>(v, length);
}

export function sigmoid32(v: usize, length: i32): void {
  sigmoidAll<f32>(v, length);
}

export function sigmoidGradient64(dz: usize, da: usize, a: usize, length: i32): void {
  sigmoidGradient<f64>(dz, da, a, length);
}

export function sigmoidGradient32(dz: usize, da: usize, a: usize, length: i32): void {
  sigmoidGradient<f32>(dz, da, a, length);
}

export function tanh64(v: usize, length: i32): void {
  tanhAll<f64>(v, v, length);
}

export function tanh32(v: usize, length: i32): void {
  tanhAll<f32>(v, v, length);
}

export function tanhGradient64(dz: usize, da: usize, a: usize, length: i32): void {
  tanhGradient<f64>(dz, da, a, length);
}

export function tanhGradient32(dz: usize, da: usize, a: usize, length: i32): void {
  tanhGradient<f32>(dz, da, a, length);
}

export function softmaxRows64(v: usize, length: i32, n: i32): void {
  softmaxRows<f64>(v, length, n);
}

export function softmaxRows32(v: usize, length: i32, n: i32): void {
  softmaxRows<f32>(v, length, n);
}

export function lstmGates64(f: usize, i: usize, c: usize, o: usize, cNext: usize, aNext: usize, cPrev: usize, length: i32): void {
  gates<f64>(f, i, c, o, cNext, aNext, cPrev, length);
}

export function lstmGates32(f: usize, i: usize, c: usize, o: usize, cNext: usize, aNext: usize, cPrev: usize, length: i32): void {
  gates<f32>(f, i, c, o, cNext, aNext, cPrev, length);
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

export function gruOutput64(z: usize, c: usize, aNext: usize, aPrev: usize, length: i32): void {
  output<f64>(z, c, aNext, aPrev, length);
}

export function gruOutput32(z: usize, c: usize, aNext: usize, aPrev: usize, length: i32): void {
  output<f32>(z, c, aNext, aPrev, length);
}

export function gruOutputGradients64(
  dzz: usize, dzc: usize, daPrev: usize, da: usize, z: usize, c: usize, aPrev: usize, length: i32,
): void {
  outputGradients<f64>(dzz, dzc, daPrev, da, z, c, aPrev, length);
}

export function gruOutputGradients32(
  dzz: usize, dzc: usize, daPrev: usize, da: usize, z: usize, c: usize, aPrev: usize, length: i32,
): void {
  outputGradients<f32>(dzz, dzc, daPrev, da, z, c, aPrev, length);
}

/** Where the memory that belongs to nobody begins. */
export function heapBase(): usize {
  return __heap_base;
}
