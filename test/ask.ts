import type { AwaitingAttachment, Outcome, PieceResult, SplitRequest } from '../src/compute/messages.js';
import {
  answer,
  computeBlock,
  finishBlocks,
  type Machinery,
  machineryWith,
  writePiece,
} from '../src/compute/worker/request.js';
import { formatsWith } from '../src/formats/formats.js';
import { type JsonCodec, loadJsonCodec } from '../src/formats/json/codec.js';
import { slicesOf, writeSlices } from '../src/formats/json/writer.js';
import type { Build } from '../src/kernels/kernels.js';
import { reference } from '../src/kernels/reference.js';
import { slicesOfSums, withFinished } from '../src/plan/finish.js';
import { earliest, type NonFinite } from '../src/plan/non-finite.js';
import { bySlice, pieceTasks } from '../src/plan/pieces.js';
import type { Storage } from '../src/plan/request.js';
import { cacheId } from '../src/stores/cache-id.js';
import type { GroupMember, Values } from '../src/tensor/signature.js';
import type { JsonObject } from './values.js';

/** The fast road for tensors, as `npm run build` has made it. */
export const codec = loadJsonCodec();

/** All formats, on the fast road. */
export const formats = formatsWith(codec);

/** Values as JSON; without a codec as the plain writer writes them. */
export function writeJson(signature: GroupMember, values: Values, codec?: JsonCodec): Uint8Array<ArrayBuffer> {
  return writeSlices(slicesOf(signature, values), codec);
}

/** Runs an operation the way the service does, from JSON text to JSON text, in this thread. */
export function ask(
  operation: string,
  request: object | string,
  workLimit = Number.POSITIVE_INFINITY,
  kernels: Build = reference,
): Outcome {
  return askWith(machineryFor(kernels), operation, request, workLimit);
}

function machineryFor(kernels: Build): Machinery {
  const known = machineries.get(kernels) ?? machineryWith({ kernels, formats });
  machineries.set(kernels, known);
  return known;
}

const machineries = new Map<Build, Machinery>();

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
  const task = { operation, body, format: 'json', slot: 0, workLimit, flopsLimit, handedOver: 0, storage } as const;
  const reply = answer(machinery, task);
  const outcome = 'attachmentId' in reply ? answer(machinery, { ...task, resumed: resumed(reply) }) : reply;
  if ('attachmentId' in outcome) throw new Error('an attachment names another one');
  const finished = 'ok' in outcome ? outcome : finish(machinery, outcome);
  if (finished.ok && finished.deposit) stored.set(storage.id, Buffer.concat(finished.deposit));
  return finished;
}

/** What was stored in this thread. */
const stored = new Map<string, Buffer>();

function newStorage(): Storage {
  const expiresAt = new Date(Date.UTC(2030, 1, 1)).toISOString();
  return { id: cacheId(Date.parse(expiresAt)), expiresAt, limit: Number.POSITIVE_INFINITY };
}

function resumed(request: AwaitingAttachment) {
  const attachment = stored.get(request.attachmentId);
  if (!attachment) throw new Error(`nothing is stored as ${request.attachmentId}`);
  return { request, attachment: Uint8Array.from(attachment) };
}

function finish(machinery: Machinery, { blocks, pieces, finish, time, ...report }: SplitRequest): Outcome {
  const results = blocks.map((block) => computeBlock(machinery, block));
  const refused = ({ fault }: NonFinite): Outcome => {
    return { ...report, ok: false, code: 'non-finite-result', faults: [fault] };
  };
  const nonFinite = earliest(
    results.map((result) => result.nonFinite),
    time,
  );
  if (nonFinite) return refused(nonFinite);
  const [{ slices }] = blocks;
  const added = bySlice(
    slices,
    results.map(({ contributions }) => contributions),
  );
  let ofSlices = added;
  if (finish) {
    const finished = finishBlocks(machinery, { ...finish, slices: slicesOfSums(slices, added) });
    if (finished.nonFinite) return refused(finished.nonFinite);
    ofSlices = withFinished(slices, added, finished.contributions);
  }
  const written = pieceTasks(pieces, ofSlices).map((task) => writePiece(machinery, task));
  const wrong = written.find((piece) => 'nonFinite' in piece);
  if (wrong) return refused(wrong.nonFinite);
  const to = (destination: 'caller' | 'store') =>
    (written as Exclude<PieceResult, { nonFinite: NonFinite }>[])
      .filter((piece) => piece.destination === destination)
      .map(({ bytes }) => bytes);
  const deposit = to('store');
  return { ...report, ok: true, body: to('caller'), ...(deposit.length > 0 && { deposit }) };
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
