import type { Kernels, Rows } from '../kernels/kernels.js';
import { clear } from './layout.js';

/**
 * The gradient that reaches step t: the caller's own, and what step t + 1 handed back. Truncated backpropagation
 * cuts the sequence into segments of `steps` time steps counted from t = 0 and drops what would cross a cut.
 *
 *     d_next(t) = d[:, :, t] + d_prev(t + 1)      d_prev dropped where (t + 1) mod steps = 0
 *
 * @param d_next (m, n_a), scratch
 * @param d      (m, n_a), the caller's gradient at t; absent: zero
 * @param d_prev (m, n_a), handed back by step t + 1; zero at the last step
 * @return (m, n_a), d_next(t): in d_next, or where it is already
 */
export function carried(
  kernels: Kernels,
  d_next: Rows,
  d: Rows | undefined,
  d_prev: Rows,
  t: number,
  steps: number,
): Rows {
  if ((t + 1) % steps === 0) clear(d_prev);
  if (d === undefined) return d_prev;
  kernels.add(d_next, d, d_prev);
  return d_next;
}
