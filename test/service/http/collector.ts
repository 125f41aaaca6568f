import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A span, as OTLP sends it in JSON, with its attributes as an object. */
export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  /** Nanoseconds since the epoch. */
  readonly start: bigint;
  readonly end: bigint;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly status: { readonly code?: number };
  readonly resource: Readonly<Record<string, unknown>>;
}

export interface Collector {
  readonly url: string;
  /** All that was received, as text. */
  text(): string;
  /** Resolves with the spans of a trace when there are so many of them. */
  trace(traceId: string, count: number): Promise<readonly Span[]>;
  spans(): readonly Span[];
  stop(): Promise<void>;
}

interface KeyValue {
  readonly key: string;
  readonly value: Record<string, unknown>;
}
interface Sent extends Omit<Span, 'attributes' | 'resource' | 'start' | 'end'> {
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly KeyValue[];
}
interface Message {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] };
    readonly scopeSpans: readonly { readonly spans: readonly Sent[] }[];
  }[];
}

/** Receives traces over OTLP/HTTP in JSON. With a delay it is a collector that hardly answers. */
export async function startCollector(delay = 0): Promise<Collector> {
  const texts: string[] = [];
  const received: Span[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    texts.push(text);
    if (request.url === '/v1/traces') received.push(...spansIn(JSON.parse(text)));
    if (delay > 0) await sleep(delay, undefined, { ref: false });
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    text: () => texts.join('\n'),
    spans: () => received,
    async trace(traceId, count) {
      for (let tries = 0; ; tries++) {
        const found = received.filter((span) => span.traceId === traceId);
        if (found.length >= count) return found;
        if (tries === 600) throw new Error(`${found.length} spans of the trace have come, not ${count}`);
        await sleep(50);
      }
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function spansIn({ resourceSpans }: Message): Span[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    return scopeSpans.flatMap(({ spans }) => {
      return spans.map(({ attributes, startTimeUnixNano, endTimeUnixNano, ...span }) => ({
        ...span,
        start: BigInt(startTimeUnixNano),
        end: BigInt(endTimeUnixNano),
        attributes: valuesOf(attributes),
        resource: valuesOf(resource.attributes),
      }));
    });
  });
}

function valuesOf(attributes: readonly KeyValue[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
