import { describe, expect, it } from 'vitest';
import { ConfigError, loadConfig } from '../src/config.js';

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

  it.each([
    [{ PORT: 'abc' }, 'PORT is "abc", but must be integer'],
    [{ PORT: '70000' }, 'PORT is "70000", but must be <= 65535'],
    [{ WORKERS: '0' }, 'WORKERS is "0", but must be >= 1'],
    [{ WORKERS: '1.5' }, 'WORKERS is "1.5", but must be integer'],
    [{ DRAIN_LIMIT: '1000' }, 'DRAIN_GRACE is 3000, but must be <= DRAIN_LIMIT, which is 1000'],
    [{ CACHE_URL: 'http://:secret@localhost' }, 'CACHE_URL is set, but must match pattern "^(rediss?://.+)?$"'],
    [{ LOG_LEVEL: 'loud' }, 'LOG_LEVEL is "loud", but must be equal to one of the allowed values: fatal, error, '],
    [
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' },
      'OTEL_EXPORTER_OTLP_ENDPOINT is "collector:4318", but must match pattern "^(https?://.+)?$"',
    ],
  ])('%j is refused in one line', (environment, message) => {
    expect(() => loadConfig(environment)).toThrow(ConfigError);
    expect(() => loadConfig(environment)).toThrow(message);
  });
});
