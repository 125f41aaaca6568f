import type { Deposit } from '../operations/operation.js';
import { Refusal } from '../tensor/refusal.js';
import type { Plan } from './plan.js';
import type { Request } from './request.js';

/**
 * @param bytes that the request takes, with what its blocks need again
 * @throws Refusal work-too-large where they are more than it may take
 */
export function refuseTooLarge(bytes: number, limit: number): void {
  if (bytes <= limit) return;
  const detail = `the tensors of this request, what is computed from them and the text of the answer can take ${bytes} bytes, but the limit is ${limit} bytes`;
  throw new Refusal('work-too-large', [{ pointer: '', detail }]);
}

/** @throws Refusal work-too-large where a request asks for more arithmetic than it may */
export function refuseTooMuchWork(flops: number, limit: number): void {
  if (flops <= limit) return;
  const detail = `this request takes ${flops} multiplications and additions, but the limit is ${limit}`;
  throw new Refusal('work-too-large', [{ pointer: '', detail }]);
}

/** @throws Refusal work-too-large where what a request wants to be stored is too large for that */
export function refuseTooLargeToStore(
  { outputBytes: { store } }: Plan,
  { storage }: Request,
  { group }: Deposit,
): void {
  if (storage === undefined || store <= storage.limit) return;
  const detail = `the ${group} of this request are ${store} bytes, but ${storage.limit} may be stored`;
  throw new Refusal('work-too-large', [{ pointer: `/${group}`, detail }]);
}
