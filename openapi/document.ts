import { pino } from 'pino';
import { Ledger } from '../src/compute/ledger.js';
import { buildApp } from '../src/http/app.js';
import { loadConfig } from '../src/settings/config.js';
import { memoryStore } from '../src/stores/memory.js';

/** The OpenAPI document as text: as the service gives it out, but for the server; no worker is started for it. */
export async function documentText(): Promise<string> {
  const pool = {
    tier: 'scalar' as const,
    memory: Ledger.create(0, 0),
    begin: () => {
      throw new Error('not here');
    },
    isReady: () => false,
    stats: () => ({
      waiting: 0,
      running: 0,
      workers: 0,
      alive: 0,
      busy: 0,
      restarts: 0,
      heavyThreads: 0,
      bytes: 0,
      bytesLimit: 0,
    }),
    checkPlace: () => {},
    close: async () => {},
  };
  const app = await buildApp({
    config: loadConfig({}),
    pool,
    caches: memoryStore(1),
    logger: pino({ level: 'silent' }),
  });
  await app.ready();
  const text = JSON.stringify({ ...app.swagger(), servers: [SERVER] }, null, 2);
  await app.close();
  return `${text}\n`;
}

/** An absolute address, as several generators of clients need it. */
const SERVER = { url: 'http://127.0.0.1:3000', description: 'the service as it starts without settings' };
