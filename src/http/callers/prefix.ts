import type { FastifyInstance, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';

declare module 'fastify' {
  interface FastifyRequest {
    /** The path under which a proxy offers the service, such as /unroll; empty: the root. */
    readonly prefix: string;
  }
}

/** What the service says of its own paths begins with the prefix that a proxy of TRUST_PROXY has taken away. */
export const prefixPlugin = fp(
  async (app: FastifyInstance, { isProxy }: { isProxy: (address: string) => boolean }) => {
    app.decorateRequest('prefix', {
      getter(this: FastifyRequest): string {
        const { headers, socket } = this.raw;
        const given = headers['x-forwarded-prefix'];
        return given !== undefined && isProxy(socket.remoteAddress ?? '') ? prefixOf(String(given)) : '';
      },
    });
  },
  { name: 'prefix' },
);

/** Each of several proxies may have added its own. What is no path counts as absent; //example.org would be another host. */
function prefixOf(header: string): string {
  const prefix = header
    .split(',')
    .map((part) => part.trim().replace(/\/$/, ''))
    .join('');
  return /^(\/[\w.~%-]+)+$/.test(prefix) ? prefix : '';
}
