import type { Tensor, WholeNumbers } from '../tensor/tensor.js';
import type { Steps, Track } from './layout.js';

/**
 * Batches whose examples have different lengths. The examples are sorted, the longest first, and each time step holds only
 * those that are not over, so that the work follows the sum of the lengths.
 */
export interface Ragged {
  readonly steps: Steps;
  /** Which example of the batch is the first, second, … in each step. */
  readonly order: Int32Array;
}

/**
 * @param lengths of the examples, each from 1
 * @param T       steps behind which every example is over
 * @return undefined where no example is over before that
 */
export function raggedOf(lengths: WholeNumbers, T: number): Ragged | undefined {
  const m = lengths.length;
  const own = lengths.map((length) => Math.min(length, T));
  if (own.every((length) => length === T)) return undefined;
  const order = new Int32Array(m).map((_, j) => j).sort((one, other) => own[other] - own[one] || one - other);
  const longest = own[order[0]];
  const starts = new Int32Array(longest + 1);
  for (let t = 0, count = m; t < longest; t++) {
    while (own[order[count - 1]] <= t) count--;
    starts[t + 1] = starts[t] + count;
  }
  return { steps: { T: longest, m, starts }, order };
}

/** How many rows a batch has in all its steps together. */
export function rowsOfBatch(lengths: WholeNumbers, T: number): number {
  return lengths.reduce((sum, length) => sum + Math.min(length, T), 0);
}

/** Copies the rows that are there of a padded batch, (T, m, n), side by side. */
export function pack({ data: to, n }: Track, { data: from }: Pick<Track, 'data'>, ragged: Ragged): void {
  forEachRow(ragged, (packed, padded) => {
    for (let i = 0; i < n; i++) to[packed * n + i] = from[padded * n + i];
  });
}

/** And back. The padding is left as it is. */
export function unpack({ data: to, n }: Track, { data: from }: Pick<Track, 'data'>, ragged: Ragged): void {
  forEachRow(ragged, (packed, padded) => {
    for (let i = 0; i < n; i++) to[padded * n + i] = from[packed * n + i];
  });
}

/**
 * Whole numbers of a batch, (m, T), in the order of the walk: step by step, and in each step example by example.
 *
 * @param ragged absent where all examples have T steps
 */
export function whole({ data, shape: [m, T] }: Tensor<WholeNumbers>, steps: number, ragged?: Ragged): Int32Array {
  const inOrder = new Int32Array(m * steps);
  const copy = (row: number, padded: number) => {
    inOrder[row] = data[(padded % m) * T + Math.floor(padded / m)];
  };
  if (ragged) forEachRow(ragged, copy);
  else for (let row = 0; row < m * steps; row++) copy(row, row);
  return inOrder;
}

/** Calls with the row of each example in each step, first in the packed batch and then in the padded one. */
function forEachRow({ steps: { T, m, starts }, order }: Ragged, visit: (packed: number, padded: number) => void): void {
  if (!starts) return;
  for (let t = 0; t < T; t++) {
    for (let row = starts[t]; row < starts[t + 1]; row++) visit(row, t * m + order[row - starts[t]]);
  }
}
