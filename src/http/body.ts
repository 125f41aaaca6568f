import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { Problem } from './problems.js';

/**
 * Takes bodies as bytes, each in memory of its own, so that it can be moved to a worker. Nothing here looks at
 * what the bytes say.
 */
export const bodyPlugin = fp(
  async (app: FastifyInstance, { limit }: { limit: number }) => {
    // A client that asks before it sends is told at once that its body is too large.
    app.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
      if (!(Number(request.headers['content-length']) > limit)) {
        delete request.headers.expect;
        response.writeContinue();
      }
      app.server.emit('request', request, response);
    });
    // Other expectations are ignored, as RFC 9110 (10.1.1) allows.
    app.server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
      delete request.headers.expect;
      app.server.emit('request', request, response);
    });
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('application/json', (request: FastifyRequest, payload: IncomingMessage) => {
      checkEncoding(request);
      return collect(request, payload, limit);
    });
  },
  { name: 'body' },
);

function checkEncoding({ headers }: FastifyRequest): void {
  const encoding = headers['content-encoding'] ?? 'identity';
  if (encoding.toLowerCase() !== 'identity') {
    throw new Problem('unsupported-media-type', `the body has Content-Encoding ${encoding}, but must have none`);
  }
  const charset = /;\s*charset="?([^";\s]+)/i.exec(headers['content-type'] ?? '')?.[1] ?? 'utf-8';
  if (!/^utf-?8$/i.test(charset)) {
    throw new Problem('unsupported-media-type', `the body is in ${charset}, but must be in UTF-8`);
  }
}

/** A length that is announced is believed when so much of it has arrived. */
const BELIEVED_BYTES = 1024 * 1024;
/** What is reserved at first for a body of unknown length. */
const FIRST_BYTES = 64 * 1024;

/**
 * All bytes of the payload in one piece of memory, which doubles as it fills where no length is announced. A body
 * over the limit is refused as soon as that is known; the error handler reads the rest of it.
 */
function collect(request: FastifyRequest, payload: IncomingMessage, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const announced = request.headers['content-length'];
  if (Number(announced) > limit) throw tooLarge(`${announced} bytes`, limit);
  let bytes = new Uint8Array(Math.min(Number(announced ?? FIRST_BYTES), BELIEVED_BYTES));
  let length = 0;
  return new Promise((resolve, reject) => {
    function take(chunk: Uint8Array): void {
      const end = length + chunk.length;
      if (end > limit) {
        payload.off('data', take);
        reject(tooLarge(`more than ${limit} bytes`, limit));
        return;
      }
      if (end > bytes.length) {
        const larger = new Uint8Array(Number(announced ?? Math.min(Math.max(2 * bytes.length, end), limit)));
        larger.set(bytes.subarray(0, length));
        bytes = larger;
      }
      bytes.set(chunk, length);
      length = end;
    }
    // Events rather than `for await`, which costs a small request more than all else that is done with its body.
    payload.on('data', take);
    payload.once('end', () => resolve(bytes.subarray(0, length)));
    payload.once('error', reject);
  });
}

function tooLarge(size: string, limit: number): Problem {
  return new Problem('payload-too-large', `the body has ${size}, but the limit is ${limit} bytes`);
}
