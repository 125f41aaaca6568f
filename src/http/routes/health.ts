import type { FastifyInstance } from 'fastify';
import type { Pool } from '../../compute/pool/pool.js';
import { serviceSchema } from '../openapi/document.js';
import { ref } from '../openapi/schema.js';
import { Problem } from '../problems.js';

/** For orchestrators: is the process alive, and can it take work? Neither waits for a worker. */
export async function healthRoutes(app: FastifyInstance, { pool }: { pool: Pool }): Promise<void> {
  app.get(
    '/health/live',
    {
      schema: serviceSchema({
        operationId: 'live',
        summary: 'The process answers',
        description: 'For what restarts processes. It waits for no worker, and answers while the service stops, too.',
        security: [],
        answer: 'it does',
        content: { 'application/json': { schema: ref('Health') } },
        problems: ['Overloaded'],
      }),
    },
    async () => ({ status: 'live' }),
  );

  app.get(
    '/health/ready',
    {
      schema: serviceSchema({
        operationId: 'ready',
        summary: 'The service can take work',
        description: 'For balancers: an instance that is stopping, or that has no worker alive, is not ready.',
        security: [],
        answer: 'it can',
        content: { 'application/json': { schema: ref('Health') } },
        problems: ['Unavailable'],
      }),
    },
    async () => {
      if (app.isDraining()) throw new Problem('draining', 'the service is stopping');
      if (!pool.isReady()) throw new Problem('overloaded', 'no worker is alive');
      return { status: 'ready' };
    },
  );
}
