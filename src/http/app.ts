import { createServer, type RequestListener, type ServerOptions } from 'node:http';
import {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
  fastify,
  LogController,
} from 'fastify';
import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { MOST_READ } from '../compute/messages.js';
import type { Pool } from '../compute/pool/pool.js';
import type { Config } from '../settings/config.js';
import type { CacheStore } from '../stores/store.js';
import { takesJson } from './accept.js';
import { accessPlugin } from './access.js';
import { bodyPlugin } from './body.js';
import { cachesIn } from './caches.js';
import { connectionsPlugin } from './connections.js';
import { deadlinePlugin } from './deadline.js';
import { errorsPlugin, FIELDS_READ, pathOf, refuseBadPath } from './errors.js';
import { dropEmptyFields } from './fields.js';
import { SECURITY_HEADERS } from './headers.js';
import { lifecyclePlugin } from './lifecycle.js';
import { createMetrics } from './metrics.js';
import { openapiPlugin, operationOf } from './openapi.js';
import { packPlugin } from './pack.js';
import { answerOneByOne, isFollowed } from './pipelining.js';
import { prefixPlugin } from './prefix.js';
import { Problem } from './problems.js';
import { membershipOf, trustedProxies } from './proxies.js';
import { rateLimitPlugin } from './rate-limit.js';
import { refuseMalformedHttp } from './refuse-on-socket.js';
import { requestId } from './request-id.js';
import { aboutRoutes } from './routes/about.js';
import { cachesRoutes } from './routes/caches.js';
import { computeRoutes } from './routes/compute.js';
import { docsRoutes } from './routes/docs.js';
import { healthRoutes } from './routes/health.js';
import { metricsRoutes } from './routes/metrics.js';
import { slowClientsPlugin } from './slow-clients.js';
import { endStages } from './stages.js';
import { Turns } from './turns.js';

export interface AppOptions {
  readonly config: Config;
  readonly pool: Pool;
  /** Where stored caches stay. */
  readonly caches: CacheStore;
  readonly logger: Logger;
  /** What the logger writes to, where that can drop lines. */
  readonly log?: { readonly dropped: number };
  /** Where the instances count requests together. */
  readonly redis?: Redis;
  /** Are requests traced? Whoever says so has set OpenTelemetry up. */
  readonly traced?: boolean;
}

/** Bytes that the head of a request may have. */
const HEAD_BYTES = 16 * 1024;

/**
 * Schemas describe; they neither check nor print, and tensors never pass through Fastify's own machinery. Given
 * here, at the beginning, it also spares the start the loading of the compilers that Fastify would take.
 */
const schemasDescribe = {
  compilersFactory: {
    buildValidator: () => () => (value: unknown) => ({ value }),
    buildSerializer: () => () => (value: unknown) => JSON.stringify(value),
  },
} as unknown as Required<FastifyServerOptions>['schemaController'];

/**
 * Nothing logs a header. Should an error drag a request along, or the command that Redis refused, no key and no tensor
 * gets into the log even so.
 */
const NEVER_LOGGED = [
  'headers',
  ...['req', 'request', 'res', 'reply', 'err'].flatMap((name) => [`${name}.headers`, `${name}.rawHeaders`]),
  'err.rawPacket',
  'err.command',
];

