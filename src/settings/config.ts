import envSchema from 'env-schema';
import Type, { type Static } from 'typebox';
import { CHOICES } from '../kernels/choose.js';
import { usableCpus } from './cpus.js';
import { usableMemory } from './memory.js';

/** Multiplications and additions of one worker, about: a request that takes longer than DEADLINE is refused at once. */
const FLOPS_PER_MS = 1e7;

/** Every environment variable the service reads. The table in docker/README.md is checked against it. */
export const configSchema = Type.Object({
  HOST: Type.String({
    default: '127.0.0.1',
    minLength: 1,
    description: 'Address to listen on. The container image sets `0.0.0.0`.',
  }),
  PORT: Type.Integer({
    default: 3000,
    minimum: 0,
    maximum: 65535,
    description: 'Port to listen on. 0 takes a free one, which the log names.',
  }),
  WORKERS: Type.Integer({
    default: Math.min(256, usableCpus()),
    minimum: 1,
    maximum: 256,
    description: 'Threads that compute.',
  }),
  BODY_LIMIT: Type.Integer({
    default: 256 * 1024 * 1024,
    minimum: 1,
    maximum: 1024 * 1024 * 1024,
    description: 'Largest body of a request, in bytes.',
  }),
  WORK_LIMIT: Type.Integer({
    default: 2 * 1024 * 1024 * 1024,
    minimum: 1,
    maximum: 4_000_000_000,
    description: 'Bytes that one request may take: its tensors, what is computed from them, and its answer.',
  }),
  WEIGHTS_LIMIT: Type.Integer({
    default: 64 * 1024 * 1024,
    minimum: 0,
    maximum: 1024 * 1024 * 1024,
    description: 'Bytes of weights that each worker keeps for requests that send the same weights again. 0 keeps none.',
  }),
  FLOPS_LIMIT: Type.Integer({
    default: FLOPS_PER_MS * 60_000,
    minimum: 1,
    maximum: Number.MAX_SAFE_INTEGER,
    description:
      'Multiplications and additions that one request may ask for. The default is 10000000 for each millisecond of `DEADLINE`, which is about what one worker can do in that time.',
  }),
  MEMORY_LIMIT: Type.Integer({
    default: Math.min(2 ** 40, Math.floor(usableMemory() / 2)),
    minimum: 1024 * 1024,
    maximum: 2 ** 40,
    description: 'Bytes that all requests together may take: bodies, what is computed from them, and answers.',
  }),
  QUEUE_LIMIT: Type.Integer({
    default: 256,
    minimum: 0,
    maximum: 1_000_000,
    description: 'Requests that may wait for a worker. More are refused.',
  }),
  CONNECTION_LIMIT: Type.Integer({
    default: 4096,
    minimum: 1,
    maximum: 1_000_000,
    description: 'Connections that may be open at once. Further ones get 503 `overloaded` and are closed.',
  }),
  ADDRESS_LIMIT: Type.Integer({
    default: 2048,
    minimum: 1,
    maximum: 1_000_000,
    description: 'Connections that one address may have open. It does not count for addresses in `TRUST_PROXY`.',
  }),
  REQUEST_TIMEOUT: Type.Integer({
    default: 120_000,
    minimum: 1,
    maximum: 2 ** 31 - 1,
    description:
      'Milliseconds in which a request must have arrived, with its body. It counts from the first byte, `DEADLINE` from the end of the head; whichever ends first holds.',
  }),
  IDLE_TIMEOUT: Type.Integer({
    default: 15_000,
    minimum: 1,
    maximum: 2 ** 31 - 1,
    description:
      'Milliseconds without a byte, while a request arrives or an answer is sent, after which the connection is closed.',
  }),
  KEEP_ALIVE_TIMEOUT: Type.Integer({
    default: 72_000,
    minimum: 1,
    maximum: 2 ** 31 - 1001, // Node adds a second
    description:
      'Milliseconds that a connection stays open for another request. It must be longer than the balancer in front keeps it.',
  }),
  DEADLINE: Type.Integer({
    default: 60_000,
    minimum: 1,
    maximum: 2 ** 31 - 1,
    description:
      'Milliseconds in which an answer must be ready, counted from the head of the request, for requests without `x-deadline-ms`. The default is never more than `DEADLINE_LIMIT`.',
  }),
  DEADLINE_LIMIT: Type.Integer({
    default: 600_000,
    minimum: 1,
    maximum: 2 ** 31 - 1,
    description: 'The most that `x-deadline-ms` may ask for. The default is never less than `DEADLINE`.',
  }),
  DRAIN_GRACE: Type.Integer({
    default: 3000,
    minimum: 0,
    maximum: 2 ** 31 - 1,
    description:
      'Milliseconds after SIGTERM in which the service still takes requests, while `/health/ready` already answers 503. Balancers need them to notice. They are part of `DRAIN_LIMIT`; if you set only a `DRAIN_LIMIT` below 6000, they are half of it.',
  }),
  DRAIN_LIMIT: Type.Integer({
    default: 68_000,
    minimum: 0,
    maximum: 2 ** 31 - 1,
    description:
      'Milliseconds after SIGTERM or SIGINT in which requests may finish. Then the process exits with 1. The default is `DRAIN_GRACE` + `DEADLINE` + 5000: enough for every request.',
  }),
  CACHE_LIMIT: Type.Integer({
    default: 256 * 1024 * 1024,
    minimum: 1,
    maximum: Number.MAX_SAFE_INTEGER,
    description:
      'Bytes that stored caches may take in this instance. With `CACHE_URL` it is the limit for the caches of one request.',
  }),
  CACHE_TTL: Type.Integer({
    default: 600_000,
    minimum: 1,
    maximum: 2 ** 31 - 2,
    description: 'Milliseconds that stored caches are kept.',
  }),
  CACHE_URL: Type.String({
    default: '',
    description:
      'Redis or Valkey that keeps stored caches for all instances: `redis://:password@host:6379/0`, or `rediss://…` for TLS. `NODE_EXTRA_CA_CERTS` names an authority of your own. Without it, each instance keeps its own caches.',
  }),
  KERNELS: Type.Enum([...CHOICES], {
    type: 'string',
    default: 'auto',
    description:
      'Build of the inner loops: `scalar` (plain TypeScript), `simd` (WebAssembly), `fma` (fused multiply-add, Node 22 and later), `wide` (vectors of 256 bits, Node 26 and later). `auto` takes the fastest that this Node can run.',
  }),
  API_KEYS: Type.String({
    default: '',
    description:
      'Callers that may use the service, as `name:hash`, separated by commas. The hash is the SHA-256 of the key, in hexadecimal digits. If this and `API_KEYS_FILE` are empty, anybody may.',
  }),
  API_KEYS_FILE: Type.String({
    default: '',
    description: 'File with more callers, one a line. `#` begins a comment. A change takes effect within two seconds.',
  }),
  RATE_LIMIT: Type.Integer({
    default: 0,
    minimum: 0,
    maximum: 1_000_000_000,
    description:
      'Requests that one caller may send in a minute to be computed. Without keys, a caller is an address. 0 sets no limit.',
  }),
  TRUST_PROXY: Type.String({
    default: '',
    description:
      'Addresses or ranges (`10.0.0.0/8`) of your proxies, separated by commas. Their `x-forwarded-for` and `x-forwarded-prefix` are believed. Ports are dropped.',
  }),
  CORS_ORIGINS: Type.String({
    default: '',
    description:
      'Origins whose pages may call the service from a browser, separated by commas: `https://example.org`, or `https://*.example.org` for its subdomains. `*` alone allows all.',
  }),
  LOG_LEVEL: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    type: 'string',
    default: 'info',
    description: 'Lowest level that is logged.',
  }),
  OTEL_EXPORTER_OTLP_ENDPOINT: Type.String({
    default: '',
    description:
      'Collector for traces (OTLP over HTTP), such as `http://localhost:4318`. `/v1/traces` is added. If this and the next one are empty, nothing is traced.',
  }),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: Type.String({
    default: '',
    description:
      'Whole address of the collector for traces. Nothing is added to it, and it wins over the setting above.',
  }),
  OTEL_EXPORTER_OTLP_PROTOCOL: Type.String({
    default: '',
    description:
      '`http/json` or `http/protobuf`. Traces are sent as JSON in both cases; collectors take both at one address. With any other value nothing is traced, and the log says so.',
  }),
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: Type.String({
    default: '',
    description: 'Protocol for traces alone. It wins over the setting above.',
  }),
  OTEL_TRACES_EXPORTER: Type.String({
    default: '',
    description:
      'With `none` nothing is traced. With a list that lacks `otlp` nothing is traced either, and the log says so.',
  }),
  OTEL_SDK_DISABLED: Type.String({ default: '', description: 'With `true` nothing is traced.' }),
});

