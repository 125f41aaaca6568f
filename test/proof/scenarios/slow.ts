import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { rounded } from '../../bench/statistics.js';
import { startService } from '../../service/process.js';
import type { Case } from '../catalogue.js';
import { startLoader } from '../load.js';
import { figuresOf, finding, findingsOf, untouched } from '../report.js';
import type { Scenario } from '../scenario.js';
import { catalogueFor } from '../subject.js';

/** What the service allows for a whole request, and for a client that lets a byte wait. */
const LIMIT_MS = 2000;
/** Node looks at connections every LIMIT_MS; a client that was told has another second to go; and a second is ours. */
const CUT_MS = 2 * LIMIT_MS + 1000 + 1000;
/** Between two requests a connection may be idle for the 72 seconds of KEEP_ALIVE_TIMEOUT. */
const KEPT_ALIVE_MS = 80_000;
/** An answer must have been computed before it can be left unread. */
const UNREAD_MS = CUT_MS + 4000;

/** What a client does that keeps a connection and gives nothing for it. */
interface Manner {
  readonly who: string;
  /** When the connection must be closed by the service. */
  readonly limit: number;
  /** Does it read what it is answered? */
  readonly reads: boolean;
  act(write: (text: string | Uint8Array) => void, largest: Case): Promise<void> | void;
}

const MANNERS: readonly Manner[] = [
  { who: 'says nothing', limit: CUT_MS, reads: true, act() {} },
  {
    who: 'breaks off in the headers',
    limit: CUT_MS,
    reads: true,
    act: (write) => write('POST /v1/rnn/forward HTTP/1.1\r\nhost: unroll\r\ncontent-'),
  },
  {
    who: 'breaks off in the body',
    limit: CUT_MS,
    reads: true,
    act(write, largest) {
      write(headOf(largest));
      write(largest.body.subarray(0, 1000));
    },
  },
  {
    who: 'sends a byte of the body now and then',
    limit: CUT_MS,
    reads: true,
    async act(write, largest) {
      write(headOf(largest));
      await nowAndThen((i) => write(largest.body.subarray(i, i + 1)));
    },
  },
  {
    who: 'sends header after header',
    limit: CUT_MS,
    reads: true,
    async act(write) {
      write('GET /health/live HTTP/1.1\r\nhost: unroll\r\n');
      await nowAndThen((i) => write(`x-${i}: 1\r\n`));
    },
  },
  {
    who: 'asks for much and reads nothing',
    limit: UNREAD_MS,
    reads: false,
    act(write, largest) {
      write(headOf(largest));
      write(largest.body);
    },
  },
  {
    who: 'asks for one thing and says no more',
    limit: KEPT_ALIVE_MS,
    reads: true,
    act: (write) => write('GET /health/live HTTP/1.1\r\nhost: unroll\r\n\r\n'),
  },
];

function headOf({ path, body }: Case): string {
  return `POST ${path} HTTP/1.1\r\nhost: unroll\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
}

async function nowAndThen(write: (i: number) => void): Promise<void> {
  for (let i = 0; i < CUT_MS / 100; i++) {
    write(i);
    await sleep(100);
  }
}

/** Clients that send slowly, or begin and send no more, or do not read; beside them, others who are served. */
export const slow: Scenario = {
  what: 'half requests, slow bodies, silent connections, unread answers: are they cut while others are served?',
  times: 20,
  short: 3,
  async run({ times, seed, short }) {
    const service = await startService({ REQUEST_TIMEOUT: String(LIMIT_MS), IDLE_TIMEOUT: String(LIMIT_MS) });
    try {
      const cases = await catalogueFor(service, seed, short);
      const lengthOf = ({ expected }: Case) => ('body' in expected ? expected.body.length : 0);
      const largest = cases.reduce((most, one) => (lengthOf(one) > lengthOf(most) ? one : most));
      const loader = await startLoader(service.url, cases);
      const running = loader.run({ connections: 2, seed });
      const manners = MANNERS.filter(({ limit }) => !short || limit < KEPT_ALIVE_MS);
      const seen = await Promise.all(
        manners.map((manner) =>
          Promise.all(Array.from({ length: times }, () => behave(service.url, manner, largest))).then(summary),
        ),
      );
      loader.finish();
      const tally = await running;
      loader.stop();
      const isCut = (one: (typeof seen)[number]) =>
        one.not_cut === 0 && one.statuses.every((status) => [0, 200, 408].includes(status));
      return {
        figures: { clients: times * manners.length, ...figuresOf(tally) },
        findings: [
          ...findingsOf(tally),
          ...untouched(tally, 'those who behave'),
          ...manners.map(({ who, limit }, i) =>
            finding(`who ${who} is cut within ${limit} ms, with 408 or a close`, isCut(seen[i]), seen[i]),
          ),
        ],
      };
    } finally {
      await service.stop();
    }
  },
};

/** How a connection ended: after how many milliseconds, if it did; and the status that was read last. */
interface Ended {
  readonly ms: number | undefined;
  readonly status: number;
}

function summary(all: readonly Ended[]) {
  return {
    not_cut: all.filter(({ ms }) => ms === undefined).length,
    longest_ms: rounded(Math.max(...all.map(({ ms = 0 }) => ms))),
    statuses: [...new Set(all.map(({ status }) => status))],
  };
}

/** Does as it is told, and waits until the service closes the connection, or for the limit. */
async function behave(url: string, { act, limit, reads }: Manner, largest: Case): Promise<Ended> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname).on('error', () => {});
  const start = performance.now();
  let status = 0;
  socket.on('data', (chunk) => {
    status = Number(/HTTP\/1\.1 (\d+)/.exec(chunk.toString('latin1'))?.[1] ?? status);
  });
  if (!reads) socket.pause();
  let ms: number | undefined;
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      ms = performance.now() - start;
      resolve();
    });
  });
  const acting = act((bytes) => socket.writable && socket.write(bytes), largest);
  await Promise.race([closed, sleep(limit)]);
  // Who does not read is not told of the close either: what has not been sent by now will not come.
  if (!reads) await Promise.race([closed, socket.resume() && sleep(1000)]);
  socket.destroy();
  await acting;
  return { ms, status };
}
