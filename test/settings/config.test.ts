import Type from 'typebox';
import { describe, expect, it } from 'vitest';
import {
  ConfigError,
  configSchema,
  finishesAll,
  isTraced,
  loadConfig,
  tracesObstacle,
} from '../../src/settings/config.js';

describe('configuration', () => {
  it('has a default for everything, and an empty variable is one that is not set', () => {
    const config = loadConfig({});
    expect(config).toMatchObject({ HOST: '127.0.0.1', PORT: 3000, LOG_LEVEL: 'info' });
    expect(config.WORKERS).toBeGreaterThanOrEqual(1);
    expect(loadConfig({ PORT: '', HOST: '' })).toEqual(config);
  });

  it('reads numbers', () => {
    expect(loadConfig({ PORT: '8080', WORKERS: '3' })).toMatchObject({ PORT: 8080, WORKERS: 3 });
  });

  const integers = Object.entries(configSchema.properties).filter(([, property]) => Type.IsInteger(property));

  it.each(integers)('%s has bounds, and is decimal digits alone', (name, property) => {
    const { minimum, maximum } = property as unknown as { minimum: number; maximum: number };
    const odd = ['abc', '1.5', 'Infinity', '-Infinity', 'NaN', '0x50', '1e4', ' 5 ', '+5', '-1', '5\n', '١', 'true'];
    for (const value of [...odd, String(minimum - 1), String(maximum + 1), '99999999999999999999']) {
      const message = `${name} is ${JSON.stringify(value)}, but must be a whole number from ${minimum} to ${maximum}`;
      expect(() => loadConfig({ [name]: value })).toThrow(new ConfigError(message));
    }
  });

  it.each([
    [{ PORT: 'abc' }, 'PORT is "abc", but must be a whole number from 0 to 65535'],
    [{ DRAIN_LIMIT: '1000', DRAIN_GRACE: '3000' }, 'DRAIN_GRACE is 3000, but must be <= DRAIN_LIMIT, which is 1000'],
    [{ DEADLINE: '60000', DEADLINE_LIMIT: '5' }, 'DEADLINE is 60000, but must be <= DEADLINE_LIMIT, which is 5'],
    [{ LOG_LEVEL: 'loud' }, 'LOG_LEVEL is "loud", but must be equal to one of the allowed values: fatal, error, '],
    [
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' },
      'OTEL_EXPORTER_OTLP_ENDPOINT is "collector:4318", but must be an address such as http://localhost:4318',
    ],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://%%' }, 'OTEL_EXPORTER_OTLP_ENDPOINT is "http://%%", but must be an'],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'a' }, 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is "a", but must be an address'],
  ])('%j is refused in one line', (environment, message) => {
    expect(() => loadConfig(environment)).toThrow(ConfigError);
    expect(() => loadConfig(environment)).toThrow(message);
    expect(() => loadConfig(environment)).not.toThrow('\n');
  });

  it('DEADLINE is never above DEADLINE_LIMIT: the default of either goes with the other', () => {
    expect(loadConfig({ DEADLINE: '600001' })).toMatchObject({ DEADLINE: 600_001, DEADLINE_LIMIT: 600_001 });
    expect(loadConfig({ DEADLINE: '5' })).toMatchObject({ DEADLINE: 5, DEADLINE_LIMIT: 600_000 });
    expect(loadConfig({ DEADLINE_LIMIT: '5' })).toMatchObject({ DEADLINE: 5, DEADLINE_LIMIT: 5 });
    expect(loadConfig({ DEADLINE_LIMIT: '70000' })).toMatchObject({ DEADLINE: 60_000, DEADLINE_LIMIT: 70_000 });
    expect(loadConfig({ DEADLINE: '7', DEADLINE_LIMIT: '7' })).toMatchObject({ DEADLINE: 7 });
  });
});

describe('DRAIN_LIMIT', () => {
  it.each([
    {},
    { DEADLINE: '600000' },
    { DRAIN_GRACE: '100000' },
    { DEADLINE_LIMIT: '5' },
    { DEADLINE: '1', DRAIN_GRACE: '0' },
  ])('is enough by default for what %j allows', (environment) => {
    const config = loadConfig(environment);
    expect(config.DRAIN_LIMIT).toBe(config.DRAIN_GRACE + config.DEADLINE + 5000);
    expect(finishesAll(config)).toBe(true);
  });

  it('may be set alone, however short it is: the default of DRAIN_GRACE goes down with it', () => {
    for (const [limit, grace] of [
      [0, 0],
      [1, 0],
      [2000, 1000],
      [5999, 2999],
      [6000, 3000],
      [25_000, 3000],
    ]) {
      expect(loadConfig({ DRAIN_LIMIT: String(limit) })).toMatchObject({ DRAIN_LIMIT: limit, DRAIN_GRACE: grace });
    }
    expect(loadConfig({ DRAIN_LIMIT: '2000', DRAIN_GRACE: '2000' })).toMatchObject({ DRAIN_GRACE: 2000 });
  });

  it('is never longer than a timer can be', () => {
    const longest = 2 ** 31 - 1;
    const environment = { DEADLINE: String(longest), DEADLINE_LIMIT: String(longest) };
    expect(loadConfig(environment).DRAIN_LIMIT).toBe(longest);
  });

  it.each([
    [{ DRAIN_LIMIT: '25000' }, false],
    [{ DRAIN_LIMIT: '63000' }, false],
    [{ DRAIN_LIMIT: '63001' }, true],
    [{ DRAIN_LIMIT: '25000', DEADLINE: '20000' }, true],
    [{ DRAIN_LIMIT: '25000', DEADLINE_LIMIT: '20000', DRAIN_GRACE: '5000' }, false],
  ])('%j leaves every request its deadline: %s', (environment, isEnough) => {
    expect(finishesAll(loadConfig(environment))).toBe(isEnough);
  });
});

