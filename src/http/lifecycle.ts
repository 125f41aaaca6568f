import { Server, type Socket } from 'node:net';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import type { Operation } from '../operations/operation.js';
import { isBusy } from './connections/pipelining.js';
import type { Turns } from './connections/turns.js';
import { Problem } from './problems.js';

/** Milliseconds. */
export interface DrainTimes {
  /** For so long everything is still taken, so that balancers learn from the health that it ends. */
  readonly grace: number;
  /**
   * Until the caller stops all the same, counted from the beginning. Bodies that arrive are given a part of it; what is
   * still computed shortly before is given up, so that its client is told.
   */
  readonly limit: number;
}

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * From now on the service is not ready, and every answer closes its connection. After the grace nothing new is
     * begun. Resolves when everything that was begun has been answered.
     */
    drain(times: DrainTimes): Promise<void>;
    readonly isDraining: () => boolean;
    /** Is the grace over? */
    readonly isRefusing: () => boolean;
    /** Is there no time left to compute anything? */
    readonly isGivingUp: () => boolean;
  }
  interface FastifyRequest {
    /** Has something done when it is over: answered, or its client has left. At once, if it is over already. */
    whenOver(act: () => void): void;
    /** What is to be done then; undefined: it is over. */
    endings: (() => void)[] | undefined;
    /** Ends what is computed for it; undefined: nothing is. */
    stop: (() => void) | undefined;
    /** Has a request that is refused already answered before its body has come; undefined: nothing waits for that. */
    hurry: (() => void) | undefined;
  }
  interface FastifyContextConfig {
    /** What the route computes. Such routes are refused when the grace is over. */
    operation?: Operation;
  }
}

/** A body that is on its way when the grace is over may take a fifth of the time there is, and not more than this. */
const ARRIVAL_MS = 5000;
/** A connection that was made just before the service stopped listening has so long for its request. */
const LAST_MS = 250;
/** What is given up is answered so long before the limit, or a tenth of it. */
const GOODBYE_MS = 1000;

/** Knows the requests that have begun and their connections, so that the process can stop without losing one. */
export const lifecyclePlugin = fp(
  async (app: FastifyInstance, { turns }: { turns: Turns }) => {
    /** Connections that have brought a request, and stay open for another one. */
    const kept = new Set<Socket>();
    const arriving = new Set<FastifyRequest>();
    const running = new Set<FastifyRequest>();
    let draining = false;
    let refusing = false;
    let givingUp = false;
    let waiting: (() => void) | undefined;
    const begun = () => [...arriving, ...running];
    const isIdle = () => running.size === 0 && arriving.size === 0;

    function forget(request: FastifyRequest): void {
      if (!arriving.delete(request) && !running.delete(request)) return;
      const { endings = [] } = request;
      request.endings = undefined;
      for (const act of endings) act();
      if (isIdle()) waiting?.();
    }

    /**
     * Closes connections that are kept and on which nothing is asked for: their clients open another one, elsewhere.
     * Not by Node's closeIdleConnections, nor by its Server.close, which calls it: answers that are complete but not
     * yet with the system would be cut off. A connection that has brought nothing yet will: it is left to its request.
     */
    function closeIdle(sockets: Iterable<Socket>): void {
      for (const socket of sockets) if (!isBusy(socket)) socket.destroySoon();
    }

    app.decorateRequest('endings');
    app.decorateRequest('stop');
    app.decorateRequest('hurry');
    app.decorateRequest('whenOver', function (this: FastifyRequest, act: () => void) {
      if (this.endings) this.endings.push(act);
      else act();
    });
    app.server.on('connection', (socket: Socket) => {
      // Of a client that leaves before it has its answer.
      socket.once('close', () => {
        kept.delete(socket);
        for (const request of begun()) if (request.raw.socket === socket) forget(request);
      });
    });

    app.decorate('isDraining', () => draining);
    app.decorate('isRefusing', () => refusing);
    app.decorate('isGivingUp', () => givingUp);
    app.decorate('drain', async ({ grace, limit }: DrainTimes) => {
      const start = performance.now();
      draining = true;
      if (app.server.listening) await sleep(grace);
      // Right after what has come was read: no connection is left in the backlog, which the system would reset.
      await turn();
      if (app.server.listening) Server.prototype.close.call(app.server);
      await sleep(Math.min(grace, LAST_MS));
      await turn();
      refusing = true;
      turns.hurry();
      for (const { hurry } of begun()) hurry?.();
      closeIdle(kept);
      if (isIdle()) return;
      await new Promise<void>((resolve) => {
        waiting = resolve;
        const left = Math.max(0, limit - (performance.now() - start));
        const leaveArriving = () => {
          for (const request of arriving) forget(request);
        };
        setTimeout(leaveArriving, Math.min(left / 5, ARRIVAL_MS)).unref();
        const stopRunning = () => {
          givingUp = true;
          for (const { stop } of running) stop?.();
        };
        setTimeout(stopRunning, left - Math.min(limit / 10, GOODBYE_MS)).unref();
      });
    });

    app.addHook('onRequest', (request, _reply, done) => {
      arriving.add(request);
      request.endings = [];
      if (!refusing || !request.routeOptions.config.operation) return done();
      done(new Problem('draining', 'the service is stopping and takes nothing new'));
    });
    app.addHook('preHandler', (request, _reply, done) => {
      if (arriving.delete(request)) running.add(request);
      done();
    });
    app.addHook('onResponse', (request, _reply, done) => {
      const { socket } = request.raw;
      forget(request);
      if (socket.destroyed === false) kept.add(socket); // what app.inject sends comes on none
      // Its answer may have begun before the drain, without the header that closes the connection.
      if (refusing) closeIdle([socket]);
      done();
    });
  },
  { name: 'lifecycle' },
);
