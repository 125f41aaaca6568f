import { describe, expect, it, vi } from 'vitest';
import { PROBLEM_TYPE } from '../../../src/http/problems.js';
import { entry } from '../asking.js';
import { post, started, statuses } from './limited.js';

const API_KEYS = ['ann', 'bob'].map((name) => entry(name, `${name}-key`)).join();

describe('a limit', () => {
  it('is none by default', async () => {
    const { url } = await started({});
    const { headers, status } = await post(url);
    expect(status).toBe(200);
    expect([...headers.keys()].join()).not.toContain('ratelimit');
  });

  it('tells what is left, and when it is over: 429 with Retry-After', async () => {
    const { url, log } = await started({ RATE_LIMIT: 3 });
    for (const left of ['2', '1', '0']) {
      const { status, headers } = await post(url);
      expect(status).toBe(200);
      expect(headers.get('ratelimit-limit')).toBe('3');
      expect(headers.get('ratelimit-remaining')).toBe(left);
      expect(Number(headers.get('ratelimit-reset'))).toBeGreaterThan(0);
      expect(headers.get('retry-after')).toBeNull();
    }
    const { status, headers, body } = await post(url);
    expect(status).toBe(429);
    expect(headers.get('content-type')).toBe(PROBLEM_TYPE);
    expect(body).toMatchObject({
      code: 'rate-limited',
      detail: 'this address has made the 3 requests that it may in a minute',
    });
    expect(headers.get('ratelimit-remaining')).toBe('0');
    const seconds = Number(headers.get('retry-after'));
    expect(seconds).toBe(Number(headers.get('ratelimit-reset')));
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(60);
    await vi.waitFor(() => expect(log.at(-1)).toMatchObject({ status: 429, address: '127.0.0.1' }));
  });

  it('is for what computes: nothing else is refused', async () => {
    const { url } = await started({ RATE_LIMIT: 1 });
    expect(await statuses(2, url)).toEqual([200, 429]);
    for (const path of ['/health/live', '/health/ready', '/', '/openapi.json']) {
      for (let i = 0; i < 3; i++) expect((await fetch(url + path)).status).toBe(200);
    }
  });

  it('is each caller’s own; what has no key counts for nobody', async () => {
    const { url } = await started({ RATE_LIMIT: 2, API_KEYS });
    expect(await statuses(4, url)).toEqual([401, 401, 401, 401]);
    expect(await statuses(3, url, { 'x-api-key': 'ann-key' })).toEqual([200, 200, 429]);
    expect((await post(url, { 'x-api-key': 'ann-key' })).body.detail).toMatch(/^ann has made the 2 requests/);
    expect(await statuses(3, url, { authorization: 'Bearer bob-key' })).toEqual([200, 200, 429]);
    expect(await statuses(1, url)).toEqual([401]);
  });

  it('does not believe x-forwarded-for of everybody', async () => {
    const { url } = await started({ RATE_LIMIT: 1 });
    expect((await post(url, { 'x-forwarded-for': '203.0.113.1' })).status).toBe(200);
    expect((await post(url, { 'x-forwarded-for': '203.0.113.2' })).status).toBe(429);
  });

  it('counts the clients behind a trusted proxy, and what they say of themselves is nothing', async () => {
    const { url } = await started({ RATE_LIMIT: 1, TRUST_PROXY: '127.0.0.0/8, ::1' });
    expect((await post(url, { 'x-forwarded-for': '203.0.113.1' })).status).toBe(200);
    expect((await post(url, { 'x-forwarded-for': '203.0.113.2' })).status).toBe(200);
    expect((await post(url, { 'x-forwarded-for': '203.0.113.1' })).status).toBe(429);
    expect((await post(url, { 'x-forwarded-for': '198.51.100.7, 203.0.113.1' })).status).toBe(429);
    // Of IPv6 the network counts: its owner has all the addresses in it.
    expect((await post(url, { 'x-forwarded-for': '2001:db8::1' })).status).toBe(200);
    expect((await post(url, { 'x-forwarded-for': '2001:db8::2' })).status).toBe(429);
    expect((await post(url, { 'x-forwarded-for': '2001:db8:0:1::1' })).status).toBe(200);
  });
});

describe('the address that a trusted proxy tells', () => {
  const proxied = (url: string, list: string) => post(url, { 'x-forwarded-for': list });

  it.each([
    ['with ports', (i: number) => `9.9.9.9:${4001 + i}`],
    ['with ports, of IPv6', (i: number) => `[2001:db8::1]:${4001 + i}`],
    ['in brackets, and of one network', (i: number) => `[2001:db8::${i + 1}]`],
    ['behind what a client says of itself', (i: number) => `10.0.0.${i}, garbage${i}, 9.9.9.9:${4001 + i}`],
    ['through two proxies', (i: number) => `9.9.9.9:${4001 + i}, 127.0.0.9:${4001 + i}`],
    ['with an end of its own', (i: number) => `9.9.9.9:${4001 + i}, `],
  ])('%s, is one caller', async (_, list) => {
    const { url } = await started({ RATE_LIMIT: 3, TRUST_PROXY: '127.0.0.0/8' });
    const found: number[] = [];
    for (let i = 0; i < 5; i++) found.push((await proxied(url, list(i))).status);
    expect(found).toEqual([200, 200, 200, 429, 429]);
    expect((await proxied(url, '198.51.100.7')).status).toBe(200);
  });

  it.each([
    ['garbage'],
    ['unknown'],
    ['9.9.9.9, garbage'],
    ['9.9.9.9:port'],
    ['9.9.9.999:80'],
    ['[9.9.9.9'],
    ['1:2:3'],
    ['example.org:80'],
    [' , '],
    ['0x9.9.9.9'],
  ])('which is none, %j, is its own', async (list) => {
    const { url, log } = await started({ RATE_LIMIT: 1, TRUST_PROXY: '127.0.0.0/8' });
    expect((await post(url)).status).toBe(200); // the peer
    expect((await proxied(url, list)).status).toBe(429);
    await vi.waitFor(() => expect(log.at(-1)).toMatchObject({ status: 429, address: '127.0.0.1' }));
  });
});
