import { BlockList, isIP, type Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import type { Config } from '../config.js';
import { type OnRefusal, refuseOnSocket } from './errors.js';
import type { Turns } from './turns.js';

export interface ConnectionsOptions {
  readonly config: Pick<Config, 'CONNECTION_LIMIT' | 'ADDRESS_LIMIT'>;
  /** Proxies, as addresses and ranges: behind them are many clients. */
  readonly proxies: readonly string[];
  readonly turns: Turns;
  readonly onRefusal: OnRefusal;
}

/** So many connections there may be at once, in all and from one address. Whoever comes beyond them is told so, and the connection closes. */
export const connectionsPlugin = fp(
  async (app: FastifyInstance, { config, proxies, turns, onRefusal }: ConnectionsOptions) => {
    const isProxy = membershipOf(proxies);
    const counts = new Map<string, number>();
    let open = 0;

    app.server.on('connection', (socket: Socket) => {
      const { remoteAddress: address = '' } = socket;
      const count = (counts.get(address) ?? 0) + 1;
      counts.set(address, count);
      open++;
      socket.once('close', () => {
        open--;
        const left = (counts.get(address) ?? 1) - 1;
        if (left === 0) counts.delete(address);
        else counts.set(address, left);
      });
      // More still, and the answers to those that are refused would be too many as well.
      if (open > 2 * config.CONNECTION_LIMIT) {
        socket.destroy();
        return;
      }
      const refusal =
        open > config.CONNECTION_LIMIT
          ? 'TOO_MANY_CONNECTIONS'
          : count > config.ADDRESS_LIMIT && !isProxy(address)
            ? 'TOO_MANY_CONNECTIONS_OF_ADDRESS'
            : undefined;
      let isPaused = false;
      const isBegun = turns.take(`connections of ${address}`, () => {
        if (refusal) refuseOnSocket(refusal, socket, app.log, onRefusal);
        else if (isPaused) socket.resume();
      });
      if (isBegun) return;
      isPaused = true;
      socket.pause();
    });
  },
  { name: 'connections' },
);

/** Whether an address is one of these addresses and ranges. */
export function membershipOf(ranges: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const range of ranges) {
    const [address, bits] = range.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return (address) => {
    const plain = address.replace(/^::ffff:(?=\d+\.)/, ''); // how an IPv6 socket writes an address of IPv4
    return isIP(plain) !== 0 && list.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4');
  };
}
