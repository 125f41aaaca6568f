import type { FastifyRequest } from 'fastify';

/**
 * How a page refers to the root of the service. It need not know under which path a proxy offers it, as long as the proxy
 * keeps the slash at the end of that path; where the proxy names the path, that does not matter either.
 */
export function rootOf({ prefix, routeOptions: { url = '/' } }: FastifyRequest): string {
  if (prefix !== '') return `${prefix}/`;
  return '../'.repeat(url.split('/').length - 2) || './';
}
