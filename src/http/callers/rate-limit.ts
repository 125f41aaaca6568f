import rateLimit, { type RateLimitPluginOptions } from '@fastify/rate-limit';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { Problem } from '../problems.js';
import { callerOf } from './caller.js';
import { Minutes } from './minutes.js';

export interface LimitsOptions {
  /** Requests a minute to what computes; 0: no limit. */
  readonly limit: number;
  /** Where the instances count together; without it each counts for itself. */
  readonly redis?: Redis | undefined;
  readonly logger: Logger;
}

const MINUTE_MS = 60_000;

/** How long a request waits for Redis to count it, and how long a Redis that was too slow is left alone. */
const PATIENCE_MS = 100;
const REST_MS = 1000;

/** So many requests each caller may make in a minute, whichever instance takes them. */
export const rateLimitPlugin = fp(
  async (app: FastifyInstance, { limit, redis, logger }: LimitsOptions) => {
    if (limit === 0) return;
    const options = { global: false, max: limit, timeWindow: MINUTE_MS, keyGenerator: callerOf };
    const alone = await counter(app, { ...options, store: Minutes });
    const count = redis
      ? together(await counter(app, { ...options, redis, nameSpace: 'unroll:rate:' }), alone, redis, logger)
      : alone;
    app.addHook('onRequest', (request, reply, done) => {
      if (!request.routeOptions.config.operation) return done();
      count(request).then((counted) => done(refusal(counted, request, reply)), done);
    });
  },
  { name: 'rate-limit' },
);

type Counter = ReturnType<FastifyInstance['createRateLimit']>;
type Counted = Awaited<ReturnType<Counter>>;

/** In a scope of its own: the package gives an instance one counter only. */
async function counter(app: FastifyInstance, options: RateLimitPluginOptions): Promise<Counter> {
  const made: Counter[] = [];
  await app.register(async (scope) => {
    await scope.register(rateLimit, options);
    made.push(scope.createRateLimit());
  });
  return made[0];
}

/**
 * Counts in Redis, and alone while Redis is away or slow: a lost Redis makes limits looser, and nothing wait. After a
 * failure one request in a second tries it out; the others neither wait nor pile up in the client.
 */
function together(shared: Counter, alone: Counter, redis: Redis, logger: Logger): Counter {
  let failed = false;
  let tryAt = 0;
  return async (request) => {
    const now = performance.now();
    if (redis.status !== 'ready' || (failed && now < tryAt)) return alone(request);
    tryAt = now + REST_MS;
    try {
      const counted = await inTime(shared(request));
      if (failed) logger.info('Redis counts requests again');
      failed = false;
      return counted;
    } catch (error) {
      if (!failed) logger.warn({ reason: (error as Error).message }, 'Redis cannot count requests, each instance does');
      failed = true;
      tryAt = performance.now() + REST_MS;
      return alone(request);
    }
  };
}

function inTime<T>(counted: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${PATIENCE_MS} ms`)), PATIENCE_MS);
    counted.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Tells the caller how much is left, in the headers of the IETF's draft; and that it is too much, where it is. */
function refusal(counted: Counted, request: FastifyRequest, reply: FastifyReply): Problem | undefined {
  if (counted.isAllowed) return undefined; // there is no list of callers without a limit
  const { max, remaining, isExceeded } = counted;
  const seconds = Math.max(1, counted.ttlInSeconds);
  reply.headers({ 'ratelimit-limit': max, 'ratelimit-remaining': remaining, 'ratelimit-reset': seconds });
  if (!isExceeded) return undefined;
  reply.logged = { address: request.ip };
  const who = request.caller ?? 'this address';
  return new Problem('rate-limited', `${who} has made the ${max} requests that it may in a minute`, [], {
    'retry-after': String(seconds),
  });
}