export type Config = Static<typeof configSchema>;

/** Answers that are ready at their deadline have so long to reach their clients when the process stops. */
const LAST_ANSWERS_MS = 5000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A setting that cannot be used; the message is one line for the person who set it. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/**
 * Reads the configuration from environment variables. An empty variable counts as one that is not set.
 *
 * @throws ConfigError that names the variable, its value and what it must be
 */
export function loadConfig(environment: Readonly<Record<string, string | undefined>>): Config {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  );
  refuseOddNumbers(given);
  const config = check(given);
  if (given.DEADLINE === undefined) config.DEADLINE = Math.min(config.DEADLINE, config.DEADLINE_LIMIT);
  if (given.DEADLINE_LIMIT === undefined) config.DEADLINE_LIMIT = Math.max(config.DEADLINE, config.DEADLINE_LIMIT);
  refuseAbove(config, 'DEADLINE', 'DEADLINE_LIMIT');
  if (given.FLOPS_LIMIT === undefined) config.FLOPS_LIMIT = FLOPS_PER_MS * config.DEADLINE;
  if (given.DRAIN_GRACE === undefined) {
    config.DRAIN_GRACE = Math.min(config.DRAIN_GRACE, Math.floor(config.DRAIN_LIMIT / 2));
  }
  if (given.DRAIN_LIMIT === undefined) {
    config.DRAIN_LIMIT = Math.min(config.DRAIN_GRACE + config.DEADLINE + LAST_ANSWERS_MS, LONGEST_TIMER_MS);
  }
  refuseAbove(config, 'DRAIN_GRACE', 'DRAIN_LIMIT');
  if (config.CACHE_URL !== '' && !isRedisUrl(config.CACHE_URL)) {
    throw new ConfigError(
      'CACHE_URL is set, but must be like redis://:password@host:6379/0 or rediss://…, with what is special in the password as %23',
    );
  }
  refuseOddCollector(config);
  return config;
}

