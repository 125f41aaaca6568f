import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import type { Config } from '../settings/config.js';
import { type OnRefusal, refuseOnSocket } from './refuse-on-socket.js';
import type { Turns } from './turns.js';

export interface ConnectionsOptions {
  readonly config: Pick<Config, 'CONNECTION_LIMIT' | 'ADDRESS_LIMIT'>;
  /** Is there a proxy at an address? Behind it are many clients. */
  readonly isProxy: (address: string) => boolean;
  readonly turns: Turns;
  readonly onRefusal: OnRefusal;
}

/** How long a connection is left alone for which there is not even an answer: whoever tries again at once tries again later. */
const SILENCE_MS = 1000;

/**
 * So many connections there may be at once, in all and from one address. Whoever comes beyond them is told so, and the
 * connection closes. Connections take turns by their addresses, as requests do.
 */
export const connectionsPlugin = fp(
  async (app: FastifyInstance, { config, isProxy, turns, onRefusal }: ConnectionsOptions) => {
    /** Of each address. */
    const counts = new Map<string, number>();
    let taken = 0;
    let refused = 0;

    function take(socket: Socket, address: string): void {
      counts.set(address, (counts.get(address) ?? 0) + 1);
      taken++;
      socket.once('close', () => {
        taken--;
        const left = (counts.get(address) ?? 1) - 1;
        if (left === 0) counts.delete(address);
        else counts.set(address, left);
      });
      inTurn(socket, address, () => {});
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
        turns.wait(`connections of ${address}`, () => {
          socket.resume();
          begin();
        });
      }
    }

    app.server.on('connection', (socket: Socket) => {
      const { remoteAddress: address = '' } = socket;
      if (taken >= config.CONNECTION_LIMIT) refuse(socket, address, 'TOO_MANY_CONNECTIONS');
      else if ((counts.get(address) ?? 0) >= config.ADDRESS_LIMIT && !isProxy(address)) {
        refuse(socket, address, 'TOO_MANY_CONNECTIONS_OF_ADDRESS');
      } else take(socket, address);
    });
  },
  { name: 'connections' },
);
