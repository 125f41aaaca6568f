import type { Deposit } from '../operations/operation.js';
import { Refusal } from '../tensor/refusal.js';
import type { Plan } from './plan.js';
import type { Request } from './request.js';

/** The limits of one request, checked before anything is computed. */

/**
 * @param bytes that the request takes, including what each further block needs again
 * @throws Refusal work-too-large if `bytes` exceeds `limit`
 */
export function refuseTooLarge(bytes: number, limit: number): void {
  if (bytes <= limit) return;
  const detail = `the tensors of this request, its results and the text of the answer can take ${bytes} bytes, but the limit is ${limit} bytes`;
  throw new Refusal('work-too-large', [{ pointer: '', detail }]);
}

/** @throws Refusal work-too-large if a request asks for more arithmetic than `limit` */
export function refuseTooMuchWork(flops: number, limit: number): void {
  if (flops <= limit) return;
  const detail = `this request takes ${flops} multiplications and additions, but the limit is ${limit}`;
  throw new Refusal('work-too-large', [{ pointer: '', detail }]);
}

/** @throws Refusal work-too-large if a request asks for more bytes to be stored than the store takes */
export function refuseTooLargeToStore(
  { outputBytes: { store } }: Plan,
  { storage }: Request,
  { group }: Deposit,
): void {
  if (storage === undefined || store <= storage.limit) return;
  const detail = `the ${group} of this request take ${store} bytes, but at most ${storage.limit} can be stored`;
  throw new Refusal('work-too-large', [{ pointer: `/${group}`, detail }]);
}