/** Can every request that has come before the process stops taking new ones use its whole DEADLINE? */
export function finishesAll({ DRAIN_LIMIT, DRAIN_GRACE, DEADLINE }: Config): boolean {
  return DRAIN_LIMIT - DRAIN_GRACE > DEADLINE;
}

/** Are requests traced? */
export function isTraced(config: Config): boolean {
  return areTracesWanted(config) && tracesObstacle(config) === undefined;
}

function areTracesWanted(config: Config): boolean {
  if (config.OTEL_SDK_DISABLED.toLowerCase() === 'true' || config.OTEL_TRACES_EXPORTER === 'none') return false;
  return config.OTEL_EXPORTER_OTLP_ENDPOINT !== '' || config.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT !== '';
}

/**
 * Why requests are not traced although an address is set; undefined: they are, or should not be. No reason to stop the start:
 * such settings are often made for a whole cluster, with services of another kind in mind.
 */
export function tracesObstacle(config: Config): string | undefined {
  if (!areTracesWanted(config)) return undefined;
  const exporters = config.OTEL_TRACES_EXPORTER.split(',').map((name) => name.trim());
  if (config.OTEL_TRACES_EXPORTER !== '' && !exporters.includes('otlp')) {
    return `OTEL_TRACES_EXPORTER is ${JSON.stringify(config.OTEL_TRACES_EXPORTER)}, but traces are sent by otlp only`;
  }
  const ofTraces = config.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL !== '';
  const name = ofTraces ? 'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL' : 'OTEL_EXPORTER_OTLP_PROTOCOL';
  if (['', 'http/json', 'http/protobuf'].includes(config[name])) return undefined;
  return `${name} is ${JSON.stringify(config[name])}, but traces are sent over HTTP only`;
}