/** The HTTP face of the service, not yet listening. */
export async function buildApp({
  config,
  pool,
  caches,
  logger,
  log,
  redis,
  traced,
}: AppOptions): Promise<FastifyInstance> {
  const isReady = () => !app.isDraining() && pool.isReady();
  const metrics = createMetrics({ pool, queueLimit: config.QUEUE_LIMIT, isReady, caches, log });
  const turns = new Turns();
  const proxies = trustedProxies(config.TRUST_PROXY);
  const isProxy = membershipOf(proxies || []);
  const app = fastify({
    loggerInstance: logger.child({}, { redact: { paths: NEVER_LOGGED, remove: true } }),
    logController: new LogController({ disableRequestLogging: true }),
    requestIdHeader: false,
    genReqId: ({ headers }) => requestId(headers),
    return503OnClosing: false, // while it drains, the lifecycle plugin answers
    trustProxy: proxies,
    serverFactory: (handle) => {
      const server = createServer(serverOptions(config));
      answerOneByOne(server, handle as RequestListener, turns);
      server.maxHeadersCount = FIELDS_READ;
      return server;
    },
    forceCloseConnections: true, // the lifecycle plugin has waited for what counts
    schemaController: schemasDescribe,
    clientErrorHandler: refuseMalformedHttp(logger, metrics.refused),
    frameworkErrors: (error, request, reply) => refuseBadPath(error, request, reply, metrics.refused),
  }) as unknown as FastifyInstance;

  app.decorateRequest('receiveFrom', 0);
  app.decorateRequest('receiveTo', 0);
  app.decorateReply('stages', undefined);
  app.decorateReply('sendFrom', 0);
  app.decorateReply('weightsKnown', undefined);
  app.decorateReply('logged', undefined);
  app.decorateReply('problem', undefined);
  app.decorateReply('refusal', undefined);
  // Hooks with a callback, here and in the plugins: each promise of a hook would cost every request a turn.
  app.addHook('onRequest', ({ raw }, _reply, done) => {
    dropEmptyFields(raw);
    done();
  });
  if (traced) await app.register((await import('./traces.js')).tracesPlugin);
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id).headers(SECURITY_HEADERS);
    reply.raw.once('close', () => {
      if (reply.raw.writableFinished) return;
      endStages(request, reply);
      request.log.info({ ...logLine(request, reply), status: undefined }, 'the client has left');
      metrics.abandoned(request);
    });
    done();
  });
  await app.register(connectionsPlugin, {
    config,
    isProxy,
    turns,
    onRefusal: metrics.refused,
  });
  await app.register(prefixPlugin, { isProxy });
  await app.register(errorsPlugin, { onRefusal: metrics.refused });
  app.addHook('onSend', (request, reply, payload, done) => {
    const followed = isFollowed(request.raw.socket);
    if (followed === 'never' || (followed === 'maybe' && app.isDraining())) reply.header('connection', 'close');
    const stages = Object.entries(reply.stages ?? { total: reply.elapsedTime });
    const timings = stages.map(([stage, ms]) => `${stage};dur=${ms.toFixed(3)}`);
    if (reply.weightsKnown !== undefined) timings.push(`weights;desc="${Math.round(100 * reply.weightsKnown)}% known"`);
    reply.header('server-timing', timings.join(', '));
    reply.sendFrom = performance.now();
    done(null, payload);
  });
  app.addHook('onResponse', (request, reply, done) => {
    endStages(request, reply);
    // Probes come every few seconds; what computes, and what goes wrong, is worth a line each.
    const isWorthIt = request.routeOptions.config.computes || reply.statusCode >= 400;
    const level = reply.statusCode >= 500 ? 'warn' : isWorthIt ? 'info' : 'debug';
    request.log[level](logLine(request, reply), 'request answered');
    metrics.answered(request, reply);
    done();
  });
  await app.register(accessPlugin, { config, logger });
  await app.register(lifecyclePlugin, { turns });
  await app.register(rateLimitPlugin, { limit: config.RATE_LIMIT, redis, logger });
  app.addHook('onRequest', (request, _reply, done) => {
    const { accept = '*/*' } = request.headers;
    if (!request.routeOptions.config.computes || takesJson(accept)) done();
    else done(new Problem('not-acceptable', `the service answers application/json, but Accept is ${accept}`));
  });
  await app.register(deadlinePlugin, config);
  await app.register(slowClientsPlugin, {
    limit: config.IDLE_TIMEOUT,
    memory: pool.memory,
    onRefusal: metrics.refused,
  });
  // A body must leave room for what it says.
  const bodyLimit = Math.min(config.BODY_LIMIT, Math.floor(pool.memory.share / (1 + MOST_READ)));
  await app.register(bodyPlugin, { limit: bodyLimit, memory: pool.memory });
  await app.register(packPlugin);
  await app.register(openapiPlugin);
  await app.register(docsRoutes);
  await app.register(aboutRoutes, { pool });
  await app.register(healthRoutes, { pool });
  await app.register(metricsRoutes, { metrics });
  const keptCaches = cachesIn(caches, config, app.log);
  await app.register(cachesRoutes, { caches: keptCaches });
  await app.register(computeRoutes, { pool, caches: keptCaches });
  return app;
}

function serverOptions({ REQUEST_TIMEOUT, IDLE_TIMEOUT, KEEP_ALIVE_TIMEOUT }: Config): ServerOptions {
  const headersTimeout = Math.min(IDLE_TIMEOUT, REQUEST_TIMEOUT); // Node exchanges the two where this is the longer one
  return {
    requireHostHeader: false, // the errors plugin requires it, and answers with a problem
    maxHeaderSize: HEAD_BYTES,
    requestTimeout: REQUEST_TIMEOUT,
    headersTimeout,
    connectionsCheckingInterval: Math.min(5000, headersTimeout),
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT,
  };
}

/** What stands behind the ? may be a key, and an id in the path gives its caches to whoever reads it. */
function loggedPath(request: FastifyRequest): string {
  const { url: route } = request.routeOptions;
  return route?.includes(':') ? route : pathOf(request);
}

/** What is logged of every request: sizes and shapes, and of numbers at most one that was refused. */
function logLine(request: FastifyRequest, reply: FastifyReply) {
  return {
    method: request.method,
    url: loggedPath(request),
    operation: operationOf(request),
    caller: request.caller,
    address: request.caller === undefined ? request.ip : undefined,
    status: reply.statusCode,
    code: reply.problem,
    ...reply.refusal,
    ms: reply.elapsedTime,
    ...reply.logged,
    stages: reply.stages,
  };
}
