import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll } from 'vitest';
import type { Pool } from '../../../src/compute/pool/pool.js';
import { post as postSmall } from '../asking.js';
import { type Limits, type Started, start, startPool } from '../start.js';

/** Services that limit how often a caller may ask, and callers who ask. */

export async function post(url: string, headers: Record<string, string> = {}) {
  const answer = await postSmall(url, headers);
  return { status: answer.status, headers: answer.headers, body: (await answer.json()) as { detail?: string } };
}

/** The statuses of so many requests, one after the other. */
export async function statuses(count: number, url: string, headers: Record<string, string> = {}): Promise<number[]> {
  const found: number[] = [];
  for (let i = 0; i < count; i++) found.push((await post(url, headers)).status);
  return found;
}

/** What is stopped after a test, the last one first. */
export const toStop: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of toStop.splice(0).reverse()) await stop();
});

let pool: Pool;
beforeAll(async () => {
  pool = await startPool({ workers: 1, kernels: 'scalar' });
});
afterAll(() => pool.close());

export async function started(settings: NonNullable<Limits['settings']>, redis?: Redis): Promise<Started> {
  const service = await start({ pool, settings, ...(redis && { redis }) });
  toStop.push(() => service.stop());
  return service;
}