/** Every integer setting has both. */
interface Bounds {
  readonly minimum: number;
  readonly maximum: number;
}

/** Whole numbers are digits, and nothing else that JavaScript takes for a number. */
function refuseOddNumbers(given: Readonly<Record<string, string | undefined>>): void {
  for (const [name, property] of Object.entries(configSchema.properties)) {
    const value = given[name];
    if (value === undefined || !Type.IsInteger(property)) continue;
    const { minimum, maximum } = property as typeof property & Bounds;
    if (/^\d+$/.test(value) && Number(value) >= minimum && Number(value) <= maximum) continue;
    throw new ConfigError(
      `${name} is ${JSON.stringify(value)}, but must be a whole number from ${minimum} to ${maximum}`,
    );
  }
}

function refuseAbove(config: Config, name: 'DEADLINE' | 'DRAIN_GRACE', limit: 'DEADLINE_LIMIT' | 'DRAIN_LIMIT'): void {
  if (config[name] <= config[limit]) return;
  throw new ConfigError(`${name} is ${config[name]}, but must be <= ${limit}, which is ${config[limit]}`);
}

/** Nothing but what its form says: the client of Redis would take options from behind a `?`, and any text for a database. */
function isRedisUrl(text: string): boolean {
  if (!/^rediss?:\/\//.test(text) || !URL.canParse(text)) return false;
  const { username, password, hostname, port, pathname, search, hash } = new URL(text);
  if (!/^(\[.+\]|[\w.-]+)$/.test(hostname) || port === '0') return false;
  return isDecodable(username + password) && /^(\/\d*)?$/.test(pathname) && search === '' && hash === '';
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/** What the exporter of traces would pass over in silence. */
function refuseOddCollector(config: Config): void {
  if (!isTraced(config)) return;
  for (const name of ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] as const) {
    const url = config[name];
    if (url === '' || (/^https?:\/\//.test(url) && URL.canParse(url))) continue;
    throw new ConfigError(`${name} is ${JSON.stringify(url)}, but must be an address such as http://localhost:4318`);
  }
}

function check(given: Readonly<Record<string, string | undefined>>): Config {
  try {
    return envSchema<Config>({ schema: configSchema, data: given, env: false, dotenv: false });
  } catch (error) {
    throw new ConfigError(explain(error as EnvSchemaError, given));
  }
}

/** What env-schema throws: the findings of its validator. */
interface EnvSchemaError extends Error {
  readonly errors?: readonly { readonly instancePath: string; readonly message?: string; readonly params: object }[];
}

function explain(error: EnvSchemaError, given: Readonly<Record<string, string | undefined>>): string {
  const [first] = error.errors ?? [];
  if (first === undefined) return error.message;
  const name = first.instancePath.slice(1);
  const allowed = 'allowedValues' in first.params ? `: ${(first.params.allowedValues as string[]).join(', ')}` : '';
  return `${name} is ${JSON.stringify(given[name])}, but ${first.message}${allowed}`;
}
