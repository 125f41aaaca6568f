import { exponentialAll } from './exponential';

/** Each row of n numbers becomes its softmax: the row's maximum is subtracted first. */
export function softmaxRows<T>(v: usize, length: i32, n: i32): void {
  const bytes = <usize>n * sizeof<T>();
  const end = v + <usize>length * sizeof<T>();
  for (let row = v; row < end; row += bytes) {
    let most = load<T>(row);
    for (let at = sizeof<T>(); at < bytes; at += sizeof<T>()) most = max<T>(most, load<T>(row + at));
    for (let at: usize = 0; at < bytes; at += sizeof<T>()) store<T>(row + at, load<T>(row + at) - most);
  }
  exponentialAll<T>(v, length);
  for (let row = v; row < end; row += bytes) {
    let sum: T = 0;
    for (let at: usize = 0; at < bytes; at += sizeof<T>()) sum += load<T>(row + at);
    for (let at: usize = 0; at < bytes; at += sizeof<T>()) store<T>(row + at, load<T>(row + at) / sum);
  }
}
