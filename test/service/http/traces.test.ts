import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { numbersFrom, operationCalled, tensorsFor } from '../../values.js';
import { type Collector, type Span, startCollector } from './collector.js';

const MAIN = fileURLToPath(new URL('../../../dist/main.js', import.meta.url));
const lstmForward = (n_a = 3, m = 4, T_x = 5) =>
  JSON.stringify(
    tensorsFor(operationCalled('lstmForward').request, { n_x: 2, n_a, n_y: 2, m, T_x, T_da: T_x }, numbersFrom(1), {
      prediction: true,
      way: 0,
      extras: false,
    }),
  );
const STAGES = ['receive', 'queue', 'decode', 'compute', 'encode'];

interface Traced {
  readonly url: string;
  log(): Record<string, unknown>[];
  post(body: string, headers?: Record<string, string>, query?: string): Promise<Response>;
  /** Sends SIGTERM; the exit code. */
  stop(): Promise<number>;
}

const collectors: Collector[] = [];
const services: Traced[] = [];
afterEach(async () => {
  await Promise.all(services.splice(0).map((service) => service.stop()));
  await Promise.all(collectors.splice(0).map((collector) => collector.stop()));
});

async function collect(delay?: number): Promise<Collector> {
  const collector = await startCollector(delay);
  collectors.push(collector);
  return collector;
}

