import { describe, expect, it } from 'vitest';
import { originsOf } from '../../../src/http/callers/origins.js';
import { ConfigError } from '../../../src/settings/config.js';

/** As @fastify/cors looks for the origin of a request. */
function isAllowed(list: string, origin: string): boolean {
  const origins = originsOf(list);
  return origins === '*' || origins.some((one) => (typeof one === 'string' ? one === origin : one.test(origin)));
}

describe('CORS_ORIGINS', () => {
  it.each([
    'https://example.org',
    'http://localhost:8080',
    'http://localhost',
    'http://127.0.0.1:3000',
    'http://[::1]:3000',
    'https://xn--bcher-kva.example',
    'https://example.org.',
    'http://my_host:81',
  ])('%s allows itself, also among others', (origin) => {
    for (const list of [origin, ` ${origin} , https://other.example`, `https://*.other.example,${origin}`]) {
      expect(isAllowed(list, origin)).toBe(true);
    }
    for (const other of ['https://third.example', 'null', `${origin}.evil.org`, `${origin}1`, origin.slice(0, -1)]) {
      expect(isAllowed(origin, other)).toBe(false);
    }
  });

  it.each([
    ['https://*.example.org', 'https://a.example.org', true],
    ['https://*.example.org', 'https://a.b-c.d_e.example.org', true],
    ['https://*.example.org', 'https://xn--bcher-kva.example.org', true],
    ['https://*.example.org:8443', 'https://a.example.org:8443', true],
    ['http://*.localhost:3000', 'http://app.localhost:3000', true],
    ['https://*.a$(b+c.org', 'https://label.a$(b+c.org', true],
    ['https://*.example.org', 'https://example.org', false],
    ['https://*.example.org', 'https://.example.org', false],
    ['https://*.example.org', 'https://a..example.org', false],
    ['https://*.example.org', 'https://-.-.example.org.evil.org', false],
    ['https://*.example.org', 'https://aexample.org', false],
    ['https://*.example.org', 'https://a.exampleXorg', false],
    ['https://*.example.org', 'https://evil.org/.example.org', false],
    ['https://*.example.org', 'https://evil.org?.example.org', false],
    ['https://*.example.org', 'https://evil.org#.example.org', false],
    ['https://*.example.org', 'https://evil.org:80.example.org', false],
    ['https://*.example.org', 'https://evil.org\\.example.org', false],
    ['https://*.example.org', 'https://evil@a.example.org', false],
    ['https://*.example.org', 'https://evil.org\n.example.org', false],
    ['https://*.example.org', 'https://a.example.org\n', false],
    ['https://*.example.org', 'https://evil.org https://a.example.org', false],
    ['https://*.example.org', 'http://a.example.org', false],
    ['https://*.example.org', 'https://a.example.org:8443', false],
    ['https://*.example.org:8443', 'https://a.example.org', false],
    ['https://*.example.org', 'null', false],
    ['*', 'https://a.example.org', true],
  ])('%s and %j: %s', (list, origin, allowed) => expect(isAllowed(list, origin)).toBe(allowed));

  it('a long origin costs no time', () => {
    const start = performance.now();
    expect(isAllowed('https://*.example.org', `https://${'a.'.repeat(8000)}!`)).toBe(false);
    expect(isAllowed('https://*.example.org', `https://${'-'.repeat(16_000)}!`)).toBe(false);
    expect(performance.now() - start).toBeLessThan(1000);
  });

  const LIKE = 'an origin is like https://example.org or https://*.example.org';
  it.each([
    ['example.org', LIKE],
    ['*.example.org', LIKE],
    ['//example.org', LIKE],
    ['null', LIKE],
    ['ws://example.org', LIKE],
    ['file:///', LIKE],
    ['https://', LIKE],
    ['https://*', LIKE],
    ['https://a.*.example.org', LIKE],
    ['https://*.*.example.org', LIKE],
    ['https://*example.org', LIKE],
    ['https://a*.example.org', LIKE],
    ['https://*.127.0.0.1', LIKE],
    ['https://example.org:*', LIKE],
    ['https://exa mple.org', LIKE],
    ['https://example.org/', `${LIKE}; a browser sends https://example.org`],
    ['https://example.org/app', `${LIKE}; a browser sends https://example.org`],
    ['https://example.org?a', `${LIKE}; a browser sends https://example.org`],
    ['https://example.org#', `${LIKE}; a browser sends https://example.org`],
    ['https://Example.org', `${LIKE}; a browser sends https://example.org`],
    ['HTTPS://example.org', `${LIKE}; a browser sends https://example.org`],
    ['https://example.org:443', `${LIKE}; a browser sends https://example.org`],
    ['http://example.org:80', `${LIKE}; a browser sends http://example.org`],
    ['https://ann:secret@example.org', `${LIKE}; a browser sends https://example.org`],
    ['https://bücher.example', `${LIKE}; a browser sends https://xn--bcher-kva.example`],
    ['http://127.1', `${LIKE}; a browser sends http://127.0.0.1`],
    ['https://*.example.org/', `${LIKE}; a browser sends https://*.example.org`],
    ['https://*.Example.org', `${LIKE}; a browser sends https://*.example.org`],
    ['https://*.example.org:443', `${LIKE}; a browser sends https://*.example.org`],
  ])('%s is refused in one line, alone and among others', (origin, why) => {
    const refused = new ConfigError(`CORS_ORIGINS has ${JSON.stringify(origin)} in it, but ${why}`);
    for (const list of [origin, `https://a.org,${origin}`, `https://*.a.org, ${origin}`]) {
      expect(() => originsOf(list)).toThrow(refused);
    }
  });

  it.each(['*, https://a.org', 'https://a.org,*', '*,*'])('%s is refused: * stands alone', (list) => {
    const refused = `CORS_ORIGINS is ${JSON.stringify(list)}, but * allows all origins and stands alone`;
    expect(() => originsOf(list)).toThrow(new ConfigError(refused));
  });

  it.each([',', 'https://a.org,', ' '])('%j, with nothing between its commas, is refused', (list) => {
    expect(() => originsOf(list)).toThrow(/^CORS_ORIGINS has "" in it, but an origin is like/);
  });
});
