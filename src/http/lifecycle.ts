import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { Problem } from './problems.js';

declare module 'fastify' {
  interface FastifyInstance {
    /** From now on nothing new is begun; resolves when everything that was begun has been answered. */
    drain(): Promise<void>;
    readonly isDraining: () => boolean;
  }
  interface FastifyContextConfig {
    /** Does the route compute? Such routes are refused while the service drains, and waited for. */
    computes?: boolean;
  }
}

/** Counts the requests that compute, so that the process can stop without losing one. */
export const lifecyclePlugin = fp(
  async (app: FastifyInstance) => {
    let running = 0;
    let draining = false;
    let idle: (() => void) | undefined;

    app.decorate('isDraining', () => draining);
    app.decorate('drain', async () => {
      draining = true;
      if (running > 0) {
        await new Promise<void>((resolve) => {
          idle = resolve;
        });
      }
    });

    app.addHook('onRequest', async (request, reply) => {
      if (draining) reply.header('connection', 'close');
      if (!request.routeOptions.config.computes) return;
      if (draining) throw new Problem('draining', 'the service is stopping and takes nothing new');
      running++;
      // 'close' comes once in every case: after the answer, or when the client has left.
      reply.raw.once('close', () => {
        running--;
        if (running === 0) idle?.();
      });
    });
  },
  { name: 'lifecycle' },
);
