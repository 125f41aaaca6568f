import { normalizeIP } from '@fastify/rate-limit';
import type { FastifyRequest } from 'fastify';

/** Whom a request counts for: its key, or its address; of IPv6 the network, since a client has a whole one to choose from. */
export function callerOf({ caller, ip }: FastifyRequest): string {
  // A client that has gone already has no address any more, whatever the type says.
  return caller === undefined ? `address:${normalizeIP(ip ?? 'gone')}` : `key:${caller}`;
}