describe('CACHE_URL', () => {
  it.each([
    'redis://localhost',
    'redis://localhost/',
    'redis://10.0.0.1:6379/15',
    'redis://[::1]:6379',
    'redis://my_redis.internal:6379',
    'rediss://user:p%40ss%23@redis.example.org:6380/0',
    'redis://:p@ss@localhost',
  ])('may be %s', (CACHE_URL) => expect(loadConfig({ CACHE_URL }).CACHE_URL).toBe(CACHE_URL));

  it.each([
    'localhost:6379',
    'http://:secret@localhost',
    'REDISS://:secret@localhost',
    'redis://',
    'redis:///0',
    'redis://:secret@',
    'redis://:secret@local host',
    'redis://:secret@local%20host',
    'redis://:secret@localhost:0',
    'redis://:secret@localhost:70000',
    'redis://:secret@localhost:port',
    'redis://:secret@[::1:6379',
    'redis://:secret@localhost/abc',
    'redis://:secret@localhost/-1',
    'redis://:secret@localhost/1.5',
    'redis://:secret@localhost/0/1',
    'redis://:secret@localhost?db=abc',
    'redis://:secret@localhost/0#1',
    'redis://:secret#1@localhost',
    'redis://:secret%zz@localhost',
  ])('is not %s, and the line that says so does not show it', (CACHE_URL) => {
    const refused = new ConfigError(
      'CACHE_URL is set, but must be like redis://:password@host:6379/0 or rediss://…, with what is special in the password as %23',
    );
    expect(() => loadConfig({ CACHE_URL })).toThrow(refused);
  });
});

describe('traces', () => {
  const OTEL_EXPORTER_OTLP_ENDPOINT = 'http://localhost:4318';

  it.each([
    [{}, false],
    [{ OTEL_SERVICE_NAME: 'weather' }, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT }, true],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://collector/traces' }, true],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SDK_DISABLED: 'True' }, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SDK_DISABLED: 'false' }, true],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_EXPORTER: 'none' }, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_EXPORTER: 'otlp' }, true],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' }, true],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' }, true],
    // What does not matter, as nothing is traced, stops nothing.
    [{ OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'grpc:4317', OTEL_SDK_DISABLED: 'true' }, false],
    [
      {
        OTEL_EXPORTER_OTLP_ENDPOINT,
        OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json',
      },
      true,
    ],
  ])('%j: %s', (environment, traced) => expect(isTraced(loadConfig(environment))).toBe(traced));

  it.each([
    [{ OTEL_TRACES_EXPORTER: 'jaeger' }, 'OTEL_TRACES_EXPORTER is "jaeger", but traces are sent by otlp only'],
    [{ OTEL_TRACES_EXPORTER: 'console,zipkin' }, 'OTEL_TRACES_EXPORTER is "console,zipkin", but traces are sent by'],
    [
      { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
      'OTEL_EXPORTER_OTLP_PROTOCOL is "grpc", but traces are sent over HTTP only',
    ],
    [
      { OTEL_EXPORTER_OTLP_PROTOCOL: 'GRPC' },
      'OTEL_EXPORTER_OTLP_PROTOCOL is "GRPC", but traces are sent over HTTP only',
    ],
    [
      { OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'grpc' },
      'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is "grpc", but traces are sent over HTTP only',
    ],
    // As addresses of gRPC are often written.
    [
      { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc', OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317' },
      'OTEL_EXPORTER_OTLP_PROTOCOL is "grpc", but traces are sent over HTTP only',
    ],
  ])('%j stops no start: nothing is traced, and why is said', (environment, reason) => {
    const config = loadConfig({ OTEL_EXPORTER_OTLP_ENDPOINT, ...environment });
    expect(isTraced(config)).toBe(false);
    expect(tracesObstacle(config)).toContain(reason);
  });

  it.each([
    {},
    { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
    { OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SDK_DISABLED: 'true', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
    { OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_EXPORTER: 'none', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
    { OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf', OTEL_TRACES_EXPORTER: 'otlp,console' },
  ])('of %j there is nothing to say', (environment) => {
    expect(tracesObstacle(loadConfig(environment))).toBeUndefined();
  });
});
