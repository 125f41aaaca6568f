import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { type OnRefusal, refuseOnSocket } from './errors.js';

/**
 * Cuts the connection of a client that keeps the service waiting: no byte of a request comes, or none of an answer
 * goes. A body that stops coming is refused where it is collected.
 */
export const slowClientsPlugin = fp(
  async (app: FastifyInstance, { limit, onRefusal }: { limit: number; onRefusal: OnRefusal }) => {
    app.server.timeout = limit;
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
