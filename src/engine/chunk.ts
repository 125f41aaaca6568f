/**
 * How many time steps are worked on together where all of them would take too much memory: enough rows that the
 * products over a chunk are fast, few enough that a chunk stays in the cache.
 */
const ROWS = 256;

/** T_c, the time steps in a chunk of a sequence of T steps with m examples each. */
export function chunkSteps(m: number, T: number): number {
  return Math.min(T, Math.ceil(ROWS / m));
}
