import type { FastifyInstance, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import type { Config } from '../settings/config.js';
import { arrivalOf } from './connections/pipelining.js';
import { Problem } from './problems.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** When its answer must be there, in milliseconds since the epoch, and how long that was from its beginning. */
    deadline: { readonly at: number; readonly ms: number };
  }
}

/** The header in which a caller says how many milliseconds it waits for the answer, from when its head has arrived. */
export const DEADLINE_HEADER = 'x-deadline-ms';

/** Gives each request that computes the time that its caller allows, or that the configuration does. */
export const deadlinePlugin = fp(
  async (app: FastifyInstance, { DEADLINE, DEADLINE_LIMIT }: Pick<Config, 'DEADLINE' | 'DEADLINE_LIMIT'>) => {
    app.decorateRequest('deadline');
    app.addHook('onRequest', (request, _reply, done) => {
      if (!request.routeOptions.config.operation) return done();
      const given = request.headers[DEADLINE_HEADER];
      const ms = given === undefined ? DEADLINE : wholeNumber(given);
      if (!(ms >= 1 && ms <= DEADLINE_LIMIT)) {
        const detail = `${DEADLINE_HEADER} is ${JSON.stringify(given)}, but must be a whole number of milliseconds from 1 to ${DEADLINE_LIMIT}`;
        return done(new Problem('invalid-request', detail));
      }
      request.deadline = { at: arrivalOf(request.raw) + ms, ms };
      done();
    });
  },
  { name: 'deadline' },
);

export function tooLate({ deadline }: FastifyRequest): Problem {
  return new Problem('deadline-exceeded', `the answer was not ready within ${deadline.ms} ms`);
}

/** NaN where it is none. */
function wholeNumber(text: string | string[]): number {
  return typeof text === 'string' && /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
}
