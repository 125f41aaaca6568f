import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { mebibytes, residentBytes } from '../../bench/process.js';
import { rounded } from '../../bench/statistics.js';
import { startService } from '../../service/process.js';
import type { Crews } from '../crew.js';
import { ceilingMib, watchPeak } from '../memory.js';
import { type Finding, finding } from '../report.js';
import type { Attack } from './attack.js';
import { environmentOf, SERVICES, targetOf } from './services.js';

/** Attacks whose service is prepared for them, or stopped meanwhile. */
export interface Trial extends Attack {
  try(setting: Setting): Promise<{ readonly figures: object; readonly findings: readonly Finding[] }>;
}

export interface Setting {
  /** Its own in ATTACKS. */
  readonly name: string;
  readonly crews: Crews;
  readonly seconds: number;
  /** Are timings told only? */
  readonly short: boolean;
}

/** A stop of a service that has nothing to do, whatever came before. */
const STOP_MS = 5000;
/** What memory may grow by in the second half of an attack. */
const LEVEL_MIB = 64;

export const unreadLog: Trial = {
  what: 'requests with the longest lines in the log, while nobody reads the log: memory is level, and the stop waits for no reader',
  service: 'tight',
  act: (siege) => siege.repeat(50, siege.head(`GET /${'x'.repeat(255)}`, `x-request-id: ${'y'.repeat(128)}\r\n`)),
  async try({ name, crews, seconds, short }) {
    const service = await startService(environmentOf(this.service));
    try {
      service.leaveLog();
      const peak = watchPeak(service.pid);
      crews.begin(name, targetOf(service, this.service));
      await sleep(500 * seconds);
      const half = mebibytes(residentBytes(service.pid));
      await sleep(500 * seconds);
      const end = mebibytes(residentBytes(service.pid));
      const { cpu_s, answers } = await crews.end();
      const peak_mib = peak.stop();
      const ceiling_mib = ceilingMib(SERVICES[this.service]);
      const { code, ms } = await stopped(service);
      return {
        figures: {
          half_mib: half,
          end_mib: end,
          peak_mib,
          ceiling_mib,
          stop_ms: ms,
          code,
          attacker_cpu_s: cpu_s,
          answers,
        },
        findings: [
          finding(`memory stays under ${ceiling_mib} MiB`, peak_mib < ceiling_mib, `${peak_mib} MiB`),
          finding('memory is level', end < half + LEVEL_MIB, `${half} → ${end} MiB`),
          finding(
            `SIGTERM ends it with 0${short ? '' : ` within ${STOP_MS} ms`}`,
            code === 0 && (short || ms < STOP_MS),
            `${code} after ${ms} ms`,
          ),
        ],
      };
    } finally {
      await service.stop();
    }
  },
};

/** Until all threads are there that this work takes. */
const WARM_UP_S = 3;
/** Until the first bodies have come, on a busy machine too. */
const ARRIVAL_S = 4;
/** What the process may allocate beyond what it has. */
const SPARE = 96 * 2 ** 20;

export const allocation: Trial = {
  what: '8 bodies of 40 MB for a process that gets no more than 96 MiB from the system: what cannot be allocated is refused with 503',
  service: 'roomy',
  act(siege) {
    const length = 40_000_000;
    const head = siege.head('POST /v1/rnn/forward', `content-length: ${length}\r\n`);
    return siege.repeat(8, Buffer.concat([head, Buffer.alloc(length, ' ')]));
  },
  async try({ name, crews, seconds }) {
    const service = await startService(environmentOf(this.service));
    try {
      // Without the limit at first: a thread that cannot be started any more ends the process, whoever has written it.
      crews.begin(name, targetOf(service, this.service));
      await sleep(1000 * WARM_UP_S);
      await crews.end();
      const size = 1024 * Number(/VmSize:\s+(\d+)/.exec(readFileSync(`/proc/${service.pid}/status`, 'latin1'))?.[1]);
      execFileSync('prlimit', ['--pid', `${service.pid}`, `--as=${size + SPARE}`]);
      crews.begin(name, targetOf(service, this.service));
      await sleep(1000 * Math.max(ARRIVAL_S, seconds));
      const { cpu_s, answers } = await crews.end();
      const live = await fetch(`${service.url}/health/live`).then(
        ({ status }) => status,
        () => 0,
      );
      const { overloaded = 0, internal = 0, ECONNRESET = 0 } = answers;
      return {
        figures: { attacker_cpu_s: cpu_s, answers },
        findings: [
          finding('some are refused with 503', overloaded > 0, answers),
          finding('none with 500, and none without an answer', internal + ECONNRESET === 0, answers),
          finding('the process is alive', live === 200, live),
        ],
      };
    } finally {
      await service.stop();
    }
  },
};

export const drippingStop: Trial = {
  what: '200 bodies come a byte at a time to an address where there is nothing, during a SIGTERM: the stop takes no longer',
  service: 'tight',
  act(siege) {
    const head = siege.head('POST /nowhere', 'content-length: 1000000\r\n');
    return siege.keep(200, (socket) => {
      siege.onAnswers(socket);
      socket.write(head);
      const timer = setInterval(() => socket.write(' '), 500);
      socket.once('close', () => clearInterval(timer));
    });
  },
  async try({ name, crews, short }) {
    const quiet = await stopped(await startService(environmentOf(this.service)));
    const service = await startService(environmentOf(this.service));
    crews.begin(name, targetOf(service, this.service));
    await sleep(1000);
    const beset = await stopped(service);
    const { cpu_s, answers } = await crews.end();
    return {
      figures: { quiet_ms: quiet.ms, stop_ms: beset.ms, code: beset.code, attacker_cpu_s: cpu_s, answers },
      findings: [
        finding(
          `the process exits with 0${short ? '' : ', at most a second later than without'}`,
          beset.code === 0 && (short || beset.ms < quiet.ms + 1000),
          `${beset.code} after ${beset.ms} ms, ${quiet.ms} ms without`,
        ),
      ],
    };
  },
};

async function stopped(service: { stop(): Promise<number> }): Promise<{ code: number; ms: number }> {
  const start = performance.now();
  const code = await service.stop();
  return { code, ms: rounded(performance.now() - start) };
}
