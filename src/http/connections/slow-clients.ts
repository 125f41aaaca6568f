import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import type { Pool } from '../../compute/pool/pool.js';
import { Pace } from './pace.js';
import { type OnRefusal, refuseOnSocket } from './refuse-on-socket.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** From now on its client must take an answer of so many bytes. */
    mustTake(bytes: number): void;
    /** From now on its client must send its body, of which so many bytes have come. */
    mustSend(bytes: () => number, tooSlow: () => void): void;
  }
}

/** How fast an answer must be taken on average, in bytes a millisecond, and from how many bytes on. */
const LEAST_TAKEN = 256;
const LEAST_BYTES = 64 * 1024;
/** How fast a body must come, in bytes a millisecond. */
const LEAST_SENT = 64;

/**
 * Cuts the connection of a client that keeps the service waiting: no byte of a request comes, or none of an answer
 * goes, or an answer goes too slowly. A body that comes too slowly, or not at all, is refused where it is collected.
 */
export const slowClientsPlugin = fp(
  async (
    app: FastifyInstance,
    { limit, memory, onRefusal }: { limit: number; memory: Pool['memory']; onRefusal: OnRefusal },
  ) => {
    const pace = new Pace(memory, limit);
    app.server.timeout = limit;
    app.decorateRequest('mustTake', function (this: FastifyRequest, bytes: number) {
      if (bytes < LEAST_BYTES) return;
      const { socket } = this.raw;
      this.whenOver(
        pace.watch(
          LEAST_TAKEN,
          () => bytes,
          () => socket.destroy(),
        ),
      );
    });
    app.decorateRequest('mustSend', function (this: FastifyRequest, bytes: () => number, tooSlow: () => void) {
      const end = pace.watch(LEAST_SENT, bytes, tooSlow);
      this.raw.once('end', end);
      this.whenOver(end);
    });
    // While it is computed nothing comes or goes either: then it is not the client who is waited for.
    app.server.on('timeout', (socket: Socket) => {
      const { _httpMessage: answer } = socket as { _httpMessage?: ServerResponse | null };
      if (answer?.headersSent) socket.destroy();
      else if (answer === undefined || answer === null) cut(socket);
    });

    /** A new connection is told why; one that was used before is closed, as HTTP/1.1 clients expect of an idle one. */
    function cut(socket: Socket): void {
      if (socket.bytesWritten > 0) socket.destroy();
      else refuseOnSocket('ERR_HTTP_REQUEST_TIMEOUT', socket, app.log, onRefusal);
    }
  },
  { name: 'slow-clients' },
);
