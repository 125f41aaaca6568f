import { Redis } from 'ioredis';
import type { Logger } from 'pino';

/** How long the server may take to accept a connection, to answer a command, or to say anything while one waits. */
const LIMIT_MS = 2000;
/** Between attempts to connect. */
const LONGEST_PAUSE_MS = 2000;

/**
 * A connection to Redis or Valkey that is made, and made again, in the background, for as long as the process runs. While
 * there is none, commands fail at once; none waits for it. An outage is logged once, and its end. A server that refuses
 * the password or the database of the url counts as lost: nothing is ever written to another database.
 *
 * @param url redis://… or rediss://…; it may hold a password, and is never logged
 */
export function connectRedis(url: string, logger: Logger): Redis {
  const redis = new Redis(url, {
    connectTimeout: LIMIT_MS,
    commandTimeout: LIMIT_MS,
    socketTimeout: LIMIT_MS,
    disableClientInfo: true, // one command less that the user must be allowed
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => Math.min(LONGEST_PAUSE_MS, 50 * 2 ** Math.min(attempt, 10)),
    // After a failover the old primary refuses writes: the name may lead to the new one by now.
    reconnectOnError: ({ message }) => message.startsWith('READONLY'),
  });
  let isLost = false;
  redis.on('error', ({ message, code, command }: ConnectionError) => {
    // Not the error itself: it carries the command and its arguments. Where a name has several addresses, it has no message.
    if (!isLost) logger.error({ reason: message || code }, 'redis is lost; connecting again until it is back');
    isLost = true;
    // The client would go on with database 0. As its last question before it is ready cannot be asked any more, it is never.
    if (command?.name === 'select') redis.disconnect(true);
  });
  redis.on('ready', () => {
    logger.info(isLost ? 'redis is back' : 'redis is connected');
    isLost = false;
  });
  return redis;
}

interface ConnectionError extends Error {
  readonly code?: string;
  /** Which the server has refused. */
  readonly command?: { readonly name: string };
}
