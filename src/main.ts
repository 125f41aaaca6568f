import closeWithGrace from 'close-with-grace';
import { pino } from 'pino';
import { createPool } from './compute/pool.js';
import { ConfigError, loadConfig } from './config.js';
import { buildApp } from './http/app.js';

/** The process: config → pool → app → listen; SIGTERM or SIGINT → drain → exit. */
async function main(): Promise<void> {
  const config = loadConfig(process.env);
  const logger = pino({ level: config.LOG_LEVEL });
  const pool = await createPool(
    { workers: config.WORKERS, queueLimit: config.QUEUE_LIMIT, workLimit: config.WORK_LIMIT },
    (err) => logger.error({ err }, 'worker died and is replaced'),
  );
  const app = await buildApp({ config, pool, logger });

  closeWithGrace({ delay: config.DRAIN_LIMIT || false, logger }, async ({ signal, err }) => {
    if (err) logger.fatal({ err }, 'unexpected error');
    logger.info({ signal }, 'stopping: finishing what has begun');
    await app.drain();
    await app.close();
    await pool.close();
    logger.info('stopped');
  });

  await app.listen({ host: config.HOST, port: config.PORT });
}

main().catch((error: Error) => {
  const line = error instanceof ConfigError ? error.message : String(error.stack);
  process.stderr.write(`unroll cannot start: ${line}\n`);
  process.exit(1);
});
