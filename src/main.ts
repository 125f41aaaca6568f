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

  // Only the first signal counts: `npm start` passes on the Ctrl-C that the terminal has sent to the process already.
  let stopping = false;
  const stop = async (signal: NodeJS.Signals) => {
    if (stopping) return;
    stopping = true;
    logger.info({ signal }, 'stopping: what has begun is finished first');
    setTimeout(() => {
      logger.error({ DRAIN_LIMIT: config.DRAIN_LIMIT }, 'stopped before everything was finished');
      process.exit(1);
    }, config.DRAIN_LIMIT);
    await app.drain();
    await app.close();
    await pool.close();
    logger.info('stopped');
    process.exit(0);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);

  await app.listen({ host: config.HOST, port: config.PORT });
}

main().catch((error: Error) => {
  const expected = error instanceof ConfigError || 'syscall' in error; // such as a port that is taken
  process.stderr.write(`unroll cannot start: ${expected ? error.message : error.stack}\n`);
  process.exit(1);
});
