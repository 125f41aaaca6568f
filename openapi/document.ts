import { pino } from 'pino';
import { buildApp } from '../src/http/app.js';

/** The OpenAPI document as the service gives it out, as text; no worker is started for it. */
export async function documentText(): Promise<string> {
  const pool = {
    tier: 'scalar' as const,
    run: () => Promise.reject(new Error('not here')),
    isReady: () => false,
    close: async () => {},
  };
  const app = await buildApp({
    config: { BODY_LIMIT: 1, REQUEST_TIMEOUT: 1 },
    pool,
    logger: pino({ level: 'silent' }),
  });
  await app.ready();
  const text = JSON.stringify(app.swagger(), null, 2);
  await app.close();
  return `${text}\n`;
}
