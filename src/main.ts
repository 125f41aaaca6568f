import { lookup } from 'node:dns/promises';
import type { Logger } from 'pino';
import type { Config } from './settings/config.js';

/**
 * The process: config → pool → app → listen; SIGTERM or SIGINT → drain → exit.
 *
 * The handlers come before anything else is even loaded: process 1 of a container ignores a signal that nobody
 * handles. Only the first signal counts: `npm start` passes on the Ctrl-C that the terminal has sent already.
 */
let stop = async (_signal: NodeJS.Signals): Promise<void> => process.exit(0);
let stopping = false;
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (stopping) return;
    stopping = true;
    void stop(signal);
  });
}

/** Connections that may wait in the system until they are accepted: more are dropped, and their clients try again a second later. */
const BACKLOG = 4096;
/** How long the last traces may take to be sent. */
const FLUSH_MS = 3000;

async function main(): Promise<void> {
  const [{ pino }, { createPool }, { ConfigError, finishesAll, isTraced, loadConfig, tracesObstacle }, { openLog }] =
    await Promise.all([
      import('pino'),
      import('./compute/pool/pool.js'),
      import('./settings/config.js'),
      import('./log.js'),
    ]);
  const config = loadConfig(process.env);
  const log = openLog({ onBack: (dropped) => logger.warn({ dropped }, 'lines were dropped, as nobody read the log') });
  process.on('exit', () => log.close());
  const logger: Logger = pino({ level: config.LOG_LEVEL }, log);
  if (!finishesAll(config)) {
    const { DRAIN_LIMIT, DRAIN_GRACE, DEADLINE } = config;
    logger.warn(
      { DRAIN_LIMIT, DRAIN_GRACE, DEADLINE },
      'DEADLINE is not below DRAIN_LIMIT - DRAIN_GRACE: a stop gives up requests that take longer than that',
    );
  }
  const obstacle = tracesObstacle(config);
  if (obstacle !== undefined) logger.warn({ reason: obstacle }, 'requests are not traced');
  // The workers start while this thread loads the rest.
  const starting = createPool(
    {
      workers: config.WORKERS,
      queueLimit: config.QUEUE_LIMIT,
      memoryLimit: config.MEMORY_LIMIT,
      workLimit: config.WORK_LIMIT,
      flopsLimit: config.FLOPS_LIMIT,
      weightsLimit: config.WEIGHTS_LIMIT,
      kernels: config.KERNELS,
    },
    (err) => logger.error({ err }, 'worker died and is replaced'),
  );
  const traced = isTraced(config);
  const telemetry = traced ? (await import('./settings/telemetry.js')).startTelemetry(logger) : undefined;
  const [pool, { buildApp }] = await Promise.all([starting, import('./http/app.js')]);
  const { caches, redis } = await openStores(config, logger);
  const app = await buildApp({ config, pool, caches, logger, log, traced, ...(redis && { redis }) });

  stop = async (signal) => {
    const end = performance.now() + config.DRAIN_LIMIT;
    logger.info({ signal }, 'stopping: what has begun is finished first');
    setTimeout(() => {
      logger.error({ DRAIN_LIMIT: config.DRAIN_LIMIT }, 'stopped before everything was finished');
      process.exit(1);
    }, config.DRAIN_LIMIT);
    // A person at the terminal has no balancer that must learn of it.
    const grace = signal === 'SIGTERM' ? config.DRAIN_GRACE : 0;
    await app.drain({ grace, limit: config.DRAIN_LIMIT });
    await app.close();
    await pool.close();
    await caches.close();
    redis?.disconnect();
    // Whether the collector is there or not, the process stops in time.
    await telemetry?.stop(Math.min(FLUSH_MS, (end - performance.now()) / 2));
    logger.info('stopped');
    process.exit(0);
  };

  logger.info({ kernels: pool.tier, workers: config.WORKERS, node: process.version }, 'workers ready');
  // One address: for the name `localhost` Fastify would open a second server, which has not the settings of the first.
  const { address: host } = await lookup(config.HOST, { order: 'ipv4first' }).catch((error: Error) => {
    throw new ConfigError(`HOST is ${JSON.stringify(config.HOST)}, but ${error.message}`);
  });
  if (!stopping) await app.listen({ host, port: config.PORT, backlog: BACKLOG });
}

/**
 * Stored caches are kept in the memory of this process, or in the Redis that all instances share, of which nothing is
 * loaded otherwise. They have a connection of their own: the counts of requests do not wait behind them.
 */
async function openStores({ CACHE_URL, CACHE_LIMIT, RATE_LIMIT, WORKERS, QUEUE_LIMIT }: Config, logger: Logger) {
  if (CACHE_URL === '') return { caches: (await import('./stores/memory.js')).memoryStore(CACHE_LIMIT) };
  const [{ connectRedis }, { redisStore }] = await Promise.all([
    import('./settings/redis.js'),
    import('./stores/redis.js'),
  ]);
  // While requests wait for a Redis that has stopped answering, half of all places are left to the others.
  const callers = Math.ceil((WORKERS + QUEUE_LIMIT) / 2);
  const connection = connectRedis(CACHE_URL, logger.child({ connection: 'caches' }));
  const caches = redisStore(connection, { limit: CACHE_LIMIT, callers });
  return { caches, ...(RATE_LIMIT > 0 && { redis: connectRedis(CACHE_URL, logger) }) };
}

main().catch((error: Error) => {
  // A setting that cannot be used, or what the system refuses, such as a port that is taken, needs no stack.
  const expected = ['ConfigError', 'KernelsUnavailable'].includes(error.name) || 'syscall' in error;
  process.stderr.write(`unroll cannot start: ${expected ? error.message : error.stack}\n`);
  process.exit(1);
});
