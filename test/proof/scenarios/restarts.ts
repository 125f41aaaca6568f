import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { rounded } from '../../bench/statistics.js';
import { startService } from '../../service/process.js';
import { startLoader } from '../load.js';
import { figuresOf, finding, findingsOf, untouched } from '../report.js';
import type { Scenario } from '../scenario.js';
import { catalogueFor } from '../subject.js';

/** The service is stopped and started again at the same place; the clients ask again when nobody takes their request. */
export const restarts: Scenario = {
  what: 'SIGTERM and a new start under load: does a client that tries again notice?',
  times: 20,
  short: 2,
  async run({ times, seed, short }) {
    const env = { PORT: String(await freePort()) };
    let service = await startService(env);
    try {
      const loader = await startLoader(service.url, await catalogueFor(service, seed, short));
      const running = loader.run({ connections: 8, retries: true, seed });
      const stops: number[] = [];
      const codes: number[] = [];
      for (let i = 0; i < times; i++) {
        await sleep(500 + Math.random() * 1000);
        const start = performance.now();
        codes.push(await service.stop());
        stops.push(rounded(performance.now() - start));
        service = await startService(env);
      }
      await sleep(500);
      loader.finish();
      const tally = await running;
      loader.stop();
      return {
        figures: { restarts: times, ...figuresOf(tally), stop_ms: stops },
        findings: [
          ...findingsOf(tally),
          ...untouched(tally, 'clients that try again'),
          finding(
            'the service exits with 0',
            codes.every((code) => code === 0),
            codes.join(' '),
          ),
        ],
      };
    } finally {
      await service.stop();
    }
  },
};

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
