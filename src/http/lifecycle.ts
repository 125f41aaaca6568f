import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { Problem } from './problems.js';

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * From now on nothing new is begun; resolves when everything that was begun has been answered.
     *
     * @param limit milliseconds until the caller stops all the same; bodies that arrive are given a part of them
     */
    drain(limit: number): Promise<void>;
    readonly isDraining: () => boolean;
  }
  interface FastifyRequest {
    /** What to do when it is over: answered, or its client has left. For routes that compute. */
    onOver: (() => void)[];
  }
  interface FastifyContextConfig {
    /** Does the route compute? Such routes are refused while the service drains, and waited for. */
    computes?: boolean;
  }
}

/** A body that is on its way when the drain begins may take a fifth of the time there is, and not more than this. */
const ARRIVAL_MS = 5000;

/** Counts the requests that compute, so that the process can stop without losing one. */
export const lifecyclePlugin = fp(
  async (app: FastifyInstance) => {
    const arriving = new Set<FastifyRequest>();
    const running = new Set<FastifyRequest>();
    const sockets = new WeakSet<Socket>();
    let draining = false;
    let waiting: (() => void) | undefined;
    const isIdle = () => running.size === 0 && arriving.size === 0;

    function forget(request: FastifyRequest): void {
      if (!arriving.delete(request) && !running.delete(request)) return;
      for (const act of request.onOver) act();
      if (isIdle()) waiting?.();
    }

    /** One listener a connection: in Node 20 an answer that waits behind another one is not told of the end. */
    function forgetAllWhenClosed(socket: Socket): void {
      if (sockets.has(socket)) return;
      sockets.add(socket);
      socket.once('close', () => {
        for (const request of [...arriving, ...running]) if (request.raw.socket === socket) forget(request);
      });
    }

    app.decorateRequest('onOver');
    app.decorate('isDraining', () => draining);
    app.decorate('drain', async (limit: number) => {
      draining = true;
      if (isIdle()) return;
      await new Promise<void>((resolve) => {
        waiting = resolve;
        const giveUp = () => {
          for (const request of arriving) forget(request);
        };
        setTimeout(giveUp, Math.min(limit / 5, ARRIVAL_MS)).unref();
      });
    });

    app.addHook('onRequest', (request, _reply, done) => {
      if (!request.routeOptions.config.computes) return done();
      if (draining) return done(new Problem('draining', 'the service is stopping and takes nothing new'));
      arriving.add(request);
      request.onOver = [];
      forgetAllWhenClosed(request.raw.socket);
      done();
    });
    app.addHook('preHandler', (request, _reply, done) => {
      if (arriving.delete(request)) running.add(request);
      done();
    });
    app.addHook('onResponse', (request, _reply, done) => {
      forget(request);
      done();
    });
  },
  { name: 'lifecycle' },
);
