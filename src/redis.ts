import { Redis } from 'ioredis';
import type { Logger } from 'pino';

/** How long the server may take to accept a connection, to answer a command, or to say anything while one waits. */
const LIMIT_MS = 2000;
/** Between attempts to connect. */
const LONGEST_PAUSE_MS = 2000;

/**
 * A connection to Redis or Valkey that is made, and made again, in the background, for as long as the process runs. While
 * there is none, commands fail at once; none waits for it. An outage is logged once, and its end.
 *
 * @param url redis://… or rediss://…; it may hold a password, and is never logged
 */
export function connectRedis(url: string, logger: Logger): Redis {
  const redis = new Redis(url, {
    connectTimeout: LIMIT_MS,
    commandTimeout: LIMIT_MS,
    socketTimeout: LIMIT_MS,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => Math.min(LONGEST_PAUSE_MS, 50 * 2 ** Math.min(attempt, 10)),
    // After a failover the old primary refuses writes: the name may lead to the new one by now.
    reconnectOnError: ({ message }) => message.startsWith('READONLY'),
  });
  let isLost = false;
  redis.on('error', ({ message }: Error) => {
    // Not the error itself: it carries the command and its arguments.
    if (!isLost) logger.error({ reason: message }, 'redis is lost; connecting again until it is back');
    isLost = true;
  });
  redis.on('ready', () => {
    logger.info(isLost ? 'redis is back' : 'redis is connected');
    isLost = false;
  });
  return redis;
}
