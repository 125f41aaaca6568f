import { exponential, hyperbolicTangent, sigmoid } from './exponential';

/**
 * σ, tanh and softmax over runs of doubles, in place. What does not fill a vector at the end is computed in a
 * vector of its own, so that a number gives the same bits wherever it stands.
 */

export function sigmoidAll(v: usize, length: i32): void {
  const end = v + ((<usize>length >> 1) << 4);
  let at = v;
  for (; at < end; at += 16) v128.store(at, sigmoid(v128.load(at)));
  if (length & 1) store<f64>(at, f64x2.extract_lane(sigmoid(v128.load64_splat(at)), 0));
}

export function tanhAll(v: usize, length: i32): void {
  const end = v + ((<usize>length >> 1) << 4);
  let at = v;
  for (; at < end; at += 16) v128.store(at, hyperbolicTangent(v128.load(at)));
  if (length & 1) store<f64>(at, f64x2.extract_lane(hyperbolicTangent(v128.load64_splat(at)), 0));
}

function exponentialAll(v: usize, length: i32): void {
  const end = v + ((<usize>length >> 1) << 4);
  let at = v;
  for (; at < end; at += 16) v128.store(at, exponential(v128.load(at)));
  if (length & 1) store<f64>(at, f64x2.extract_lane(exponential(v128.load64_splat(at)), 0));
}

/** Each row of n numbers becomes its softmax: the row's maximum is subtracted first. */
export function softmaxRows(v: usize, length: i32, n: i32): void {
  const bytes = <usize>n << 3;
  const end = v + ((<usize>length) << 3);
  for (let row = v; row < end; row += bytes) {
    let most = load<f64>(row);
    for (let at: usize = 8; at < bytes; at += 8) most = max(most, load<f64>(row + at));
    for (let at: usize = 0; at < bytes; at += 8) store<f64>(row + at, load<f64>(row + at) - most);
  }
  exponentialAll(v, length);
  for (let row = v; row < end; row += bytes) {
    let sum: f64 = 0;
    for (let at: usize = 0; at < bytes; at += 8) sum += load<f64>(row + at);
    for (let at: usize = 0; at < bytes; at += 8) store<f64>(row + at, load<f64>(row + at) / sum);
  }
}
