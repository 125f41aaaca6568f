import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { isFollowed } from '../connections/pipelining.js';
import { pathOf } from '../errors.js';
import { SECURITY_HEADERS } from '../headers.js';
import type { Metrics } from './metrics.js';
import { endStages } from './stages.js';

/** What every answer has: its id, security headers and timings, a line in the log, and its place in the metrics. */
export const answersPlugin = fp(
  async (app: FastifyInstance, { metrics }: { metrics: Metrics }) => {
    app.decorateRequest('receiveFrom', 0);
    app.decorateRequest('receiveTo', 0);
    app.decorateReply('stages', undefined);
    app.decorateReply('sendFrom', 0);
    app.decorateReply('weightsKnown', undefined);
    app.decorateReply('logged', undefined);
    app.decorateReply('problem', undefined);
    app.decorateReply('refusal', undefined);

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
    app.addHook('onSend', (request, reply, payload, done) => {
      const followed = isFollowed(request.raw.socket);
      if (followed === 'never' || (followed === 'maybe' && app.isDraining())) reply.header('connection', 'close');
      reply.header('server-timing', timingsOf(reply));
      reply.sendFrom = performance.now();
      done(null, payload);
    });
    app.addHook('onResponse', (request, reply, done) => {
      endStages(request, reply);
      // Probes come every few seconds; what computes, and what goes wrong, is worth a line each.
      const isWorthIt = request.routeOptions.config.operation || reply.statusCode >= 400;
      const level = reply.statusCode >= 500 ? 'warn' : isWorthIt ? 'info' : 'debug';
      request.log[level](logLine(request, reply), 'request answered');
      metrics.answered(request, reply);
      done();
    });
  },
  { name: 'answers' },
);

/** The header server-timing: the stages so far, in milliseconds. */
function timingsOf({ stages, elapsedTime, weightsKnown }: FastifyReply): string {
  const timings = Object.entries(stages ?? { total: elapsedTime }).map(
    ([stage, ms]) => `${stage};dur=${ms.toFixed(3)}`,
  );
  if (weightsKnown !== undefined) timings.push(`weights;desc="${Math.round(100 * weightsKnown)}% known"`);
  return timings.join(', ');
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
    operation: request.routeOptions.config.operation?.id,
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
