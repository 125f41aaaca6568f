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

/** How long a body that is on its way when the drain begins may take to arrive, in milliseconds. */
const ARRIVAL_MS = 5000;

/** Counts the requests that compute, so that the process can stop without losing one. */
export const lifecyclePlugin = fp(
  async (app: FastifyInstance) => {
    const arriving = new Set<object>();
    const running = new Set<object>();
    let draining = false;
    let waiting: (() => void) | undefined;
    const isIdle = () => running.size === 0 && arriving.size === 0;

    app.decorate('isDraining', () => draining);
    app.decorate('drain', async () => {
      draining = true;
      if (isIdle()) return;
      await new Promise<void>((resolve) => {
        waiting = resolve;
        setTimeout(() => {
          arriving.clear(); // what has not arrived by now is not waited for
          if (isIdle()) resolve();
        }, ARRIVAL_MS).unref();
      });
    });

    app.addHook('onRequest', async (request, reply) => {
      if (!request.routeOptions.config.computes) return;
      if (draining) throw new Problem('draining', 'the service is stopping and takes nothing new');
      arriving.add(request);
      // 'close' comes once in every case: after the answer, or when the client has left.
      reply.raw.once('close', () => {
        arriving.delete(request);
        running.delete(request);
        if (isIdle()) waiting?.();
      });
    });
    app.addHook('preHandler', async (request) => {
      if (arriving.delete(request)) running.add(request);
    });
  },
  { name: 'lifecycle' },
);
