import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Stopped } from '../../compute/ledger.js';
import { now, type Outcome } from '../../compute/messages.js';
import { DeadlineExceeded, PoolBusy } from '../../compute/pool/busy.js';
import type { Pool } from '../../compute/pool/pool.js';
import type { Attachments } from '../../compute/pool/request.js';
import { discard } from '../../compute/transfer.js';
import type { Operation } from '../../operations/operation.js';
import { operations } from '../../operations/operations.js';
import { lengthOf } from '../../stores/store.js';
import type { Sizes } from '../../tensor/shapes.js';
import { LEAST_BYTES, PACKING_BYTES, packingNamedAlone, packPieces, packSmall, SMALL_BYTES } from '../bodies/pack.js';
import type { Caches } from '../caches.js';
import { tooLate } from '../deadline.js';
import { addVary } from '../headers.js';
import { received, type Stages } from '../monitoring/stages.js';
import { operationSchema } from '../openapi/document.js';
import { Problem } from '../problems.js';

/** One route an operation: the body goes to a worker as it came, and the worker's bytes are the answer. */
export async function computeRoutes(
  app: FastifyInstance,
  { pool, caches }: { pool: Pool; caches: Caches },
): Promise<void> {
  /** What would find no place is refused when its head has come: its body is thrown away as it comes. */
  function checkPlace(request: FastifyRequest, _reply: unknown, done: (error?: Problem) => void): void {
    try {
      pool.checkPlace(request.hold.caller);
      done();
    } catch (error) {
      if (!(error instanceof PoolBusy)) throw error;
      done(ofRefusal(error));
    }
  }

  for (const operation of operations) {
    app.post(
      operation.path,
      { config: { operation }, schema: operationSchema(operation), onRequest: checkPlace },
      async (request, reply) => {
        // A request without body and content type reaches this point without a parser.
        const body = (request.body as Uint8Array<ArrayBuffer> | undefined) ?? new Uint8Array(0);
        const bytesIn = body.length;
        const storage = operation.deposit && caches.storage();
        const outcome = await run(pool, operation, body, request, { storage, find: caches.find });
        if (outcome === undefined) {
          if (!app.isGivingUp()) return reply.hijack(); // nobody is there to be answered
          throw new Problem('draining', 'the service is stopping, and the answer was not ready in time');
        }
        const { timings, sizes, flops, weightsKnown } = outcome;
        const stages: Stages = { ...received(request), ...timings };
        reply.stages = stages;
        reply.weightsKnown = weightsKnown;
        const bytesOut = outcome.ok ? lengthOf(outcome.body) : 0;
        request.hold.become(bytesOut);
        reply.logged = { dims: sizes, flops, bytesIn, bytesOut };
        if (!outcome.ok) throw problemOf(outcome, caches);
        request.whenOver(() => discard(outcome.body));
        // The answer tells the id: the caches must be there by then.
        if (storage && outcome.deposit) {
          request.hold.become(bytesOut + lengthOf(outcome.deposit));
          const start = now();
          const keeping = caches.keep(storage, outcome.deposit, request.hold.caller);
          const isKept = await whileWanted(request, keeping).finally(() => {
            stages.store = now() - start;
          });
          if (!isKept) return reply.hijack();
          request.hold.become(bytesOut);
        }
        request.mustTake(bytesOut);
        reply.type('application/json');
        addVary(reply, 'Accept-Encoding');
        const [first, ...more] = outcome.body;
        const packing = packingNamedAlone(request.headers['accept-encoding']);
        if (packing && bytesOut >= LEAST_BYTES) {
          reply.header('content-encoding', packing);
          if (bytesOut <= SMALL_BYTES) return reply.send(packSmall(packing, Buffer.concat(outcome.body)));
          request.hold.become(bytesOut + PACKING_BYTES);
          return reply.send(packPieces(packing, sending(outcome.body, request, PACKING_BYTES)));
        }
        if (more.length === 0) return reply.send(Buffer.from(first.buffer, first.byteOffset, first.byteLength));
        return reply.header('content-length', bytesOut).send(Readable.from(sending(outcome.body, request, 0)));
      },
    );
  }
}

/**
 * The pieces of an answer one after the other. A stream asks for a piece when the one before the last has gone to the
 * client, or has been packed: its memory is free then.
 *
 * @param beside bytes that are held until the end
 */
function* sending(pieces: readonly Uint8Array[], { hold }: FastifyRequest, beside: number): Generator<Uint8Array> {
  let left = lengthOf(pieces);
  for (const [i, piece] of pieces.entries()) {
    const gone = pieces[i - 2];
    if (gone) {
      left -= gone.length;
      discard(gone);
      hold.become(left + beside);
    }
    yield piece;
  }
}

/**
 * Waits for something for as long as somebody waits for the answer.
 *
 * @return false where the client has left
 * @throws Problem deadline-exceeded
 */
function whileWanted(request: FastifyRequest, work: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(tooLate(request)), Math.ceil(request.deadline.at - now()));
    request.whenOver(() => resolve(false));
    void work.then(() => resolve(true), reject).finally(() => clearTimeout(timer));
  });
}

/** Nothing comes back where the client has left, or the service gives up. */
async function run(
  pool: Pool,
  operation: Operation,
  body: Uint8Array<ArrayBuffer>,
  request: FastifyRequest,
  attachments: Attachments,
): Promise<Outcome | undefined> {
  try {
    const { outcome, cancel } = pool.begin(operation.id, body, request.deadline.at, {
      caller: request.hold.caller,
      attachments,
    });
    request.whenOver(cancel);
    request.stop = cancel;
    return await outcome;
  } catch (error) {
    if (error instanceof PoolBusy) throw ofRefusal(error);
    if (error instanceof DeadlineExceeded) throw tooLate(request);
    if (error instanceof Stopped) return undefined;
    throw error;
  }
}

function ofRefusal({ code, message, retryAfter }: PoolBusy): Problem {
  return new Problem(code, message, [], { 'retry-after': String(retryAfter) });
}

function problemOf({ code, faults }: Outcome & { ok: false }, caches: Caches): Problem {
  const [{ detail }, ...more] = faults;
  if (code === 'cache-unavailable') return caches.refused(detail);
  return new Problem(code, more.length === 0 ? detail : `${detail}; errors lists all that was found`, faults);
}

/** Sizes and shapes, never numbers. */
interface Logged {
  readonly dims?: Sizes;
  readonly bytesIn?: number;
  readonly bytesOut?: number;
  readonly flops?: number | undefined;
  /** Of a caller with a key who was refused. */
  readonly address?: string;
}

declare module 'fastify' {
  interface FastifyReply {
    /** How many of the weights that the worker was sent it had read before, for the same header. */
    weightsKnown: number | undefined;
    /** What the log says of the request beside the usual. */
    logged: Logged | undefined;
  }
}
