import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Redis } from 'ioredis';
import { pino } from 'pino';
import { createPool, type Pool } from '../../src/compute/pool/pool.js';
import { buildApp } from '../../src/http/app.js';
import type { Choice } from '../../src/kernels/choose.js';
import { type Config, loadConfig } from '../../src/settings/config.js';
import { memoryStore } from '../../src/stores/memory.js';
import type { CacheStore } from '../../src/stores/store.js';

export interface Started {
  readonly app: FastifyInstance;
  readonly pool: Pool;
  readonly caches: CacheStore;
  readonly url: string;
  /** Every log line, as an object. */
  readonly log: Record<string, unknown>[];
  stop(): Promise<void>;
}

/** What `npm run build` has made. */
const WORKER = new URL('../../dist/compute/worker/worker.js', import.meta.url);

const QUEUE_LIMIT = 64;

export interface Limits {
  /** A pool that several services use, and that the test closes. By default each service has its own. */
  readonly pool?: Pool;
  readonly workerFile?: URL;
  readonly workers?: number;
  readonly bodyLimit?: number;
  readonly workLimit?: number;
  readonly weightsLimit?: number;
  readonly queueLimit?: number;
  readonly memoryLimit?: number;
  readonly flopsLimit?: number;
  readonly requestTimeout?: number;
  readonly idleTimeout?: number;
  readonly deadline?: number;
  readonly cacheLimit?: number;
  readonly cacheTtl?: number;
  /** By default in the memory of this process. */
  readonly caches?: CacheStore;
  readonly kernels?: Choice;
  /** Keys, limits, origins and whatever else. */
  readonly settings?: Partial<Config>;
  readonly redis?: Redis;
}

/** Real workers, without a service. */
export function startPool(limits: Limits = {}, onFault: (error: Error) => void = () => {}): Promise<Pool> {
  const {
    kernels = 'auto',
    workerFile = WORKER,
    workers = 2,
    workLimit = 2 ** 28,
    weightsLimit = 2 ** 24,
    queueLimit = QUEUE_LIMIT,
    memoryLimit = 2 ** 31,
    flopsLimit = 1e13,
  } = limits;
  return createPool(
    { workers, queueLimit, memoryLimit, workLimit, flopsLimit, weightsLimit, kernels, workerFile },
    onFault,
  );
}

/** The whole service in this process, with real workers, listening on a free port. */
export async function start(limits: Limits = {}): Promise<Started> {
  const {
    bodyLimit = 2 ** 26,
    queueLimit = QUEUE_LIMIT,
    requestTimeout = 60_000,
    idleTimeout = 30_000,
    deadline = 60_000,
    cacheLimit = 2 ** 26,
    cacheTtl = 600_000,
    caches = memoryStore(cacheLimit),
    settings = {},
    redis,
  } = limits;
  const log: Record<string, unknown>[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => log.push(JSON.parse(line)) });
  const pool = limits.pool ?? (await startPool(limits, (error) => logger.error(error)));
  const config: Config = {
    ...loadConfig({}),
    BODY_LIMIT: bodyLimit,
    QUEUE_LIMIT: queueLimit,
    REQUEST_TIMEOUT: requestTimeout,
    IDLE_TIMEOUT: idleTimeout,
    DEADLINE: deadline,
    CACHE_LIMIT: cacheLimit,
    CACHE_TTL: cacheTtl,
    ...settings,
  };
  const app = await buildApp({ config, pool, caches, logger, ...(redis && { redis }) });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return {
    app,
    pool,
    caches,
    log,
    url: `http://127.0.0.1:${port}`,
    async stop() {
      await app.close();
      if (limits.pool === undefined) await pool.close();
      await caches.close();
    },
  };
}
