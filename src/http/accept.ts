import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import Negotiator from 'negotiator';
import { addVary } from './headers.js';
import { Problem } from './problems.js';

/** Refuses a request to compute where its caller would not take the answer. */
export const acceptPlugin = fp(
  async (app: FastifyInstance) => {
    app.addHook('onRequest', (request, _reply, done) => {
      const { accept = '*/*' } = request.headers;
      if (!request.routeOptions.config.operation || takesJson(accept)) done();
      else done(new Problem('not-acceptable', `the service answers application/json, but Accept is ${accept}`));
    });
  },
  { name: 'accept' },
);

/** Does the Accept header allow application/json? */
function takesJson(accept: string): boolean {
  if (accept === '*/*' || accept === 'application/json') return true; // what nearly all clients send
  return preferred(accept, ['application/json']) !== undefined;
}

/** Whether a browser asks, which gets a page where programs get JSON. The answer says that it depends on that. */
export function wantsPage({ headers: { accept = '*/*' } }: FastifyRequest, reply: FastifyReply): boolean {
  addVary(reply, 'Accept');
  return preferred(accept, ['application/json', 'text/html']) === 'text/html';
}

/** Parameters of a type, such as a charset, make no difference; `*` alone is what some clients write for any type. */
function preferred(accept: string, types: string[]): string | undefined {
  const plain = accept.replace(/;(?!\s*q=)[^;,]*/gi, '').replace(/(?<=^|,)\s*\*\s*(?=[;,]|$)/g, '*/*');
  return new Negotiator({ headers: { accept: plain } }).mediaType(types);
}
