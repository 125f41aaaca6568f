import { DiagLogLevel, diag } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import {
  defaultResource,
  detectResources,
  envDetector,
  hostDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import type { Logger } from 'pino';

/** Traces on their way to a collector. */
export interface Telemetry {
  /** Sends what is left, for so many milliseconds at most. It never fails: traces may get lost, work may not. */
  stop(limit: number): Promise<void>;
}

/** A collector that cannot be reached is worth a line of the log now and then. */
const COMPLAINT_MS = 60_000;

/**
 * Sends spans to the collector that the standard variables name: OTEL_EXPORTER_OTLP_ENDPOINT and what belongs to it,
 * OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_BSP_*: the packages read them themselves, and
 * docker/README.md lists them. Spans that wait for it are bounded, and dropped beyond that. Loaded only where it is wanted.
 */
export function startTelemetry(logger: Logger): Telemetry {
  complainTo(logger);
  const named = resourceFromAttributes({ 'service.name': 'unroll' });
  const given = detectResources({ detectors: [hostDetector, envDetector] });
  const provider = new NodeTracerProvider({
    resource: defaultResource().merge(named).merge(given),
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
  });
  provider.register();
  return {
    async stop(limit) {
      const sent = provider.shutdown().catch(() => {}); // said by the exporter already
      await Promise.race([sent, new Promise((resolve) => setTimeout(resolve, limit).unref())]);
    },
  };
}

function complainTo(logger: Logger): void {
  let quietUntil = 0;
  const complain = (...reasons: unknown[]) => {
    if (performance.now() < quietUntil) return;
    quietUntil = performance.now() + COMPLAINT_MS;
    logger.warn({ reason: reasons.map(briefly).join(' ').slice(0, 500) }, 'traces may be missing');
  };
  const ignore = () => {};
  // Errors alone: a warning can quote a header, which can be a key.
  diag.setLogger(
    { error: complain, warn: ignore, info: ignore, debug: ignore, verbose: ignore },
    { logLevel: DiagLogLevel.ERROR, suppressOverrideMessage: true },
  );
}

/** Errors come as JSON, with their stacks. */
function briefly(reason: unknown): string {
  const text = String(reason);
  try {
    return JSON.parse(text).message ?? text;
  } catch {
    return text;
  }
}
