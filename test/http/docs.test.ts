import supertest from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { problemKinds } from '../../src/http/problems.js';
import { BROWSER, linksOf, PAGES } from './pages.js';
import { type Started, start } from './start.js';

let service: Started;
beforeAll(async () => {
  service = await start({ kernels: 'scalar', settings: { TRUST_PROXY: '127.0.0.1' } });
});
afterAll(() => service.stop());

const get = (path: string, accept = BROWSER) => supertest(service.url).get(path).set('accept', accept);

describe.each(['/', '/problems', '/problems/shape-mismatch'])('%s', (path) => {
  it.each([BROWSER, 'text/html', 'text/*', 'application/json;q=0.5, text/html'])('is a page for %s', async (accept) => {
    const { headers, text } = await get(path, accept).expect(200);
    expect(headers['content-type']).toBe('text/html; charset=utf-8');
    expect(headers.vary).toMatch(/^Accept\b(?!-)/);
    expect(headers['content-security-policy']).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self'; /);
    expect(text).toMatch(/^<!doctype html>/);
  });

  it.each(['*/*', '*', 'application/json', 'application/*', 'application/json, text/plain, */*', 'image/png', ''])(
    'is JSON for %j',
    async (accept) => {
      const { headers, body } = await get(path, accept).expect(200);
      expect(headers['content-type']).toMatch(/^application\/json/);
      expect(headers.vary).toMatch(/^Accept\b(?!-)/);
      expect(JSON.stringify(body)).toContain('/problems');
    },
  );
});

it('each problem is described where its type leads', async () => {
  for (const { type, title, code, status } of (await get('/problems', 'application/json')).body) {
    const { text } = await get(type).expect(200);
    expect(text).toContain(`<h1>${title}</h1>`);
    expect(text).toContain(`<b class="status">${status}</b> <code>${code}</code>`);
    expect(text).toContain(`&quot;type&quot;: &quot;${type}&quot;`);
  }
  const { text } = await get('/problems');
  for (const code of Object.keys(problemKinds)) expect(text).toContain(`href="./problems/${code}"`);
});

it.each(PAGES)('%s needs nothing from anywhere else, and all that it leads to is there', async (path) => {
  for (const link of new Set(await linksOf(service.url + path))) {
    expect(link.startsWith(`${service.url}/`), link).toBe(true);
    expect((await fetch(link)).status, link).toBe(200);
  }
});

it('the files of pages have tags, and /docs/ leads to /docs', async () => {
  const { headers } = await get('/docs/static/style.css').expect(200);
  await get('/docs/static/style.css').set('if-none-match', headers.etag).expect(304);
  const { headers: moved } = await get('/docs/').expect(308);
  expect(new URL(moved.location, 'http://a/under/docs/').pathname).toBe('/under/docs');
});

describe('behind a proxy that names its path', () => {
  const through = (path: string, prefix: string, accept = BROWSER) =>
    get(path, accept).set('x-forwarded-prefix', prefix);

  it.each([
    ['/unroll', '/unroll'],
    ['/unroll/', '/unroll'],
    ['/a/b.c~d', '/a/b.c~d'],
    ['/outer, /inner', '/outer/inner'],
  ])('%s is in front of all that the service says of its own paths', async (header, prefix) => {
    const { servers } = (await through('/openapi.json', header)).body;
    expect(servers).toEqual([{ url: prefix, description: 'this instance' }]);
    expect((await through('/', header, '*/*')).body).toMatchObject({
      docs: `${prefix}/docs`,
      problems: `${prefix}/problems`,
    });
    const { body } = await through('/v1/nothing', header, '*/*');
    expect(body).toMatchObject({ type: `${prefix}/problems/not-found`, instance: `${prefix}/v1/nothing` });
    for (const path of PAGES) {
      const { text } = await through(path, header);
      for (const [, link] of text.matchAll(/(?:src|href)="([^"]+)"/g))
        expect(link.startsWith(`${prefix}/`), link).toBe(true);
    }
  });

  it.each(['//evil.example', 'https://evil.example', '/a"><script>', '/a b', 'unroll', '/', ''])(
    '%j is none',
    async (header) => {
      expect((await through('/openapi.json', header)).body.servers[0].url).toBe('/');
      expect((await through('/', header)).text).not.toContain('evil');
    },
  );

  it('nobody but a trusted proxy names it', async () => {
    const alone = await start({ workers: 1 });
    const { body } = await supertest(alone.url).get('/openapi.json').set('x-forwarded-prefix', '/unroll');
    expect(body.servers[0].url).toBe('/');
    await alone.stop();
  });
});
