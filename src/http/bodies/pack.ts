import { pipeline, Readable } from 'node:stream';
import {
  constants,
  createDeflate,
  createGzip,
  deflate,
  deflateSync,
  gzip,
  gzipSync,
  type ZlibOptions,
} from 'node:zlib';
import type { FastifyInstance, FastifyReply } from 'fastify';
import fp from 'fastify-plugin';
import { addVary } from '../headers.js';
import type { Packing } from './unpack.js';

/**
 * Packs what is no answer of a computation, for whoever takes it packed: the document, pages, metrics. Answers of
 * computations are packed by their route, and for those alone who ask for nothing else.
 */
export const packPlugin = fp(
  async (app: FastifyInstance) => {
    app.addHook('onSend', (request, reply, payload, done) => {
      if (request.routeOptions.config.operation || reply.statusCode !== 200 || !isWorthIt(reply, payload)) {
        done(null, payload);
        return;
      }
      addVary(reply, 'Accept-Encoding');
      const packing = packingFor(request.headers['accept-encoding']);
      if (packing === undefined) done(null, payload);
      else {
        reply.header('content-encoding', packing);
        pack(packing, payload as string | Buffer, done);
      }
    });
  },
  { name: 'pack' },
);

/** Less fits into one packet in any case, and to pack it takes the main thread 20 µs. */
export const LEAST_BYTES = 1024;

function isWorthIt(reply: FastifyReply, payload: unknown): boolean {
  if (!/^text\/|\/javascript|[/+](json|xml)/.test(String(reply.getHeader('content-type')))) return false;
  return (typeof payload === 'string' || Buffer.isBuffer(payload)) && payload.length >= LEAST_BYTES;
}

/** What is sent again and again, as the document is, is packed once. */
const kept = new WeakMap<Buffer, { [packing in Packing]?: Buffer }>();

function pack(packing: Packing, payload: string | Buffer, done: (error: Error | null, packed: Buffer) => void): void {
  const isKept = typeof payload !== 'string';
  const before = isKept ? kept.get(payload)?.[packing] : undefined;
  if (before) {
    done(null, before);
    return;
  }
  const options = isKept ? {} : { level: constants.Z_BEST_SPEED };
  (packing === 'gzip' ? gzip : deflate)(payload, options, (error, packed) => {
    if (isKept && !error) kept.set(payload, { ...kept.get(payload), [packing]: packed });
    done(error, packed);
  });
}

/**
 * Digits that look random repeat nothing: looking for repetitions takes three times as long and packs no better. Zeros pack
 * less well so, but still to a quarter.
 */
const NUMBERS: ZlibOptions = { strategy: constants.Z_HUFFMAN_ONLY, chunkSize: 64 * 1024 };

/** Packs a small answer of a computation, at once: 0.15 ms for the largest. Chunks of this size come out of Node's pool. */
export const SMALL_BYTES = 16 * 1024;
export function packSmall(packing: Packing, bytes: Uint8Array): Buffer {
  return (packing === 'gzip' ? gzipSync : deflateSync)(bytes, { ...NUMBERS, chunkSize: 2048 });
}

/** Bytes that packing takes beside what it packs. */
export const PACKING_BYTES = 384 * 1024;

/** Packs the pieces of a larger one as they are taken, in zlib's threads. */
export function packPieces(packing: Packing, pieces: Iterable<Uint8Array>): Readable {
  const packer = packing === 'gzip' ? createGzip(NUMBERS) : createDeflate(NUMBERS);
  // Either end takes the other one along; the reply hears of it from the packer.
  return pipeline(Readable.from(slicesOf(pieces)), packer, () => {});
}

const SLICE_BYTES = 64 * 1024;

/** Copies: a piece can be freed at any time, also while a thread of zlib reads. */
function* slicesOf(pieces: Iterable<Uint8Array>): Generator<Buffer> {
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; at += SLICE_BYTES) yield Buffer.from(piece.subarray(at, at + SLICE_BYTES));
  }
}

/** The packing that a client likes best; undefined: none. */
export function packingFor(accepted: string | undefined): Packing | undefined {
  if (accepted === undefined) return undefined;
  return best(weightsIn(accepted));
}

/**
 * The same for a client that names exactly one packing, and nothing else but perhaps identity. Most libraries send a list,
 * whether or not their user is in need of it, and numbers take 8 ms a megabyte.
 */
export function packingNamedAlone(accepted: string | undefined): Packing | undefined {
  if (accepted === undefined) return undefined;
  const weights = weightsIn(accepted);
  const named = [...weights].filter(([name, weight]) => name !== 'identity' && weight > 0);
  return named.length === 1 && named[0][0] !== '*' ? best(weights) : undefined;
}

function best(weights: ReadonlyMap<string, number>): Packing | undefined {
  const weightOf = (name: Packing) => weights.get(name) ?? weights.get('*') ?? 0;
  const packing = weightOf('deflate') > weightOf('gzip') ? 'deflate' : 'gzip';
  const weight = weightOf(packing);
  return weight > 0 && weight >= (weights.get('identity') ?? 0) ? packing : undefined;
}

/** The codings of an Accept-Encoding, each with its weight; what is malformed is left out. */
function weightsIn(accepted: string): Map<string, number> {
  const weights = new Map<string, number>();
  for (const one of accepted.toLowerCase().split(',')) {
    const [, name, weight = '1'] = /^\s*([^\s;]+)\s*(?:;\s*q=(\d?\.?\d*)\s*)?$/.exec(one) ?? [];
    if (name !== undefined && Number(weight) <= 1) weights.set(name.replace(/^x-(?=gzip$)/, ''), Number(weight));
  }
  return weights;
}