/** The service in a process of its own, whose log is kept. */
async function serve(env: Record<string, string>): Promise<Traced> {
  const child = spawn(process.execPath, [MAIN], {
    env: { ...process.env, PORT: '0', WORKERS: '1', DRAIN_GRACE: '0', OTEL_BSP_SCHEDULE_DELAY: '50', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'close');
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  while (!text.includes('listening')) await sleep(20);
  const url = /http:[^"]+/.exec(text)?.[0] ?? '';
  const service = {
    url,
    log: () =>
      text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line)),
    post: (body: string, headers = {}, query = '') =>
      fetch(`${url}/v1/lstm/forward${query}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body,
      }),
    async stop() {
      child.kill('SIGTERM');
      return (await exited)[0];
    },
  };
  services.push(service);
  return service;
}

const named = (spans: readonly Span[], name: string) => spans.find((span) => span.name === name) as Span;
const ids = (answer: Response) => {
  const [version, traceId, spanId, flags] = (answer.headers.get('traceresponse') ?? '').split('-');
  return { version, traceId, spanId, flags };
};

describe('traces', () => {
  it('have a span for the request and one for each stage, one after the other', async () => {
    const collector = await collect();
    const service = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    const answer = await service.post(lstmForward(), { 'x-request-id': 'mine' });
    expect(answer.status).toBe(200);
    const { version, traceId, spanId, flags } = ids(answer);
    expect([version, flags]).toEqual(['00', '01']);

    const spans = await collector.trace(traceId, 7);
    expect(spans.map(({ name }) => name).sort()).toEqual([...STAGES, 'send', 'POST /v1/lstm/forward'].sort());
    const request = named(spans, 'POST /v1/lstm/forward');
    expect(request.spanId).toBe(spanId);
    expect(request.parentSpanId).toBeUndefined();
    expect(request.kind).toBe(2); // server
    expect(request.attributes).toMatchObject({
      'http.request.method': 'POST',
      'http.route': '/v1/lstm/forward',
      'http.response.status_code': 200,
      'http.request.body.size': lstmForward().length,
      'http.response.body.size': Number(answer.headers.get('content-length')),
      'url.path': '/v1/lstm/forward',
      'unroll.operation': 'lstmForward',
      'unroll.code': 'ok',
      'unroll.request_id': 'mine',
      'unroll.dims.n_a': 3,
      'unroll.dims.T_x': 5,
    });
    expect(request.resource).toMatchObject({ 'service.name': 'unroll', 'telemetry.sdk.language': 'nodejs' });

    // Those of server-timing within the request, and the last one from its end on.
    const timing = answer.headers.get('server-timing') ?? '';
    let last = request.start;
    for (const stage of STAGES) {
      const span = named(spans, stage);
      expect(span.parentSpanId).toBe(spanId);
      expect(span.attributes).toEqual({ 'unroll.operation': 'lstmForward' });
      expect(span.start).toBeGreaterThanOrEqual(last);
      last = span.end - 1000n; // rounded to nanoseconds
      const ms = Number(new RegExp(`${stage};dur=([\\d.]+)`).exec(timing)?.[1]);
      expect(Number(span.end - span.start) / 1e6).toBeCloseTo(ms, 2);
    }
    expect(Number(last - request.end) / 1e6).toBeLessThan(2); // the span's own clock counts whole milliseconds
  });

  it.each([
    ['takes it', true],
    ['leaves', false],
  ])('show how long an answer waited for its client, which then %s', async (_, stays) => {
    const collector = await collect();
    const service = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    const body = lstmForward(64, 16, 400);
    const client = connect(Number(new URL(service.url).port), '127.0.0.1');
    const traceId = '4af7651916cd43dd8448eb211c80319c';
    client.write(
      `POST /v1/lstm/forward HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nconnection: close\r\ntraceparent: 00-${traceId}-b7ad6b7169203331-01\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    await once(client, 'readable'); // the head
    await sleep(600);
    if (stays) client.resume();
    else client.destroy();
    const send = named(await collector.trace(traceId, 7), 'send');
    const request = named(collector.spans(), 'POST /v1/lstm/forward');
    expect(send.parentSpanId).toBe(request.spanId);
    expect(Number(send.end - send.start) / 1e6).toBeGreaterThan(500);
    expect(Number(send.start - request.end) / 1e6).toBeLessThan(5);
    expect(request.attributes).toMatchObject({ 'unroll.code': 'ok' });
  });

  it("go on with the caller's trace, and the log names them", async () => {
    const collector = await collect();
    const service = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    const [traceId, parent] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'];
    const answer = await service.post(lstmForward(), { traceparent: `00-${traceId}-${parent}-01`, tracestate: 'a=b' });
    expect(ids(answer).traceId).toBe(traceId);
    const spans = await collector.trace(traceId, 7);
    const request = named(spans, 'POST /v1/lstm/forward');
    expect(request.parentSpanId).toBe(parent);
    await service.stop();
    expect(service.log().find(({ msg }) => msg === 'request answered')).toMatchObject({
      trace_id: traceId,
      span_id: request.spanId,
      reqId: request.attributes['unroll.request_id'],
    });
  });

  it('tell of problems by their code; only what the service is to blame for is an error', async () => {
    const collector = await collect();
    const service = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    const refused = await service.post('{"x": 0.12345678987654321}');
    expect(refused.status).toBe(400);
    const { traceId } = ids(refused);
    const body = (await refused.json()) as Record<string, unknown>;
    const spans = await collector.trace(traceId, 5); // receive, queue, decode, send
    const request = named(spans, 'POST /v1/lstm/forward');
    expect(request.attributes).toMatchObject({
      'http.response.status_code': 400,
      'unroll.code': 'invalid-request',
      'unroll.request_id': body.request_id,
    });
    expect(request.attributes).not.toHaveProperty('error.type');
    expect(request.status.code ?? 0).toBe(0);

    const late = await service.post(lstmForward(192, 32, 400), { 'x-deadline-ms': '20' });
    expect(late.status).toBe(504);
    const timedOut = named(await collector.trace(ids(late).traceId, 1), 'POST /v1/lstm/forward');
    expect(timedOut.attributes).toMatchObject({
      'unroll.code': 'deadline-exceeded',
      'error.type': 'deadline-exceeded',
    });
    expect(timedOut.status.code).toBe(2);
  });

  it('end when the client leaves', async () => {
    const collector = await collect();
    const service = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    const body = lstmForward(192, 32, 400);
    const client = connect(Number(new URL(service.url).port), '127.0.0.1');
    const head = [
      'POST /v1/lstm/forward HTTP/1.1',
      'host: a',
      'content-type: application/json',
      `content-length: ${body.length}`,
      'traceparent: 00-2af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    ];
    client.write(`${head.join('\r\n')}\r\n\r\n${body}`);
    while (!/unroll_running_requests 1/.test(await (await fetch(`${service.url}/metrics`)).text())) await sleep(20);
    client.resetAndDestroy();
    const [span] = await collector.trace('2af7651916cd43dd8448eb211c80319c', 1);
    expect(span.attributes).toMatchObject({ 'unroll.operation': 'lstmForward', 'unroll.code': 'client-gone' });
  });

  it('hold no tensor, no query and no other route', async () => {
    const collector = await collect();
    const service = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    for (const path of ['/health/live', '/metrics', '/', '/nowhere?secret=1', '/docs/json'])
      await fetch(service.url + path);
    const answer = await service.post(
      lstmForward()
        .replace('[[[', '[[[0.12345678987654321,')
        .replace(/,[^,\]]+\]/, ']'),
      {},
      '?secret=1',
    );
    expect(answer.status).toBe(200);
    await collector.trace(ids(answer).traceId, 7);
    expect(await service.stop()).toBe(0);
    expect(collector.spans()).toHaveLength(7);
    expect(collector.text()).not.toContain('secret');
    expect(collector.text()).not.toContain('0.1234567');
    expect(
      lstmForward()
        .match(/0\.\d{8,}/g)
        ?.filter((number) => collector.text().includes(number)),
    ).toEqual([]);
  });

  it('obey the standard variables', async () => {
    const collector = await collect();
    const service = await serve({
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_SERVICE_NAME: 'weather',
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
      OTEL_TRACES_SAMPLER: 'parentbased_always_off',
    });
    const quiet = await service.post(lstmForward());
    expect(ids(quiet).flags).toBe('00');
    const traceparent = '00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const sampled = await service.post(lstmForward(), { traceparent });
    const [span] = await collector.trace(ids(sampled).traceId, 7);
    expect(span.resource).toMatchObject({ 'service.name': 'weather', 'deployment.environment.name': 'test' });
    expect(await service.stop()).toBe(0);
    expect(new Set(collector.spans().map(({ traceId }) => traceId))).toEqual(new Set([ids(sampled).traceId]));
  });

  it('go to OTEL_EXPORTER_OTLP_TRACES_ENDPOINT as it is, which suffices', async () => {
    const collector = await collect();
    const service = await serve({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/v1/traces` });
    const answer = await service.post(lstmForward());
    expect(await collector.trace(ids(answer).traceId, 7)).toHaveLength(7);
  });

  it.each([{ OTEL_SDK_DISABLED: 'true' }, { OTEL_TRACES_EXPORTER: 'none' }])('are off with %j', async (off) => {
    const collector = await collect();
    const service = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...off });
    const answer = await service.post(lstmForward());
    expect([answer.status, answer.headers.get('traceresponse')]).toEqual([200, null]);
    expect(await service.stop()).toBe(0);
    expect(collector.text()).toBe('');
  });

  it('of a caller are read in the form of the W3C, whatever OTEL_PROPAGATORS says', async () => {
    const collector = await collect();
    const service = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_PROPAGATORS: 'b3' });
    const traceId = '3af7651916cd43dd8448eb211c80319c';
    const asked = await service.post(lstmForward(), { b3: `${traceId}-b7ad6b7169203331-1` });
    expect(ids(asked).traceId).not.toBe(traceId);
    const continued = await service.post(lstmForward(), { traceparent: `00-${traceId}-b7ad6b7169203331-01` });
    expect(ids(continued).traceId).toBe(traceId);
  });

  it('are sent when the service stops', async () => {
    const collector = await collect();
    const service = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_SCHEDULE_DELAY: '60000' });
    const answers = await Promise.all(Array.from({ length: 8 }, () => service.post(lstmForward())));
    expect(collector.spans()).toEqual([]);
    expect(await service.stop()).toBe(0);
    expect(new Set(collector.spans().map(({ traceId }) => traceId))).toEqual(
      new Set(answers.map((a) => ids(a).traceId)),
    );
  });

  it.each([
    ['cannot be reached', undefined],
    ['does not answer', 600_000],
  ])('do no harm where the collector %s', async (_, delay) => {
    const collector = delay === undefined ? { url: 'http://127.0.0.1:1' } : await collect(delay);
    const service = await serve({
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_TIMEOUT: '500',
      DRAIN_LIMIT: '10000',
    });
    for (let i = 0; i < 50; i++) expect((await service.post(lstmForward())).status).toBe(200);
    for (let tries = 0; tries < 300 && !service.log().some(({ msg }) => msg === 'traces may be missing'); tries++) {
      await service.post(lstmForward());
      await sleep(20);
    }
    const begun = performance.now();
    expect(await service.stop()).toBe(0);
    expect(performance.now() - begun).toBeLessThan(8000);
    const complaints = service.log().filter(({ msg }) => msg === 'traces may be missing');
    expect(complaints).toHaveLength(1);
    expect(complaints[0]).toMatchObject({ level: 40, reason: expect.stringMatching(/^[^{]+$/) });
  });

  it('are off, and nothing of them is loaded, where no collector is named', async () => {
    const collector = await collect();
    const loaded = async (env: Record<string, string>): Promise<boolean> => {
      // prom-client loads the API of OpenTelemetry, which is small. The profile of what was run names every file that was loaded.
      const folder = mkdtempSync(join(tmpdir(), 'unroll-'));
      const service = await serve({ NODE_V8_COVERAGE: folder, ...env });
      const answer = await service.post(lstmForward(), {
        traceparent: '00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      });
      expect(await service.stop()).toBe(0);
      const files = readdirSync(folder).map((file) => readFileSync(join(folder, file), 'utf8'));
      rmSync(folder, { recursive: true });
      expect(files.some((text) => text.includes('node_modules/fastify/fastify.js'))).toBe(true);
      const isTraced = answer.headers.has('traceresponse');
      expect(service.log().some((line) => 'trace_id' in line)).toBe(isTraced);
      expect(files.some((text) => /"url":"[^"]*(@opentelemetry\/(?!api\/)|@fastify\/otel)/.test(text))).toBe(isTraced);
      return isTraced;
    };
    expect(await loaded({ OTEL_SERVICE_NAME: 'weather' })).toBe(false);
    expect(await loaded({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url })).toBe(true);
  });
});
