import { createServer, type RequestListener, type ServerOptions } from 'node:http';
import { type FastifyInstance, type FastifyServerOptions, fastify, LogController } from 'fastify';
import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { MOST_READ } from '../compute/messages.js';
import type { Pool } from '../compute/pool/pool.js';
import type { Config } from '../settings/config.js';
import type { CacheStore } from '../stores/store.js';
import { acceptPlugin } from './accept.js';
import { bodyPlugin } from './bodies/body.js';
import { packPlugin } from './bodies/pack.js';
import { cachesIn } from './caches.js';
import { accessPlugin } from './callers/access.js';
import { prefixPlugin } from './callers/prefix.js';
import { membershipOf, trustedProxies } from './callers/proxies.js';
import { rateLimitPlugin } from './callers/rate-limit.js';
import { connectionsPlugin } from './connections/connections.js';
import { answerOneByOne } from './connections/pipelining.js';
import { refuseMalformedHttp } from './connections/refuse-on-socket.js';
import { slowClientsPlugin } from './connections/slow-clients.js';
import { Turns } from './connections/turns.js';
import { deadlinePlugin } from './deadline.js';
import { errorsPlugin, FIELDS_READ, refuseBadPath } from './errors.js';
import { fieldsPlugin } from './fields.js';
import { lifecyclePlugin } from './lifecycle.js';
import { answersPlugin } from './monitoring/answers.js';
import { createMetrics, type Metrics } from './monitoring/metrics.js';
import { openapiPlugin } from './openapi/document.js';
import { requestId } from './request-id.js';
import { aboutRoutes } from './routes/about.js';
import { cachesRoutes } from './routes/caches.js';
import { computeRoutes } from './routes/compute.js';
import { docsRoutes } from './routes/docs.js';
import { healthRoutes } from './routes/health.js';
import { metricsRoutes } from './routes/metrics.js';

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
export async function buildApp(options: AppOptions): Promise<FastifyInstance> {
  const { config, pool, caches, log } = options;
  const isReady = () => !app.isDraining() && pool.isReady();
  const metrics = createMetrics({ pool, queueLimit: config.QUEUE_LIMIT, isReady, caches, log });
  const shared = { ...options, metrics, turns: new Turns(), proxies: trustedProxies(config.TRUST_PROXY) };
  const app = createApp(shared);
  await registerHooks(app, shared);
  await registerRoutes(app, shared);
  return app;
}

/** What all parts of the app are made with. */
interface Shared extends AppOptions {
  readonly metrics: Metrics;
  readonly turns: Turns;
  readonly proxies: string[] | false;
}

function createApp({ config, logger, metrics, turns, proxies }: Shared): FastifyInstance {
  const { refused } = metrics;
  return fastify({
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
    clientErrorHandler: refuseMalformedHttp(logger, refused),
    frameworkErrors: (error, request, reply) => refuseBadPath(error, request, reply, refused),
  }) as unknown as FastifyInstance;
}

/**
 * The questions that a request is asked, in their order, which is the argument for its safety: what costs least comes first,
 * and nothing is done for a caller before it is known who that is and what it may do. All hooks have a callback: each promise
 * of a hook would cost every request a turn of the event loop.
 */
async function registerHooks(app: FastifyInstance, shared: Shared): Promise<void> {
  const { config, pool, logger, redis, traced, metrics, turns, proxies } = shared;
  const isProxy = membershipOf(proxies || []);
  const { refused: onRefusal } = metrics;

  // 1. Fields without a value go, before anything reads one.
  await app.register(fieldsPlugin);
  // 2. The trace begins here, so that it covers what follows.
  if (traced) await app.register((await import('./monitoring/traces.js')).tracesPlugin);
  // 3. Every answer, refusals too, has its id and security headers, is logged and is counted.
  await app.register(answersPlugin, { metrics });
  // 4. Too many connections of one address: refused before a head is read.
  await app.register(connectionsPlugin, { config, isProxy, turns, onRefusal });
  // 5. Whether the address may say under which path we are offered.
  await app.register(prefixPlugin, { isProxy });
  // 6. HTTP that is odd (two Host fields, a body of unknown length): refused before anything believes it. Errors are problems from here on.
  await app.register(errorsPlugin, { onRefusal });
  // 7. Who is it? Without a key nothing else is answered.
  await app.register(accessPlugin, { config, logger });
  // 8. Does the service still begin anything?
  await app.register(lifecyclePlugin, { turns });
  // 9. Does this caller ask too often? It has a name by now.
  await app.register(rateLimitPlugin, { limit: config.RATE_LIMIT, redis, logger });
  // 10. Would it understand the answer?
  await app.register(acceptPlugin);
  // 11. The clock runs from the head on: the arrival of the body counts.
  await app.register(deadlinePlugin, config);
  // 12. Its body must come, and its answer be taken, at a least rate.
  await app.register(slowClientsPlugin, { limit: config.IDLE_TIMEOUT, memory: pool.memory, onRefusal });
  // 13. Only now is a body read, under its limit and the memory budget. It must leave room for what it says.
  const bodyLimit = Math.min(config.BODY_LIMIT, Math.floor(pool.memory.share / (1 + MOST_READ)));
  await app.register(bodyPlugin, { limit: bodyLimit, memory: pool.memory });
  // 14. Pages and documents are packed on their way out.
  await app.register(packPlugin);
}

async function registerRoutes(app: FastifyInstance, { config, pool, caches, metrics }: Shared): Promise<void> {
  await app.register(openapiPlugin);
  await app.register(docsRoutes);
  await app.register(aboutRoutes, { pool });
  await app.register(healthRoutes, { pool });
  await app.register(metricsRoutes, { metrics });
  const keptCaches = cachesIn(caches, config, app.log);
  await app.register(cachesRoutes, { caches: keptCaches });
  await app.register(computeRoutes, { pool, caches: keptCaches });
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
