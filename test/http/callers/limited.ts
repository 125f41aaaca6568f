import type { Redis } from 'ioredis';
import { afterEach } from 'vitest';
import { post as postSmall } from '../asking.js';
import { type Limits, type Started, start } from '../start.js';

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

export async function started(settings: NonNullable<Limits['settings']>, redis?: Redis): Promise<Started> {
  const service = await start({ workers: 1, kernels: 'scalar', settings, ...(redis && { redis }) });
  toStop.push(() => service.stop());
  return service;
}
