import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { numbersFrom, operationCalled, tensorsFor } from '../values.js';
import { balancers, freePort, isInstalled, startBalancer } from './balancer.js';
import { type Service, startService } from './process.js';

/**
 * Rolling restarts of two instances behind the balancers that docker/ configures: ROLLS=20 makes it so many. Every
 * answer is compared with the one that an instance gave alone.
 */
const ROLLS = Number(process.env.ROLLS ?? 1);

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

/** The others know one instance alone. */
const CONFIGURED = Object.keys(balancers).filter((name) => name !== 'nginx under a path');

describe.each(CONFIGURED)('behind %s', (name) => {
  const { program } = balancers[name];
  const isHere = isInstalled(name);
  if (!isHere) console.info(`${program} is not installed: rolling restarts behind it are not tested`);

  it.skipIf(!isHere && process.env.CI !== 'true')(
    `${ROLLS} rolling restarts fail no request`,
    { timeout: 120_000 + ROLLS * 60_000 },
    async () => {
      if (!isHere) throw new Error(`${program} is not installed`);
      const instances = [await startInstance(await freePort()), await startInstance(await freePort())];
      cleanups.push(() => Promise.all(instances.map(({ stop }) => stop())));
      const bodies = await Promise.all(
        BODIES.map(async (body) => ({ body, expected: await alone(instances[0], body) })),
      );
      const balancer = await startBalancer(
        name,
        instances.map((instance) => instance.url),
      );
      cleanups.push(balancer.stop);
      const { url } = balancer;

      const load = startLoad(url, bodies);
      cleanups.push(load.end);
      for (let roll = 0; roll < ROLLS; roll++) {
        for (const [i, { url: address, stop }] of instances.entries()) {
          const before = load.answered();
          expect(await stop()).toBe(0);
          expect(load.answered(), 'requests go on while an instance stops').toBeGreaterThan(before);
          instances[i] = await startInstance(Number(new URL(address).port));
        }
      }
      const failures = await load.end();
      console.info(`${name}: ${ROLLS} rolling restarts, ${load.answered()} requests, ${failures.length} failed`);
      expect(failures).toEqual([]);
    },
  );
});

/** A service with the grace that is the default. */
function startInstance(port: number): Promise<Service> {
  return startService({ PORT: String(port), WORKERS: '1', DRAIN_GRACE: '' });
}

/** Of less than 1 KB, and of 400 KB, which is more than a balancer keeps in memory. */
const BODIES = [
  { n_x: 2, n_a: 3, m: 1, T_x: 4 },
  { n_x: 16, n_a: 16, m: 16, T_x: 64 },
].map((dims) =>
  JSON.stringify(
    tensorsFor(operationCalled('lstmForward').request, { ...dims, n_y: 2, T_da: dims.T_x }, numbersFrom(1), {
      prediction: true,
      way: 0,
      extras: false,
    }),
  ),
);

interface Exchange {
  readonly body: string;
  readonly expected: string;
}

async function alone({ url }: Service, body: string): Promise<string> {
  const { status, text } = await post(url, body);
  if (status !== 200) throw new Error(`${status}: ${text}`);
  return text;
}

const CLIENTS = 8;

/** Clients that ask again as soon as they are answered: one half keeps its connection, one half opens one each time. */
function startLoad(url: string, exchanges: readonly Exchange[]) {
  const failures: string[] = [];
  let answered = 0;
  let isEnding = false;
  const clients = Array.from({ length: CLIENTS }, async (_, client) => {
    const agent = new Agent({ keepAlive: client % 2 === 0, maxSockets: 1 });
    for (let i = client >> 1; !isEnding; i++) {
      const { body, expected } = exchanges[i % exchanges.length];
      const { status, text } = await post(url, body, agent).catch((error: Error) => ({
        status: 0,
        text: String(error),
      }));
      if (status === 200 && text === expected) answered++;
      else failures.push(`${new Date().toISOString()} ${body.length} bytes: ${status} ${text.slice(0, 200)}`);
      await sleep(5);
    }
    agent.destroy();
  });
  return {
    answered: () => answered,
    async end() {
      isEnding = true;
      await Promise.all(clients);
      return failures;
    },
  };
}

function post(url: string, body: string, agent?: Agent): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const options = { method: 'POST', headers, timeout: 60_000, ...(agent ? { agent } : {}) };
    const sent = request(`${url}/v1/lstm/forward`, options, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.once('error', reject);
      answer.once('end', () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
    });
    sent.once('timeout', () => sent.destroy(new Error('no answer in 60 s')));
    sent.once('error', reject);
    sent.end(body);
  });
}
