import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import supertest from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { problemKinds } from '../../src/http/problems.js';
import { type Balancer, isInstalled, startBalancer } from '../service/balancer.js';
import { type Started, start } from './start.js';

/** What the Accept header of a browser looks like. */
const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8';
const PAGES = ['/', '/problems', '/problems/shape-mismatch', '/docs'];

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

/** Where the links of a page lead, as a browser would follow them. */
async function linksOf(base: string): Promise<string[]> {
  const answer = await fetch(base, { headers: { accept: BROWSER } });
  const links = [...(await answer.text()).matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link);
  expect(links.length).toBeGreaterThan(5);
  return links.map((link) => new URL(link, answer.url).href.replace(/#.*/, ''));
}

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

/** Debian's place for it; another can be named. */
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'];
const isHere = existsSync(CHROMIUM) || process.env.CI === 'true';

describe.runIf(isHere)('in a browser', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGS });
  });
  afterAll(() => browser.close());

  /** A page, and what goes wrong in it: errors, also those of its policy, and requests to other hosts. */
  async function openPage(
    origin: string,
    options: BrowserContextOptions = {},
  ): Promise<{ page: Page; wrong: string[] }> {
    const page = await browser.newPage(options);
    const wrong: string[] = [];
    page.on('request', (request) => {
      const address = request.url();
      if (!address.startsWith(`${origin}/`) && !address.startsWith('data:')) wrong.push(address);
    });
    page.on('pageerror', (error) => wrong.push(error.message));
    page.on('console', (message) => {
      // A refused request is one that the test has asked for.
      if (message.type() === 'error' && !message.text().includes('responded with a status')) wrong.push(message.text());
    });
    return { page, wrong };
  }

  /** Sends the example that is shown on the first page, and tells what is answered. */
  async function send(page: Page): Promise<{ status: string; answer: string }> {
    await page.locator('#status').evaluate((element) => {
      element.textContent = '';
    });
    await page.locator('#try button:enabled').click();
    await page.locator('#status', { hasText: /\d{3} in/ }).waitFor();
    const answer = await page.locator('#answer').textContent();
    return { status: (await page.locator('#status').textContent()) ?? '', answer: answer ?? '' };
  }

  async function tryEverything(page: Page): Promise<void> {
    await page.locator('#operation option').first().waitFor({ state: 'attached' });
    const operations = await page
      .locator('#operation option')
      .evaluateAll((all) => all.map((one) => one.getAttribute('value')));
    expect(operations).toHaveLength(8);
    for (const operation of operations) {
      await page.locator('#operation').selectOption(operation);
      const examples = await page
        .locator('#example option')
        .evaluateAll((all) => all.map((one) => one.getAttribute('value')));
      for (const example of examples) {
        await page.locator('#example').selectOption(example);
        const { status, answer } = await send(page);
        expect(status, `${operation} ${example}`).toMatch(/^200 in [\d.]+ ms$/);
        expect(JSON.parse(answer)).toBeTypeOf('object');
      }
    }
  }

  it('/ sends every example, and shows what is answered', async () => {
    const { page, wrong } = await openPage(service.url);
    await page.goto(service.url);
    expect(await page.title()).toBe('Unroll');
    await tryEverything(page);

    await page.locator('#operation').selectOption('rnnForward');
    await page.locator('#request').fill('{"x": [[[1, NaN]]]}');
    expect(await send(page)).toMatchObject({ status: expect.stringMatching(/^400 /) });
    const explained = page.locator('#detail');
    expect(await explained.textContent()).toContain('NaN is not JSON');
    await explained.getByRole('link').click();
    await page.getByRole('heading', { name: 'The body is not JSON' }).waitFor();
    expect(page.url()).toBe(`${service.url}/problems/invalid-json`);
    await page.close();
    expect(wrong).toEqual([]);
  });

  it.each([
    ['a telephone', { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true }],
    ['a narrow window in the dark', { viewport: { width: 390, height: 844 }, colorScheme: 'dark' as const }],
  ])('no page has to be pushed sideways on %s', async (_, options) => {
    const { page, wrong } = await openPage(service.url, options);
    for (const path of [...PAGES, '/docs#/LSTM/lstmBackward']) {
      await page.goto('about:blank');
      await page.goto(service.url + path);
      if (path.startsWith('/docs')) await page.locator('.opblock').last().waitFor();
      if (path.includes('#')) await page.locator('#operations-LSTM-lstmBackward .responses-wrapper').waitFor();
      if (path === '/') await send(page);
      const { scroll, inner } = (await page.evaluate(
        '({ scroll: document.documentElement.scrollWidth, inner: innerWidth })',
      )) as Record<string, number>;
      expect([scroll, inner], path).toEqual([390, 390]);
    }
    await page.close();
    expect(wrong.filter((address) => address !== 'about:blank')).toEqual([]);
  });

  it('/docs shows every operation, with our title and mark, and each can be tried out', async () => {
    const { page, wrong } = await openPage(service.url);
    const { paths } = (await (await fetch(`${service.url}/openapi.json`)).json()) as { paths: object };
    const count = Object.keys(paths).length; // each has one method
    await page.goto(`${service.url}/docs`);
    await page
      .locator('.opblock')
      .nth(count - 1)
      .waitFor();
    expect(await page.locator('.opblock').count()).toBe(count);
    expect(await page.title()).toBe('Operations – Unroll');
    expect(await page.locator('img').evaluateAll((all) => all.map((one) => one.getAttribute('src')))).toEqual([
      './docs/static/mark.svg',
    ]);
    expect(await page.locator('.topbar, .download-url-wrapper, [alt*="wagger" i]').count()).toBe(0);
    expect(await page.getByRole('button', { name: 'Explore' }).count()).toBe(0);

    const operation = page.locator('#operations-RNN-rnnCellForward');
    await operation.click();
    await operation.getByText('Try it out').click();
    await operation.getByText('Execute').click();
    await operation.locator('.live-responses-table .response-col_status', { hasText: '200' }).waitFor();
    await page.close();
    expect(wrong).toEqual([]);
  });

  it('an open operation in /docs has a length that one can read, with its errors as links', async () => {
    const { page, wrong } = await openPage(service.url, { viewport: { width: 1200, height: 900 } });
    await page.goto(`${service.url}/docs#/LSTM/lstmBackward`);
    const operation = page.locator('#operations-LSTM-lstmBackward');
    const errors = operation.locator('.response', { hasText: 'problem+json' });
    await errors.waitFor();
    expect((await operation.boundingBox())?.height).toBeLessThan(2800);
    expect(await operation.locator('.responses-table > tbody > .response').count()).toBe(2); // the answer, and all errors
    const links = await errors.getByRole('link').evaluateAll((all) => all.map((one) => one.getAttribute('href')));
    expect(links).toHaveLength(21);
    for (const link of links) expect((await fetch(String(link))).status, String(link)).toBe(200);
    await page.close();
    expect(wrong).toEqual([]);
  });

  it('an instance that asks for keys is sent the one that is typed in', async () => {
    const hash = createHash('sha256').update('ann-key').digest('hex');
    const guarded = await start({ workers: 1, kernels: 'scalar', settings: { API_KEYS: `ann:${hash}` } });
    const { page, wrong } = await openPage(guarded.url);
    await page.goto(guarded.url);
    expect((await send(page)).status).toMatch(/^401 /);
    await page.locator('#key').fill('ann-key');
    expect((await send(page)).status).toMatch(/^200 /);

    await page.goto(`${guarded.url}/docs`);
    const operation = page.locator('#operations-RNN-rnnCellForward');
    await operation.getByRole('button', { name: 'post' }).first().click();
    await operation.getByText('Try it out').click();
    const status = operation.locator('.live-responses-table .response-col_status');
    await operation.getByText('Execute').click();
    await status.filter({ hasText: '401' }).waitFor();
    await page.getByRole('button', { name: 'Authorize' }).first().click();
    const dialog = page.locator('.modal-ux');
    await dialog.locator('input').last().fill('ann-key');
    await dialog.getByRole('button', { name: 'Apply credentials' }).last().click();
    await dialog.getByRole('button', { name: 'Close' }).last().click();
    await operation.getByText('Execute').click();
    await status.filter({ hasText: '200' }).waitFor();
    await page.close();
    await guarded.stop();
    expect(wrong).toEqual([]);
  });

  describe.runIf(isInstalled('nginx') || process.env.CI === 'true')('under a path of nginx', () => {
    let nginx: Balancer;
    beforeAll(async () => {
      nginx = await startBalancer('nginx under a path', [service.url, service.url]);
    });
    afterAll(() => nginx.stop());

    it('pages lead to each other, and operations can be tried', async () => {
      for (const path of ['/', ...PAGES.slice(1), '/docs/']) {
        for (const link of new Set(await linksOf(`${nginx.url}/unroll${path}`))) {
          expect(link.startsWith(`${nginx.url}/unroll/`), link).toBe(true);
          expect((await fetch(link)).status, link).toBe(200);
        }
      }
      const { page, wrong } = await openPage(nginx.url);
      await page.goto(`${nginx.url}/unroll/`);
      expect((await send(page)).status).toMatch(/^200 /);
      await page.getByRole('navigation').getByRole('link', { name: 'Operations' }).click();
      const operation = page.locator('#operations-RNN-rnnCellForward');
      await operation.click();
      await operation.getByText('Try it out').click();
      await operation.getByText('Execute').click();
      await operation.locator('.live-responses-table .response-col_status', { hasText: '200' }).waitFor();
      expect(await operation.locator('.request-url').textContent()).toContain(
        `${nginx.url}/unroll/v1/rnn/cell/forward`,
      );
      await page.close();
      expect(wrong).toEqual([]);
    });
  });
});
