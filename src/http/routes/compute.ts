import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import type { Outcome, Timings } from '../../compute/outcome.js';
import { type Pool, QueueFull } from '../../compute/pool.js';
import { discard } from '../../compute/transfer.js';
import type { Operation } from '../../operations/operation.js';
import { operations } from '../../operations/operations.js';
import { operationSchema } from '../openapi.js';
import { Problem } from '../problems.js';

/** One route an operation: the body goes to a worker as it came, and the worker's bytes are the answer. */
export async function computeRoutes(app: FastifyInstance, { pool }: { pool: Pool }): Promise<void> {
  for (const operation of operations) {
    app.post(
      operation.path,
      { config: { computes: true }, schema: operationSchema(operation) },
      async (request, reply) => {
        // A request without body and content type reaches this point without a parser.
        const body = (request.body as Uint8Array<ArrayBuffer> | undefined) ?? new Uint8Array(0);
        const bytesIn = body.length;
        const outcome = await run(pool, operation, body);
        const { timings, dims, weightsKnown } = outcome;
        reply.stages = timings;
        reply.weightsKnown = weightsKnown;
        const bytesOut = outcome.ok ? lengthOf(outcome.body) : 0;
        reply.logged = { operation: operation.id, dims, bytesIn, bytesOut };
        if (!outcome.ok) throw new Problem(outcome.code, summary(outcome), outcome.faults);
        reply.raw.once('close', () => discard(outcome.body));
        reply.type('application/json');
        const [first, ...more] = outcome.body;
        if (more.length === 0) return reply.send(Buffer.from(first.buffer, first.byteOffset, first.byteLength));
        return reply.header('content-length', bytesOut).send(Readable.from(outcome.body));
      },
    );
  }
}

function lengthOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}

async function run(pool: Pool, operation: Operation, body: Uint8Array<ArrayBuffer>): Promise<Outcome> {
  try {
    return await pool.run(operation.id, body);
  } catch (error) {
    if (!(error instanceof QueueFull)) throw error;
    throw new Problem('queue-full', `${error.limit} requests are waiting already, which is the limit`);
  }
}

function summary({ faults }: Outcome & { ok: false }): string {
  const more = faults.length === 1 ? '' : '; errors lists all that was found';
  return faults[0].detail + more;
}

declare module 'fastify' {
  interface FastifyReply {
    /** How long the stages took, for the server-timing header. */
    stages: Timings | undefined;
    /** How many of the weights that the worker was sent it had read before, for the same header. */
    weightsKnown: number | undefined;
    /** What the log says of the request beside the usual: sizes and shapes, never numbers. */
    logged: object | undefined;
  }
}
