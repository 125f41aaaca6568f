/** Constants that the codec and its host share. TypeScript and AssemblyScript both compile this file. */

/** The most axes of a tensor that the codec reads or writes. */
export const MOST_RANK = 8;

/** Bytes of text between two checkpoints: about 100 µs of reading, or 1 ms if every number is as hard to round as possible. */
export const CHECKPOINT_BYTES = 65536;

/** The powers of ten that the codec multiplies with, and the 64-bit words that each of them takes in its table. */
export const LEAST_POWER = -348;
export const MOST_POWER = 347;
export const POWER_WORDS = 4;
