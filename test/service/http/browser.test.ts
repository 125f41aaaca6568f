import { existsSync } from 'node:fs';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { entry } from '../../http/asking.js';
import { linksOf, PAGES } from '../../http/pages.js';
import { type Started, start } from '../../http/start.js';
import { type Balancer, isInstalled, startBalancer } from '../balancer.js';

let service: Started;
beforeAll(async () => {
  service = await start({ kernels: 'scalar' });
});
afterAll(() => service.stop());

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
    expect(operations).toHaveLength(15);
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
    const guarded = await start({ workers: 1, kernels: 'scalar', settings: { API_KEYS: entry('ann', 'ann-key') } });
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
