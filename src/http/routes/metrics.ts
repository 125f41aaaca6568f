import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Metrics } from '../metrics.js';
import { keyIfAsked, problemResponses } from '../openapi.js';

/** For Prometheus. It waits for no worker. */
export async function metricsRoutes(
  app: FastifyInstance,
  { metrics: { registry } }: { metrics: Metrics },
): Promise<void> {
  app.get(
    '/metrics',
    {
      schema: {
        operationId: 'metrics',
        tags: ['Service'],
        summary: 'What the service counts and measures, for Prometheus',
        security: keyIfAsked,
        response: {
          200: {
            description: 'the text format of Prometheus, version 0.0.4',
            content: { 'text/plain': { schema: Type.String() } },
          },
          ...problemResponses(['unauthorized'], '/metrics'),
        },
      },
    },
    async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()),
  );
}
