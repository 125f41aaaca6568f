import { FastifyOtelInstrumentation } from '@fastify/otel';
import type { Span, SpanContext } from '@opentelemetry/api';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';

declare module 'fastify' {
  interface FastifyRequest {
    /** Added to performance.now(): the time in milliseconds since the epoch, on the clock of the request's span. */
    traceClock: number;
    /** When the request was handed to the pool, on that clock. */
    tracedFrom: number;
  }
}

/**
 * A span for each request that computes, and one for each of its stages. The last stage, `send`, begins when the request's own span
 * ends. The trace of the caller (traceparent) goes on; the answer (traceresponse) and the log name it. Sizes and shapes are in it,
 * never numbers. Loaded only where traces are wanted.
 */
export const tracesPlugin = fp(
  async (app: FastifyInstance) => {
    const traced = new Set<string>();
    app.addHook('onRoute', ({ config, url }) => {
      if (config?.operation) traced.add(url);
    });
    const instrumentation = new FastifyOtelInstrumentation({
      instrumentHooks: false,
      instrumentHandler: false,
      recordExceptions: false,
      ignorePaths: ({ url }) => !traced.has(url.split('?', 1)[0]),
      requestHook: describe,
    });
    app.decorateRequest('traceClock', 0);
    app.decorateRequest('tracedFrom', 0);
    await app.register(instrumentation.plugin());
    // It would call every refusal an error; what the service is to blame for is one by its status.
    app.addHook('onRoute', (route) => {
      if (traced.has(route.url)) delete route.onError;
    });

    app.addHook('onRequest', (request, reply, done) => {
      const { span } = request.opentelemetry();
      if (span) {
        const context = span.spanContext();
        request.log = request.log.child({ trace_id: context.traceId, span_id: context.spanId });
        reply.log = request.log;
        reply.header('traceresponse', headerOf(context));
        request.traceClock = Date.now() - performance.now();
        reply.raw.once('close', () => {
          if (reply.sendFrom > 0)
            stageSpan(request, 'send', request.traceClock + reply.sendFrom, request.traceClock + performance.now());
          giveUp(request);
        });
      }
      done();
    });
    app.addHook('preHandler', (request, _reply, done) => {
      request.tracedFrom = request.traceClock + performance.now();
      done();
    });
    // The instrumentation ends the span in a hook of the route, which comes after this one.
    app.addHook('onSend', (request, reply, payload, done) => {
      const { span } = request.opentelemetry();
      if (span?.isRecording()) report(span, request, reply);
      done(null, payload);
    });
  },
  { name: 'traces' },
);

/** The client has left, and nobody may have tried to answer it: the instrumentation would leave the span open. */
function giveUp(request: FastifyRequest): void {
  const { span } = request.opentelemetry();
  span?.setAttribute('unroll.code', 'client-gone').end();
}

/** The name is the route's, and the path is without its query. */
function describe(span: Span, request: FastifyRequest): void {
  const { id, method, routeOptions } = request;
  const { url } = routeOptions;
  span.updateName(`${method} ${url}`);
  span.setAttributes({
    'url.path': url,
    'url.scheme': 'http',
    'unroll.operation': routeOptions.config.operation?.id,
    'unroll.request_id': id,
  });
}

function headerOf({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
}

function report(span: Span, request: FastifyRequest, reply: FastifyReply): void {
  const { dims = {}, bytesIn, bytesOut, flops } = reply.logged ?? {};
  span.setAttributes({
    'unroll.code': reply.problem ?? 'ok',
    'unroll.flops': flops,
    'http.request.body.size': bytesIn,
    'http.response.body.size': bytesOut,
    ...Object.fromEntries(Object.entries(dims).map(([letter, size]) => [`unroll.dims.${letter}`, size])),
  });
  if (reply.problem && reply.statusCode >= 500) span.setAttribute('error.type', reply.problem);
  const { stages = {} } = reply;
  // A body that was refused has been handed to nobody.
  let startTime = (request.tracedFrom || request.traceClock + performance.now()) - (stages.receive ?? 0);
  for (const [stage, ms] of Object.entries(stages)) {
    stageSpan(request, stage, startTime, startTime + ms);
    startTime += ms;
  }
}

function stageSpan(request: FastifyRequest, stage: string, startTime: number, endTime: number): void {
  const { context, tracer } = request.opentelemetry();
  if (context === null) return;
  tracer
    .startSpan(
      stage,
      { startTime, attributes: { 'unroll.operation': request.routeOptions.config.operation?.id } },
      context,
    )
    .end(endTime);
}
