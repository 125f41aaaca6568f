import type { IncomingMessage } from 'node:http';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';

/** Lets no one see fields that are empty. */
export const fieldsPlugin = fp(
  async (app: FastifyInstance) => {
    app.addHook('onRequest', ({ raw }, _reply, done) => {
      dropEmptyFields(raw);
      done();
    });
  },
  { name: 'fields' },
);

/**
 * A field that is there but empty counts as absent, whatever it is: some clients send all fields that they know, and some
 * proxies blank what they do not pass on. Only Host stays, which a request must have and which may be empty. Fields that say
 * where a body ends are refused by the parser if they are empty.
 */
export function dropEmptyFields({ headers }: IncomingMessage): void {
  for (const name in headers) {
    if (isEmpty(headers[name]) && name !== 'host') delete headers[name];
  }
}

/** Node joins a field that comes twice with a comma. */
function isEmpty(value: string | string[] | undefined): boolean {
  return value === '' || (typeof value === 'string' && value.startsWith(',') && /^[, \t]+$/.test(value));
}
