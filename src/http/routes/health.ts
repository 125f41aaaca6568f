import type { FastifyInstance } from 'fastify';
import type { Pool } from '../../compute/pool.js';
import { problemResponses } from '../openapi.js';
import { Problem } from '../problems.js';
import { ref } from '../schema.js';

/** For orchestrators: is the process alive, and can it take work? Neither waits for a worker. */
export async function healthRoutes(app: FastifyInstance, { pool }: { pool: Pool }): Promise<void> {
  app.get(
    '/health/live',
    {
      schema: {
        operationId: 'live',
        tags: ['Service'],
        summary: 'The process answers',
        response: {
          200: { description: 'it does', content: { 'application/json': { schema: ref('Health') } } },
        },
      },
    },
    async () => ({ status: 'live' }),
  );

  app.get(
    '/health/ready',
    {
      schema: {
        operationId: 'ready',
        tags: ['Service'],
        summary: 'The service can take work',
        response: {
          200: { description: 'it can', content: { 'application/json': { schema: ref('Health') } } },
          ...problemResponses(['draining', 'overloaded'], '/health/ready'),
        },
      },
    },
    async () => {
      if (app.isDraining()) throw new Problem('draining', 'the service is stopping');
      if (!pool.isReady()) throw new Problem('overloaded', 'no worker is alive');
      return { status: 'ready' };
    },
  );
}
