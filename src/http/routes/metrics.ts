import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Metrics } from '../monitoring/metrics.js';
import { serviceSchema } from '../openapi/document.js';

/** For Prometheus. It waits for no worker. */
export async function metricsRoutes(
  app: FastifyInstance,
  { metrics: { registry } }: { metrics: Metrics },
): Promise<void> {
  app.get(
    '/metrics',
    {
      schema: serviceSchema({
        operationId: 'metrics',
        summary: 'What the service counts and measures, for Prometheus',
        description: 'Requests, times, memory, queue, workers and caches of this instance. It waits for no worker.',
        answer: 'the text format of Prometheus, version 0.0.4',
        content: { 'text/plain': { schema: Type.String() } },
        problems: ['Unauthorized', 'Overloaded'],
      }),
    },
    async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()),
  );
}
