import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { createGunzip, createInflate, createInflateRaw } from 'node:zlib';
import { isAllocationFailure, NO_MEMORY } from '../../compute/worker/allocation.js';
import { Problem } from '../problems.js';

export type Packing = 'gzip' | 'deflate';

/** Bytes that unpacking takes beside what comes out: the window of zlib, and what it unpacks at a time. */
export const UNPACKING_BYTES = 128 * 1024;
const CHUNK_BYTES = 64 * 1024;
/** So many of a small body, which come out of Node's pool: memory of its own for each would double what a tiny body costs. */
const SMALL_CHUNK_BYTES = 2048;
const SMALL_BODY_BYTES = 4096;

/**
 * How a body is packed; undefined: not at all.
 *
 * @throws Problem unsupported-media-type
 */
export function packingOf(headers: IncomingHttpHeaders): Packing | undefined {
  const given = headers['content-encoding'] ?? '';
  // In a list, identity says nothing.
  const codings = given
    .toLowerCase()
    .split(',')
    .map((coding) => coding.trim());
  switch (codings.filter((coding) => coding !== '' && coding !== 'identity').join()) {
    case '':
      return undefined;
    case 'gzip':
    case 'x-gzip':
      return 'gzip';
    case 'deflate':
      return 'deflate';
    default:
      throw new Problem(
        'unsupported-media-type',
        `the body has Content-Encoding ${given.slice(0, 100)}, but must have gzip, deflate or none`,
        [],
        { 'accept-encoding': 'gzip, deflate' },
      );
  }
}

/** Told of a body as it is unpacked: of its bytes, and then either that it has ended or that it is not what it says. */
export interface Unpacked {
  /** The bytes are gone afterwards. */
  take(bytes: Uint8Array): void;
  end(): void;
  refuse(problem: Problem): void;
}

/**
 * Unpacks a body as it comes, in zlib's threads and no faster than its bytes are taken: it can be a thousand times as long as
 * what came.
 *
 * @param limit bytes that may come
 * @return ends it
 */
export function unpack(
  payload: IncomingMessage,
  packing: Packing,
  limit: number,
  { take, end, refuse }: Unpacked,
): () => void {
  let came = 0;
  let unpacker: ReturnType<typeof unpackerFor> | undefined;
  const broken = (why: string) => {
    refuse(new Problem('invalid-request', `the body has Content-Encoding ${packing}, but cannot be unpacked: ${why}`));
  };
  function write(chunk: Uint8Array): void {
    came += chunk.length;
    if (came > limit) {
      refuse(
        new Problem('payload-too-large', `the body has more than ${limit} bytes, but the limit is ${limit} bytes`),
      );
      return;
    }
    unpacker ??= unpackerFor(packing, chunk[0], Number(payload.headers['content-length']))
      .on('data', take)
      .once('error', (error) => {
        if (isAllocationFailure(error)) refuse(new Problem('overloaded', NO_MEMORY));
        else broken(error.message);
      })
      .once('end', () => {
        // What stands behind the end is passed over by zlib.
        if ((unpacker?.bytesWritten ?? 0) < came) broken('something stands behind its end');
        else end();
      });
    if (unpacker.write(chunk)) return;
    payload.pause();
    unpacker.once('drain', () => payload.resume());
  }
  payload.on('data', write);
  payload.once('end', () => {
    if (unpacker) unpacker.end();
    else broken('it is empty');
  });
  return () => {
    payload.off('data', write);
    unpacker?.destroy();
  };
}

/** Under the name of deflate come both the format of zlib, whose first byte names its method in four bits, and bare data. */
function unpackerFor(packing: Packing, first: number, announced: number) {
  const options = { chunkSize: announced <= SMALL_BODY_BYTES ? SMALL_CHUNK_BYTES : CHUNK_BYTES };
  if (packing === 'gzip') return createGunzip(options);
  return (first & 0x0f) === 8 ? createInflate(options) : createInflateRaw(options);
}
