import { expect } from 'vitest';

/** What the Accept header of a browser looks like. */
export const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8';
export const PAGES = ['/', '/problems', '/problems/shape-mismatch', '/docs'];

/** Where the links of a page lead, as a browser would follow them. */
export async function linksOf(base: string): Promise<string[]> {
  const answer = await fetch(base, { headers: { accept: BROWSER } });
  const links = [...(await answer.text()).matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link);
  expect(links.length).toBeGreaterThan(5);
  return links.map((link) => new URL(link, answer.url).href.replace(/#.*/, ''));
}
