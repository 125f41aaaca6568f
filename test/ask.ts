import type { Named, Outcome, Storage } from '../src/compute/messages.js';
import { answer, computeBlock, type Large, type Machinery, writePiece } from '../src/compute/worker/request.js';
import { type JsonCodec, loadJsonCodec } from '../src/formats/json/codec.js';
import { segmentsOf, writeSegments } from '../src/formats/json/writer.js';
import type { Build } from '../src/kernels/kernels.js';
import { reference } from '../src/kernels/reference.js';
import { earliest } from '../src/plan/non-finite.js';
import { pieceTasks } from '../src/plan/pieces.js';
import { cacheId } from '../src/stores/cache-id.js';
import type { GroupMember, Values } from '../src/tensor/signature.js';
import type { JsonObject } from './values.js';

/** The fast road for tensors, as `npm run build` has made it. */
export const codec = loadJsonCodec();

/** Values as JSON; without a codec as the plain writer writes them. */
export function writeJson(signature: GroupMember, values: Values, codec?: JsonCodec): Uint8Array<ArrayBuffer> {
  return writeSegments(segmentsOf(signature, values), codec);
}

/** Runs an operation the way the service does, from JSON text to JSON text, in this thread. */
export function ask(
  operation: string,
  request: object | string,
  workLimit = Number.POSITIVE_INFINITY,
  kernels: Build = reference,
): Outcome {
  return askWith({ kernels, codec }, operation, request, workLimit);
}

/** The same with other machinery. What the pool hands to several workers is done here one after the other. */
export function askWith(
  machinery: Machinery,
  operation: string,
  request: object | string,
  workLimit = Number.POSITIVE_INFINITY,
): Outcome {
  const text = typeof request === 'string' ? request : JSON.stringify(request);
  const body = new TextEncoder().encode(text);
  const storage = newStorage();
  const flopsLimit = Number.POSITIVE_INFINITY;
  const task = { operation, body, slot: 0, workLimit, flopsLimit, handedOver: 0, storage };
  const reply = answer(machinery, task);
  const outcome = 'cacheId' in reply ? answer(machinery, { ...task, resumed: resumed(reply) }) : reply;
  if ('cacheId' in outcome) throw new Error('caches name caches');
  const finished = 'ok' in outcome ? outcome : finish(machinery, outcome);
  if (finished.ok && finished.stored) stored.set(storage.cache_id, Buffer.concat(finished.stored));
  return finished;
}

/** The caches that were stored in this thread. */
const stored = new Map<string, Buffer>();

function newStorage(): Storage {
  const cache_expires_at = new Date(Date.UTC(2030, 1, 1)).toISOString();
  return { cache_id: cacheId(Date.parse(cache_expires_at)), cache_expires_at, limit: Number.POSITIVE_INFINITY };
}

function resumed(named: Named) {
  const caches = stored.get(named.cacheId);
  if (!caches) throw new Error(`no caches are stored as ${named.cacheId}`);
  return { named, caches: Uint8Array.from(caches) };
}

function finish(machinery: Machinery, { blocks, pieces, stored, time, ...report }: Large): Outcome {
  const results = blocks.map((block) => computeBlock(machinery, block));
  const nonFinite = earliest(
    results.map((result) => result.nonFinite),
    time,
  );
  const refused = (fault: { pointer: string; detail: string }): Outcome => {
    return { ...report, ok: false, code: 'non-finite-result', faults: [fault] };
  };
  if (nonFinite) return refused(nonFinite.fault);
  const contributions = results.map((result) => result.contributions);
  const texts: Uint8Array<ArrayBuffer>[] = [];
  const toStore: Uint8Array<ArrayBuffer>[] = [];
  for (const task of pieceTasks({ pieces, stored }, contributions)) {
    const piece = writePiece(machinery, task);
    if ('nonFinite' in piece) return refused(piece.nonFinite.fault);
    if ('stored' in piece) toStore.push(piece.stored);
    else texts.push(piece.text);
  }
  return { ...report, ok: true, body: texts, ...(toStore.length > 0 && { stored: toStore }) };
}

/** The text of an answer that is not a refusal. */
export function textOf(outcome: Outcome): string {
  if (!outcome.ok) throw new Error(outcome.faults.map(({ detail }) => detail).join('; '));
  return Buffer.concat(outcome.body).toString();
}

/** The same for a request that must succeed: the answer's text. */
export function askText(operation: string, request: object | string, kernels?: Build): string {
  return textOf(ask(operation, request, Number.POSITIVE_INFINITY, kernels));
}

/** The same, read with JSON.parse. */
export function askJson(operation: string, request: object, kernels?: Build): JsonObject {
  return JSON.parse(askText(operation, request, kernels));
}

/** The same for a request that must be refused: its code, and each fault as "pointer: detail". */
export function refusal(operation: string, request: object | string, workLimit?: number) {
  const outcome = ask(operation, request, workLimit);
  if (outcome.ok) throw new Error(`${operation} was not refused`);
  return { code: outcome.code, faults: outcome.faults };
}
