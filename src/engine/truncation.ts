/**
 * The gradient that reaches step t: the caller's own, and what step t + 1 handed back. Truncated backpropagation
 * cuts the sequence into segments of `steps` time steps counted from t = 0 and drops what would cross a cut.
 *
 *     d_next(t) = d[:, :, t] + d_prev(t + 1)      d_prev dropped where (t + 1) mod steps = 0
 *
 * @param d_next (m, n_a), written
 * @param d      (m, n_a), the caller's gradient at t; absent: zero
 * @param d_prev (m, n_a), handed back by step t + 1; zero at the last step
 */
export function addCarried(
  d_next: Float64Array,
  d: Float64Array | undefined,
  d_prev: Float64Array,
  t: number,
  steps: number,
): void {
  const carried = (t + 1) % steps !== 0;
  for (let i = 0; i < d_next.length; i++) d_next[i] = (d ? d[i] : 0) + (carried ? d_prev[i] : 0);
}
