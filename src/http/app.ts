import { randomUUID } from 'node:crypto';
import accepts from '@fastify/accepts';
import { type FastifyInstance, fastify, LogController } from 'fastify';
import type { Logger } from 'pino';
import type { Pool } from '../compute/pool.js';
import type { Config } from '../config.js';
import { bodyPlugin } from './body.js';
import { errorsPlugin, refuseBadPath, refuseMalformedHttp } from './errors.js';
import { lifecyclePlugin } from './lifecycle.js';
import { openapiPlugin } from './openapi.js';
import { Problem } from './problems.js';
import { aboutRoutes } from './routes/about.js';
import { computeRoutes } from './routes/compute.js';
import { healthRoutes } from './routes/health.js';

export interface AppOptions {
  readonly config: Pick<Config, 'BODY_LIMIT'>;
  readonly pool: Pool;
  readonly logger: Logger;
}

/** The HTTP face of the service, not yet listening. */
export async function buildApp({ config, pool, logger }: AppOptions): Promise<FastifyInstance> {
  const app = fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    requestIdHeader: false,
    genReqId: ({ headers }) => wellFormedId(headers['x-request-id']) ?? randomUUID(),
    return503OnClosing: false, // while it drains, the lifecycle plugin answers
    clientErrorHandler: refuseMalformedHttp,
    frameworkErrors: refuseBadPath,
  }) as unknown as FastifyInstance;

  app.decorateReply('stages', undefined);
  app.decorateReply('logged', undefined);
  await app.register(errorsPlugin);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
  });
  app.addHook('onSend', async (_request, reply) => {
    const stages = Object.entries(reply.stages ?? { total: reply.elapsedTime });
    reply.header('server-timing', stages.map(([stage, ms]) => `${stage};dur=${ms.toFixed(3)}`).join(', '));
  });
  app.addHook('onResponse', async (request, reply) => {
    const { method, url } = request;
    const line = {
      method,
      url,
      status: reply.statusCode,
      ms: reply.elapsedTime,
      ...reply.logged,
      stages: reply.stages,
    };
    request.log.info(line, 'request answered');
  });
  await app.register(lifecyclePlugin);
  await app.register(accepts);
  app.addHook('onRequest', async (request) => {
    if (!request.routeOptions.config.computes || request.accepts().type(['application/json'])) return;
    const accept = request.headers.accept;
    throw new Problem('not-acceptable', `the service answers application/json, but Accept is ${accept}`);
  });
  await app.register(bodyPlugin, { limit: config.BODY_LIMIT });
  await app.register(openapiPlugin);
  await app.register(aboutRoutes);
  await app.register(healthRoutes, { pool });
  await app.register(computeRoutes, { pool });
  return app;
}

/** A caller's id is taken over if it can stand in a header and a log line as it is. */
function wellFormedId(id: string | string[] | undefined): string | undefined {
  return typeof id === 'string' && /^[\w.:+/=-]{1,128}$/.test(id) ? id : undefined;
}
