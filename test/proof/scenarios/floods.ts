import { connect, type Socket } from 'node:net';
import { startService } from '../../service/process.js';
import { startLoader } from '../load.js';
import { figuresOf, finding, findingsOf, total, untouched } from '../report.js';
import type { Scenario } from '../scenario.js';
import { catalogueFor, startProbe } from '../subject.js';

/** Many at once: connections that say nothing, and as many that ask for something. */
export const floods: Scenario = {
  what: 'thousands of connections and requests at once: is everybody answered, and be it with 429?',
  times: 3000,
  short: 500,
  async run({ times, seed, short }) {
    const limit = String(3 * times);
    const service = await startService({ CONNECTION_LIMIT: limit, ADDRESS_LIMIT: limit });
    const { hostname, port } = new URL(service.url);
    const silent: Socket[] = [];
    try {
      const cases = (await catalogueFor(service, seed, short)).filter(
        ({ size }) => size !== 'large' && size !== 'medium',
      );
      const loader = await startLoader(service.url, cases);
      for (let i = 0; i < times; i++) silent.push(connect(Number(port), hostname).on('error', () => {}));
      const probe = await startProbe(service.url);
      const flood = await loader.run({ connections: times, requests: 2 * times, seed });
      const live = await probe.stop();
      const afterwards = await loader.run({ connections: 4, requests: 100, seed });
      loader.stop();
      return {
        figures: { connections: 2 * times, ...figuresOf(flood) },
        findings: [
          ...findingsOf(flood),
          ...untouched(flood),
          finding('some are turned away', total(flood.refused) > 0, flood.refused),
          finding(
            '/health/live answers always',
            live.right === live.sent,
            `${live.sent - live.right} of ${live.sent} not`,
          ),
          finding(
            'afterwards everybody is served',
            afterwards.right === afterwards.sent,
            `${afterwards.right} of ${afterwards.sent}`,
          ),
        ],
      };
    } finally {
      for (const socket of silent) socket.destroy();
      await service.stop();
    }
  },
};
