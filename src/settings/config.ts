import envSchema from 'env-schema';
import Type, { type Static } from 'typebox';
import { CHOICES } from '../kernels/choose.js';
import { usableCpus } from './cpus.js';
import { usableMemory } from './memory.js';

/** Multiplications and additions of one worker, about: a request that takes longer than DEADLINE is refused at once. */
const FLOPS_PER_MS = 1e7;

/** Every environment variable the service reads. The table in the README is checked against it. */
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
    description: 'Port to listen on; 0 takes a free one, which the log names.',
  }),
  WORKERS: Type.Integer({
    default: Math.min(256, usableCpus()),
    minimum: 1,
    maximum: 256,
    description: 'Worker threads that compute.',
  }),
  BODY_LIMIT: Type.Integer({
    default: 256 * 1024 * 1024,
    minimum: 1,
    maximum: 1024 * 1024 * 1024,
    description: 'Bytes that the body of one request may have.',
  }),
  WORK_LIMIT: Type.Integer({
    default: 2 * 1024 * 1024 * 1024,
    minimum: 1,
    maximum: 4_000_000_000,
    description:
      'Bytes that the tensors of one request, what is computed from them and the text of its answer may take.',
  }),
  WEIGHTS_LIMIT: Type.Integer({
    default: 64 * 1024 * 1024,
    minimum: 0,
    maximum: 1024 * 1024 * 1024,
    description:
      'Bytes of weights that each worker keeps, already read, for the requests that bring the same ones again; 0 keeps none.',
  }),
  FLOPS_LIMIT: Type.Integer({
    default: FLOPS_PER_MS * 60_000,
    minimum: 1,
    maximum: Number.MAX_SAFE_INTEGER,
    description:
      'Multiplications and additions that one request may ask for. If it is not set, it is 10000000 for each millisecond of `DEADLINE`, about what one worker can do in that time.',
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
    description: 'Requests that may wait for a worker; more are refused.',
  }),
  CONNECTION_LIMIT: Type.Integer({
    default: 4096,
    minimum: 1,
    maximum: 1_000_000,
    description: 'Connections that there may be at once; more are answered 503 `overloaded` and closed.',
  }),
  ADDRESS_LIMIT: Type.Integer({
    default: 2048,
    minimum: 1,
    maximum: 1_000_000,
    description: 'The same from one address, but for those in `TRUST_PROXY`.',
  }),
  REQUEST_TIMEOUT: Type.Integer({
    default: 120_000,
    minimum: 1,
    maximum: 2 ** 31 - 1,
    description: 'Milliseconds in which a request must have arrived, body included.',
  }),
  IDLE_TIMEOUT: Type.Integer({
    default: 15_000,
    minimum: 1,
    maximum: 2 ** 31 - 1,
    description:
      'Milliseconds that a client may let pass without a byte while its request comes or its answer goes; then the connection is cut.',
  }),
  KEEP_ALIVE_TIMEOUT: Type.Integer({
    default: 72_000,
    minimum: 1,
    maximum: 2 ** 31 - 1001, // Node adds a second
    description:
      'Milliseconds that a connection stays open for another request after an answer. Longer than the balancer in front keeps it.',
  }),
  DEADLINE: Type.Integer({
    default: 60_000,
    minimum: 1,
    maximum: 2 ** 31 - 1,
    description:
      'Milliseconds in which an answer must be ready, the queue included, unless the request has `x-deadline-ms`. If it is not set, a smaller `DEADLINE_LIMIT` takes its place.',
  }),
  DEADLINE_LIMIT: Type.Integer({
    default: 600_000,
    minimum: 1,
    maximum: 2 ** 31 - 1,
    description: 'The most that `x-deadline-ms` may ask for. If it is not set, a larger `DEADLINE` takes its place.',
  }),
  DRAIN_GRACE: Type.Integer({
    default: 3000,
    minimum: 0,
    maximum: 2 ** 31 - 1,
    description:
      'Milliseconds after SIGTERM in which everything is still accepted while `/health/ready` answers 503 already, so that balancers notice in time; part of DRAIN_LIMIT. If it is not set, it is half of a `DRAIN_LIMIT` below 6000.',
  }),
  DRAIN_LIMIT: Type.Integer({
    default: 68_000,
    minimum: 0,
    maximum: 2 ** 31 - 1,
    description:
      'Milliseconds after SIGTERM or SIGINT for what runs to finish; then the process exits with 1. If it is not set, it is `DRAIN_GRACE` + `DEADLINE` + 5000, so that a stop gives nothing up.',
  }),
  CACHE_LIMIT: Type.Integer({
    default: 256 * 1024 * 1024,
    minimum: 1,
    maximum: Number.MAX_SAFE_INTEGER,
    description:
      'Bytes that stored caches may take in the memory of this instance, and with `CACHE_URL` those of one request; what is used least recently goes first.',
  }),
  CACHE_TTL: Type.Integer({
    default: 600_000,
    minimum: 1,
    maximum: 2 ** 31 - 2,
    description: 'Milliseconds that stored caches stay, from when their request came.',
  }),
  CACHE_URL: Type.String({
    default: '',
    description:
      'Redis or Valkey (`redis://:password@host:6379/0`, or `rediss://…` for TLS, with `NODE_EXTRA_CA_CERTS` for an authority of your own) that keeps the stored caches for all instances; empty: each instance keeps its own.',
  }),
  KERNELS: Type.Enum([...CHOICES], {
    type: 'string',
    default: 'auto',
    description:
      'Build of the inner loops: `scalar` (plain TypeScript), `simd` (WebAssembly), `fma` (with fused multiply-add, Node 22 and later), `wide` (the same in vectors of 256 bits, Node 26 and later), or `auto`, the fastest that this Node has.',
  }),
  API_KEYS: Type.String({
    default: '',
    description:
      'Callers that may use the service, as `name:hash`, separated by commas; the hash is the SHA-256 of the key in hexadecimal digits. Empty, as API_KEYS_FILE is: anybody may.',
  }),
  API_KEYS_FILE: Type.String({
    default: '',
    description: 'File with more of them, one a line, `#` for comments. What changes in it counts within two seconds.',
  }),
  RATE_LIMIT: Type.Integer({
    default: 0,
    minimum: 0,
    maximum: 1_000_000_000,
    description:
      'Requests that one caller (without keys: one client address) may make in a minute to what computes; 0 sets no limit.',
  }),
  TRUST_PROXY: Type.String({
    default: '',
    description:
      'Addresses or ranges (`10.0.0.0/8`) of the proxies whose `x-forwarded-for` and `x-forwarded-prefix` are believed, separated by commas. Ports are dropped; where there is no address, that of the proxy counts.',
  }),
  CORS_ORIGINS: Type.String({
    default: '',
    description:
      'Origins whose pages may call the service from a browser, separated by commas: `https://example.org`, or `https://*.example.org` for all subdomains of any depth (not for example.org itself). `*` alone is for all.',
  }),
  LOG_LEVEL: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    type: 'string',
    default: 'info',
    description: 'Least level that is logged.',
  }),
  OTEL_EXPORTER_OTLP_ENDPOINT: Type.String({
    default: '',
    description:
      'Collector that traces are sent to (OTLP over HTTP, JSON), such as `http://localhost:4318`, to which `/v1/traces` is added. Empty, as the next one is: nothing is traced.',
  }),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: Type.String({
    default: '',
    description: 'The same as a whole address, to which nothing is added. It goes before the other.',
  }),
  OTEL_EXPORTER_OTLP_PROTOCOL: Type.String({
    default: '',
    description:
      '`http/json` or `http/protobuf`: traces are sent as JSON either way, which collectors take at the same address. With `grpc` or another one nothing is traced, and the log says so at the start.',
  }),
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: Type.String({
    default: '',
    description: 'The same for traces alone. It goes before the other.',
  }),
  OTEL_TRACES_EXPORTER: Type.String({
    default: '',
    description:
      '`none`, or a list without `otlp`: nothing is traced, and for such a list the log says so at the start.',
  }),
  OTEL_SDK_DISABLED: Type.String({ default: '', description: '`true`: nothing is traced.' }),
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
