import { randomUUID } from 'node:crypto';
import { type FastifyInstance, fastify, LogController } from 'fastify';
import Negotiator from 'negotiator';
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
  readonly config: Pick<Config, 'BODY_LIMIT' | 'REQUEST_TIMEOUT'>;
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
    requestTimeout: config.REQUEST_TIMEOUT,
    // Node exchanges the two limits where that of the headers is the longer one.
    http: {
      headersTimeout: Math.min(60_000, config.REQUEST_TIMEOUT),
      connectionsCheckingInterval: Math.min(5000, config.REQUEST_TIMEOUT),
    },
    forceCloseConnections: true, // the lifecycle plugin has waited for what counts
    clientErrorHandler: refuseMalformedHttp(logger),
    frameworkErrors: refuseBadPath,
  }) as unknown as FastifyInstance;

  app.decorateReply('stages', undefined);
  app.decorateReply('logged', undefined);
  await app.register(errorsPlugin);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
  });
  app.addHook('onSend', async (_request, reply) => {
    if (app.isDraining()) reply.header('connection', 'close');
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
    // Probes come every few seconds; what computes, and what goes wrong, is worth a line each.
    const level = request.routeOptions.config.computes || reply.statusCode >= 400 ? 'info' : 'debug';
    request.log[level](line, 'request answered');
  });
  await app.register(lifecyclePlugin);
  app.addHook('onRequest', async (request) => {
    const { accept = '*/*' } = request.headers;
    if (!request.routeOptions.config.computes || takesJson(accept)) return;
    throw new Problem('not-acceptable', `the service answers application/json, but Accept is ${accept}`);
  });
  await app.register(bodyPlugin, { limit: config.BODY_LIMIT });
  await app.register(openapiPlugin);
  await app.register(aboutRoutes, { pool });
  await app.register(healthRoutes, { pool });
  await app.register(computeRoutes, { pool });
  return app;
}

/** Does the Accept header allow application/json? Parameters of a type, such as a charset, make no difference. */
function takesJson(accept: string): boolean {
  const types = accept.replace(/;(?!\s*q=)[^;,]*/gi, '');
  return new Negotiator({ headers: { accept: types } }).mediaType(['application/json']) !== undefined;
}

/** A caller's id is taken over if it can stand in a header and a log line as it is. */
function wellFormedId(id: string | string[] | undefined): string | undefined {
  return typeof id === 'string' && /^[\w.:+/=-]{1,128}$/.test(id) ? id : undefined;
}
