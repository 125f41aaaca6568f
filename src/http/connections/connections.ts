import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import type { Config } from '../../settings/config.js';
import { takesMore } from './pipelining.js';
import { type OnRefusal, refuseOnSocket } from './refuse-on-socket.js';
import type { Turns } from './turns.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Counts a piece of its body among what its address brings. */
    hasCome(): void;
  }
}

export interface ConnectionsOptions {
  readonly config: Pick<Config, 'CONNECTION_LIMIT' | 'ADDRESS_LIMIT'>;
  /** Is there a proxy at an address? Behind it are many clients. */
  readonly isProxy: (address: string) => boolean;
  readonly turns: Turns;
  readonly onRefusal: OnRefusal;
}

/** Connections of an address. */
interface Taken {
  count: number;
  /** Those that are read. */
  readonly read: Set<Socket>;
  /** A turn of the event loop, and how many requests, pieces of bodies and ends of connections they have brought. */
  turn: number;
  brought: number;
}

/** An address that brings less in a turn of the event loop is not who makes it long. */
const MANY = 32;
/** How long a connection is left alone for which there is not even an answer: whoever tries again at once tries again later. */
const SILENCE_MS = 1000;

/**
 * So many connections there may be at once, in all and from one address. Whoever comes beyond them is told so, and the
 * connection closes. Connections take turns by their addresses, as requests do.
 */
export const connectionsPlugin = fp(
  async (app: FastifyInstance, { config, isProxy, turns, onRefusal }: ConnectionsOptions) => {
    /** Of each address. */
    const taken = new Map<string, Taken>();
    let takenInAll = 0;
    let refused = 0;

    function take(socket: Socket, address: string): void {
      const of = taken.get(address) ?? { count: 0, read: new Set(), turn: 0, brought: 0 };
      taken.set(address, of);
      of.count++;
      takenInAll++;
      socket.once('close', () => {
        bring(address);
        takenInAll--;
        of.read.delete(socket);
        if (--of.count === 0) taken.delete(address);
      });
      inTurn(socket, address, () => countAsRead(socket, of));
    }

    /**
     * A turn of the event loop reads all connections on which something has come, and where these are thousands it takes
     * long. Then those of an address that has brought much in it are not read, until it is their turn again.
     */
    function bring(address: string): void {
      const of = taken.get(address);
      if (of === undefined) return;
      if (of.turn !== turns.number) {
        of.turn = turns.number;
        of.brought = 0;
      }
      if (++of.brought < MANY || !turns.isLong()) return;
      for (const socket of of.read) {
        socket.pause();
        turns.wait(address, () => {
          if (takesMore(socket)) socket.resume();
          countAsRead(socket, of);
        });
      }
      of.read.clear();
    }

    function countAsRead(socket: Socket, of: Taken): void {
      if (!socket.destroyed) of.read.add(socket);
    }

    /** There are as many of these as of those that are taken, at most. */
    function refuse(socket: Socket, address: string, code: string): void {
      if (refused >= config.CONNECTION_LIMIT) {
        socket.pause();
        setTimeout(() => socket.destroy(), SILENCE_MS).unref();
        return;
      }
      refused++;
      socket.once('close', () => refused--);
      inTurn(socket, address, () => refuseOnSocket(code, socket, app.log, onRefusal));
    }

    /** Until it is its turn nothing is read of it. */
    function inTurn(socket: Socket, address: string, begin: () => void): void {
      if (turns.mayBegin()) begin();
      else {
        socket.pause();
        turns.wait(address, () => {
          socket.resume();
          begin();
        });
      }
    }

    app.server.on('connection', (socket: Socket) => {
      const { remoteAddress: address = '' } = socket;
      turns.accepted();
      if (takenInAll >= config.CONNECTION_LIMIT) refuse(socket, address, 'TOO_MANY_CONNECTIONS');
      else if ((taken.get(address)?.count ?? 0) >= config.ADDRESS_LIMIT && !isProxy(address)) {
        refuse(socket, address, 'TOO_MANY_CONNECTIONS_OF_ADDRESS');
      } else take(socket, address);
    });
    app.server.on('request', ({ socket }) => bring(`${socket.remoteAddress}`));
    app.decorateRequest('hasCome', function (this: FastifyRequest) {
      bring(`${this.raw.socket.remoteAddress}`);
    });
  },
  { name: 'connections' },
);
