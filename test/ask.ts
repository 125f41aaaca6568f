import { answer } from '../src/compute/worker.js';
import type { JsonObject } from './values.js';

/** Runs an operation the way a worker does, from JSON text to JSON text, in this thread. */
export function ask(operation: string, request: object | string, workLimit = Number.POSITIVE_INFINITY) {
  const text = typeof request === 'string' ? request : JSON.stringify(request);
  return answer({ operation, body: new TextEncoder().encode(text), workLimit, handedOver: 0 });
}

/** The same for a request that must succeed: the answer's text. */
export function askText(operation: string, request: object): string {
  const outcome = ask(operation, request);
  if (!outcome.ok) throw new Error(`${operation}: ${outcome.faults.map(({ detail }) => detail).join('; ')}`);
  return new TextDecoder().decode(outcome.body);
}

/** The same, read with JSON.parse. */
export function askJson(operation: string, request: object): JsonObject {
  return JSON.parse(askText(operation, request));
}

/** The same for a request that must be refused: its code, and each fault as "pointer: detail". */
export function refusal(operation: string, request: object | string, workLimit?: number) {
  const outcome = ask(operation, request, workLimit);
  if (outcome.ok) throw new Error(`${operation} was not refused`);
  return { code: outcome.code, faults: outcome.faults };
}
