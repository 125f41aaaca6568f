import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import supertest from 'supertest';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Started, start } from './start.js';

let service: Started;
beforeAll(async () => {
  service = await start();
});
afterAll(() => service.stop());

it('/docs needs nothing from anywhere else: all that the page loads is there', async () => {
  const { text } = await supertest(service.url).get('/docs').redirects(1).expect(200);
  const loaded = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, address]) => address);
  expect(loaded.length).toBeGreaterThan(3);
  for (const address of loaded) {
    expect(address).not.toMatch(/^(https?:)?\/\//);
    await supertest(service.url).get(new URL(address, 'http://a/docs/').pathname).expect(200);
  }
});

/** Debian's place for it; another can be named. */
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'];
const browserTest = it.skipIf(!existsSync(CHROMIUM) && !process.env.CI);

browserTest('/docs shows every operation in a real browser, without a request to another host', async () => {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGS });
  const page = await browser.newPage();
  const foreign: string[] = [];
  const failures: string[] = [];
  page.on('request', (request) => {
    const address = request.url();
    if (!address.startsWith(service.url) && !address.startsWith('data:')) foreign.push(address);
  });
  page.on('pageerror', (error) => failures.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') failures.push(message.text());
  });
  const { paths } = (await (await fetch(`${service.url}/openapi.json`)).json()) as { paths: object };
  const count = Object.keys(paths).length; // each has one method
  await page.goto(`${service.url}/docs`);
  await page
    .locator('.opblock')
    .nth(count - 1)
    .waitFor();
  expect(await page.locator('.opblock').count()).toBe(count);

  // An operation can be tried out: its example is filled in, and the answer is shown.
  const operation = page.locator('#operations-RNN-rnnCellForward');
  await operation.click();
  await operation.getByText('Try it out').click();
  await operation.getByText('Execute').click();
  await operation.locator('.live-responses-table .response-col_status', { hasText: '200' }).waitFor();

  await browser.close();
  expect(foreign).toEqual([]);
  expect(failures).toEqual([]);
});

browserTest('/docs of an instance that asks for keys sends the one that is typed in', async () => {
  const hash = createHash('sha256').update('ann-key').digest('hex');
  const guarded = await start({ workers: 1, kernels: 'scalar', settings: { API_KEYS: `ann:${hash}` } });
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGS });
  const page = await browser.newPage();
  const violations: string[] = [];
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) violations.push(message.text());
  });
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

  await browser.close();
  await guarded.stop();
  expect(violations).toEqual([]);
});
