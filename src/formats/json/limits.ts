/** What the codec in assembly and its host must agree on: TypeScript and AssemblyScript both compile this file. */

/** Axes of a tensor, at most, that the codec reads or writes. */
export const MOST_RANK = 8;

/** Bytes of text from one checkpoint to the next: about 100 µs, and 1 ms where all numbers are as hard to round as can be. */
export const CHECKPOINT_BYTES = 65536;

/** The powers of ten that the codec multiplies with, and the 64-bit words that each of them takes in its table. */
export const LEAST_POWER = -348;
export const MOST_POWER = 347;
export const POWER_WORDS = 4;
