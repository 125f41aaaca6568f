/** The functions that ../codec.ts calls. Every address is in bytes. */
import { POWERS } from './powers';
import { RESULT, readArrays } from './read';
import { beginArrays, LAYOUT, writeNumbers } from './write';

export { beginArrays };

export function readFloat64(text: usize, out: usize): usize {
  return readArrays<f64>(text, out);
}
export function readFloat32(text: usize, out: usize): usize {
  return readArrays<f32>(text, out);
}

export function writeFloat64(data: usize, count: i32, to: usize): usize {
  return writeNumbers<f64>(data, count, to);
}
export function writeFloat32(data: usize, count: i32, to: usize): usize {
  return writeNumbers<f32>(data, count, to);
}

/** Where the host writes the powers of ten. */
export function powers(): usize {
  return POWERS;
}

/** Where the host writes the shape of a tensor before its numbers are written. */
export function layout(): usize {
  return LAYOUT;
}

/** Where the host finds the rank and the shape of the tensor that was read. */
export function result(): usize {
  return RESULT;
}

/** Where the free memory begins. */
export function heapBase(): usize {
  return __heap_base;
}
