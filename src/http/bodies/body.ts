import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { shortage } from '../../compute/ledger.js';
import { now } from '../../compute/messages.js';
import type { Pool } from '../../compute/pool/pool.js';
import { discard } from '../../compute/transfer.js';
import { isAllocationFailure, NO_MEMORY } from '../../compute/worker/allocation.js';
import { callerOf } from '../callers/caller.js';
import { tooLate } from '../deadline.js';
import { Problem } from '../problems.js';
import { Hold } from './hold.js';
import { packingOf, UNPACKING_BYTES, unpack } from './unpack.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** The memory that its bytes take in this thread. */
    hold: Hold;
  }
}

/**
 * Takes bodies as bytes, each in memory of its own, so that it can be moved to a worker. Nothing here looks at
 * what the bytes say.
 */
export const bodyPlugin = fp(
  async (app: FastifyInstance, { limit, memory }: { limit: number; memory: Pool['memory'] }) => {
    app.decorateRequest('hold');
    app.addHook('onRequest', (request, _reply, done) => {
      if (request.routeOptions.config.operation) {
        const hold = new Hold(memory, callerOf(request));
        request.hold = hold;
        request.whenOver(() => hold.end());
      }
      done();
    });
    // A client that asks before it sends is told to go on when all but its body is accepted. Without a key, or with a
    // body that is too large, it hears so at once.
    const asking = new WeakMap<IncomingMessage, ServerResponse>();
    app.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
      asking.set(request, response);
      app.server.emit('request', request, response);
    });
    function goOn(request: IncomingMessage): void {
      const response = asking.get(request);
      if (response === undefined) return;
      delete request.headers.expect;
      response.writeContinue();
    }
    // Other expectations are ignored, as RFC 9110 (10.1.1) allows.
    app.server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
      delete request.headers.expect;
      app.server.emit('request', request, response);
    });
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('application/json', async (request: FastifyRequest, payload: IncomingMessage) => {
      // What is sent to an address where there is nothing is read, and forgotten, when that has been told.
      if (!request.routeOptions.config.operation) return undefined;
      checkCharset(request);
      const body = collect(request, payload, limit, memory); // throws where it will take none
      goOn(request.raw);
      return body;
    });
  },
  { name: 'body' },
);

function checkCharset({ headers }: FastifyRequest): void {
  const charset = /;\s*charset="?([^";\s]+)/i.exec(headers['content-type'] ?? '')?.[1] ?? 'utf-8';
  if (!/^utf-?8$/i.test(charset)) {
    throw new Problem('unsupported-media-type', `the body is in ${charset}, but must be in UTF-8`);
  }
}

/** A length that is announced is believed when so much of it has arrived: then memory for all of it is reserved. */
const BELIEVED_BYTES = 1024 * 1024;
/** What has arrived is taken from the budget in steps: memory that is reserved and not written to takes none yet. */
const STEP_BYTES = 1024 * 1024;
/** How much more is reserved each time a body of unknown length needs more: so little of it is ever copied. */
const GROWTH = 16;
/** What is reserved at first for a body of unknown length. */
const FIRST_BYTES = 64 * 1024;

/**
 * All bytes of the payload, unpacked, in memory of their own, which grows as it fills where their number is not announced. A
 * body over the limit, or for which there is no memory at the moment, is refused as soon as that is known; the error handler
 * reads the rest of it.
 */
function collect(
  request: FastifyRequest,
  payload: IncomingMessage,
  limit: number,
  memory: Pool['memory'],
): Promise<Uint8Array<ArrayBuffer>> {
  request.receiveFrom = performance.now();
  const { headers, hold, deadline } = request;
  const packing = packingOf(headers);
  if (Number(headers['content-length']) > limit) throw tooLarge(`${headers['content-length']} bytes`, limit);
  const announced = packing === undefined ? headers['content-length'] : undefined;
  const beside = packing === undefined ? 0 : UNPACKING_BYTES;
  const expected = Number(announced ?? FIRST_BYTES);
  const first = Math.min(expected, BELIEVED_BYTES);
  if (memory.used + expected > memory.limit || !hold.grow(first + beside)) throw overloaded(expected, memory);
  let bytes = new Uint8Array(first);
  let length = 0;
  let held = first;
  return new Promise((resolve, reject) => {
    function refuse(problem: Problem): void {
      request.receiveTo = performance.now();
      ignore();
      discard(bytes);
      bytes = new Uint8Array(0);
      hold.become(0);
      reject(problem);
    }
    function take(chunk: Uint8Array): void {
      request.hasCome();
      const problem = makeRoom(length + chunk.length);
      if (problem) {
        refuse(problem);
        return;
      }
      bytes.set(chunk, length);
      length += chunk.length;
    }
    function makeRoom(end: number): Problem | undefined {
      if (end > limit) return tooLarge(`more than ${limit} bytes${packing ? ' unpacked' : ''}`, limit);
      if (end > held) {
        const most = Math.min(Number(announced ?? limit), limit);
        const next = Math.min(Math.ceil(end / STEP_BYTES) * STEP_BYTES, most);
        if (!hold.grow(next + beside)) return overloaded(next, memory);
        held = next;
      }
      if (end > bytes.length) {
        const larger = reserve(Number(announced ?? Math.min(GROWTH * Math.max(bytes.length, end), limit)));
        if (larger === undefined) return new Problem('overloaded', NO_MEMORY);
        larger.set(bytes.subarray(0, length));
        discard(bytes);
        bytes = larger;
      }
      return undefined;
    }
    function end(): void {
      request.receiveTo = performance.now();
      // A small body is copied on its way to a worker, with all the memory it lies in; a larger one moves.
      if (bytes.length > length) bytes = length <= FIRST_BYTES ? bytes.slice(0, length) : bytes.subarray(0, length);
      hold.become(length);
      resolve(bytes);
    }
    let ignore: () => void = () => payload.off('data', take);
    if (packing === undefined) {
      // Events rather than `for await`, which costs a small request more than all else that is done with its body.
      payload.on('data', take);
      payload.once('end', end);
    } else {
      ignore = unpack(payload, packing, limit, { take, end, refuse });
      request.whenOver(ignore);
    }
    payload.once('error', reject);
    if (expected > FIRST_BYTES || announced === undefined) {
      request.whenOver(() => discard(bytes)); // what a worker has by then is here no longer
      const tooSlow = () => refuse(late('the body comes too slowly'));
      request.mustSend(() => length, tooSlow);
    }
    // The connection's, when no byte has come for a while (slow-clients.ts).
    payload.once('timeout', () => refuse(late('the body has stopped coming')));
    const timer = setTimeout(() => refuse(tooLate(request)), Math.ceil(deadline.at - now()));
    payload.once('end', () => clearTimeout(timer));
    request.whenOver(() => clearTimeout(timer));
  });
}

/** Memory for a body; undefined where the system has none. */
function reserve(bytes: number): Uint8Array<ArrayBuffer> | undefined {
  try {
    return new Uint8Array(bytes);
  } catch (error) {
    if (isAllocationFailure(error)) return undefined;
    throw error;
  }
}

function late(detail: string): Problem {
  return new Problem('request-timeout', detail, [], { connection: 'close' });
}

function tooLarge(size: string, limit: number): Problem {
  return new Problem('payload-too-large', `the body has ${size}, but the limit is ${limit} bytes`);
}

function overloaded(bytes: number, memory: Pool['memory']): Problem {
  return new Problem('overloaded', shortage(`the body takes ${bytes} bytes`, memory));
}
