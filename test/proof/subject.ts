import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Tier } from '../../src/kernels/kernels.js';
import type { Service } from '../service/process.js';
import { type Case, makeCatalogue } from './catalogue.js';
import { startLoader } from './load.js';

/** /health/live as a case: asked for by a loader of its own, it shows how the service's event loop is. */
export const LIVE: Case = {
  name: 'live',
  size: 'tiny',
  method: 'GET',
  path: '/health/live',
  body: new Uint8Array(0),
  expected: { status: 200, body: new TextEncoder().encode('{"status":"live"}') },
};

const catalogues = new Map<string, Case[]>();

/** The catalogue for the kernels that a service computes with. */
export async function catalogueFor(service: Service, seed: number, short: boolean): Promise<Case[]> {
  const { kernels } = (await (await fetch(service.url)).json()) as { kernels: Tier };
  const key = `${kernels} ${seed}`;
  const known = catalogues.get(key) ?? makeCatalogue(kernels, seed, short);
  catalogues.set(key, known);
  return known;
}

/**
 * A server that says that it is alive, and does nothing else: how long it takes to say so, beside the service under
 * load, is the machine's share.
 */
export async function startBareServer(): Promise<{ readonly url: string; stop(): void }> {
  const code = `
    const answer = (request, response) => response.end('{"status":"live"}');
    const server = require('node:http').createServer(answer).listen(0, '127.0.0.1', () => console.log(server.address().port));`;
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [port] = await once(child.stdout, 'data');
  return { url: `http://127.0.0.1:${String(port).trim()}`, stop: () => child.kill() };
}

/** A hundred times a second: is the process alive? */
export async function startProbe(url: string) {
  const loader = await startLoader(url, [LIVE]);
  const running = loader.run({ connections: 1000, perSecond: 100 });
  return {
    async stop() {
      loader.finish();
      const tally = await running;
      loader.stop();
      return tally;
    },
  };
}

const GAUGES = ['unroll_queue_requests', 'unroll_running_requests', 'unroll_workers_busy', 'unroll_memory_bytes'];

/** What /metrics says of places and bytes in use; nothing where there are no metrics. */
export async function poolGauges(
  url: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Record<string, number>> {
  const response = await fetch(`${url}/metrics`, { headers });
  const text = response.ok ? await response.text() : '';
  const found = GAUGES.map((name) => [name, new RegExp(`^${name}(?:{})? (\\S+)$`, 'm').exec(text)?.[1]]);
  return Object.fromEntries(found.flatMap(([name, value]) => (value === undefined ? [] : [[name, Number(value)]])));
}
