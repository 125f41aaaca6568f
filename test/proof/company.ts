import { setTimeout as sleep } from 'node:timers/promises';
import { quantile, rounded } from '../bench/statistics.js';
import type { Case } from './catalogue.js';
import { type Loader, type Plan, startLoader, type Tally } from './load.js';
import { LIVE, startBareServer } from './subject.js';

/**
 * Who is there while a service is attacked: a polite caller that sends tiny requests, and now and then a medium one;
 * somebody who asks whether the process is alive; and a server that does nothing else, which is asked the same.
 */
export interface Company {
  aim(url: string, headers: Readonly<Record<string, string>>): void;
  /**
   * What they see for so long. Who has no answer by then is waited for: for as long again, and when the attack is over.
   *
   * @param attacked ends the attack
   */
  observe<T>(seconds: number, attacked: () => Promise<T>): Promise<readonly [Seen, T]>;
  /** The requests a second that the service answers when they bring weights which it knows. */
  rate(seconds: number): Promise<number>;
  stop(): void;
}

export interface Seen {
  readonly live: Tally;
  readonly bare: Tally;
  readonly tiny: Tally;
  readonly medium: Tally;
}

/** A size that is read and computed in one piece, always the same, so that its times can be compared. */
const MEDIUM = 'lstmForward float64 medium 0';
/** Most of its time is for its weights, if they are not known. */
const OF_WEIGHTS = 'lstmCellForward float64 medium 0';

const PLANS: Readonly<Record<keyof Seen, Plan>> = {
  live: { connections: 1000, perSecond: 100 },
  bare: { connections: 1000, perSecond: 100 },
  tiny: { connections: 200, perSecond: 20 },
  medium: { connections: 1, perSecond: 2 },
};

export async function startCompany(url: string, cases: readonly Case[]): Promise<Company> {
  const called = (wanted: string) => cases.filter(({ name }) => name === wanted);
  const bareServer = await startBareServer();
  const [live, bare, tiny, medium, steady] = await Promise.all([
    startLoader(url, [LIVE]),
    startLoader(bareServer.url, [LIVE]),
    startLoader(
      url,
      cases.filter(({ size }) => size === 'tiny'),
    ),
    startLoader(url, called(MEDIUM)),
    startLoader(url, called(OF_WEIGHTS)),
  ]);
  const observers: Readonly<Record<keyof Seen, Loader>> = { live, bare, tiny, medium };
  let headers: Readonly<Record<string, string>> = {};
  return {
    aim(other, theirs) {
      headers = theirs;
      for (const loader of [live, tiny, medium, steady]) loader.aim(other);
    },
    async observe(seconds, attacked) {
      const observing = Promise.all(
        Object.entries(observers).map(async ([name, loader]) => {
          const plan = { ...PLANS[name as keyof Seen], seconds, headers };
          return [name, await loader.run(plan)] as const;
        }),
      );
      await Promise.race([observing, sleep(2 * 1000 * seconds)]);
      const acted = await attacked();
      return [Object.fromEntries(await observing) as unknown as Seen, acted];
    },
    async rate(seconds) {
      const { right, seconds: took } = await steady.run({ connections: 4, seconds, headers });
      return right / took;
    },
    stop() {
      for (const loader of [...Object.values(observers), steady]) loader.stop();
      bareServer.stop();
    },
  };
}

/** Milliseconds; of none, forever. */
export function times({ latencies }: Tally): { median_ms: number; p99_ms: number; worst_ms: number } {
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (q: number) => (sorted.length === 0 ? Number.POSITIVE_INFINITY : rounded(quantile(sorted, q)));
  return { median_ms: at(0.5), p99_ms: at(0.99), worst_ms: at(1) };
}
