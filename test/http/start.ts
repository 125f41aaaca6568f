import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { createPool, type Pool } from '../../src/compute/pool.js';
import { buildApp } from '../../src/http/app.js';

export interface Started {
  readonly app: FastifyInstance;
  readonly pool: Pool;
  readonly url: string;
  /** Every log line, as an object. */
  readonly log: Record<string, unknown>[];
  stop(): Promise<void>;
}

export interface Limits {
  readonly workers?: number;
  readonly bodyLimit?: number;
  readonly workLimit?: number;
  readonly queueLimit?: number;
}

/** The whole service in this process, with real workers, listening on a free port. */
export async function start(limits: Limits = {}): Promise<Started> {
  const { workers = 2, bodyLimit = 2 ** 26, workLimit = 2 ** 28, queueLimit = 64 } = limits;
  const log: Record<string, unknown>[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => log.push(JSON.parse(line)) });
  const workerFile = new URL('../../dist/compute/worker.js', import.meta.url);
  const pool = await createPool({ workers, queueLimit, workLimit, workerFile }, (error) => logger.error(error));
  const app = await buildApp({ config: { BODY_LIMIT: bodyLimit }, pool, logger });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return {
    app,
    pool,
    log,
    url: `http://127.0.0.1:${port}`,
    async stop() {
      await app.close();
      await pool.close();
    },
  };
}
