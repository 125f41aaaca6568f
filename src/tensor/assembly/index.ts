/** What ../json-codec.ts calls. Every address is in bytes. */
import { POWERS } from './powers';
import { HARD, RESULT } from './read';

export { readArrays } from './read';
export { writeArrays } from './write';

/** Where the host writes the powers of ten. */
export function powers(): usize {
  return POWERS;
}

/** Where it finds what was read, and the numbers left to it. */
export function result(): usize {
  return RESULT;
}
export function hardNumbers(): usize {
  return HARD;
}

/** Where the memory that belongs to nobody begins. */
export function heapBase(): usize {
  return __heap_base;
}
