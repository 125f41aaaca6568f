import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Caches } from '../caches.js';
import { cachesTag, serviceSchema } from '../openapi/document.js';

/** What forward operations have stored, for whoever needs it no longer. */
export async function cachesRoutes(app: FastifyInstance, { caches }: { caches: Caches }): Promise<void> {
  app.delete(
    '/v1/caches/:cache_id',
    {
      schema: {
        ...serviceSchema({
          operationId: 'deleteCaches',
          tag: cachesTag,
          summary: 'Deletes stored caches',
          description:
            'Gives back the room that stored caches take, so that they do not push out others. Whoever knows their cache_id may do so. Caches that nobody deletes go when they expire.',
          answer: 'they are gone',
          problems: ['Unauthorized', 'CacheNotFound', 'StoreUnavailable'],
        }),
        params: {
          type: 'object',
          properties: { cache_id: { type: 'string', description: 'of the answer of a forward operation' } },
        },
      },
    },
    async (request, reply) => {
      const { cache_id } = (request as FastifyRequest<{ Params: { cache_id: string } }>).params;
      await caches.remove(cache_id);
      return reply.code(204).send();
    },
  );
}
