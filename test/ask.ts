import { answer } from '../src/compute/answer.js';
import type { Kernels } from '../src/kernels/kernels.js';
import { reference } from '../src/kernels/reference.js';
import type { JsonObject } from './values.js';

/** Runs an operation the way a worker does, from JSON text to JSON text, in this thread. */
export function ask(
  operation: string,
  request: object | string,
  workLimit = Number.POSITIVE_INFINITY,
  kernels: Kernels = reference,
) {
  const text = typeof request === 'string' ? request : JSON.stringify(request);
  return answer({ kernels }, { operation, body: new TextEncoder().encode(text), workLimit, handedOver: 0 });
}

/** The same for a request that must succeed: the answer's text. */
export function askText(operation: string, request: object, kernels?: Kernels): string {
  const outcome = ask(operation, request, Number.POSITIVE_INFINITY, kernels);
  if (!outcome.ok) throw new Error(`${operation}: ${outcome.faults.map(({ detail }) => detail).join('; ')}`);
  return new TextDecoder().decode(outcome.body);
}

/** The same, read with JSON.parse. */
export function askJson(operation: string, request: object, kernels?: Kernels): JsonObject {
  return JSON.parse(askText(operation, request, kernels));
}

/** The same for a request that must be refused: its code, and each fault as "pointer: detail". */
export function refusal(operation: string, request: object | string, workLimit?: number) {
  const outcome = ask(operation, request, workLimit);
  if (outcome.ok) throw new Error(`${operation} was not refused`);
  return { code: outcome.code, faults: outcome.faults };
}
