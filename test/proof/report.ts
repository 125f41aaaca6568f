import { quantile, rounded } from '../bench/statistics.js';
import type { Tally } from './load.js';

/** Something the service promises, and what was seen of it. */
export interface Finding {
  readonly promise: string;
  readonly kept: boolean;
  readonly seen: string;
}

export function finding(promise: string, kept: boolean, seen: string | number | object): Finding {
  return { promise, kept, seen: typeof seen === 'object' ? JSON.stringify(seen) : String(seen) };
}

/** Figures of a run for people and programs; the names stay as they are. */
export function figuresOf({ latencies, incidents, ...tally }: Tally) {
  const sorted = latencies.toSorted((a, b) => a - b);
  return {
    ...tally,
    seconds: rounded(tally.seconds),
    right_per_s: rounded(tally.right / tally.seconds),
    ...(sorted.length > 0 && { p50_ms: rounded(quantile(sorted, 0.5)), p99_ms: rounded(quantile(sorted, 0.99)) }),
    incidents: incidents.slice(0, 5),
  };
}

export function total(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** What holds in every run: no answer is mixed up or changed, and who is turned away is told when to come back. */
export function findingsOf({ wrong, withoutRetryAfter, incidents }: Tally): Finding[] {
  const wrongOnes = incidents.filter(({ kind }) => kind === 'wrong').map(({ detail }) => detail);
  return [
    finding('no wrong answer', wrong === 0, wrong === 0 ? 0 : { wrong, such_as: wrongOnes.slice(0, 3) }),
    finding('429 and 503 carry Retry-After', withoutRetryAfter === 0, `${withoutRetryAfter} without`),
  ];
}

/** No answer was lost, and none was a failure of the service. */
export function untouched(tally: Tally, who = 'everybody'): Finding[] {
  const { failed, broken } = tally;
  return [
    finding(`no 5xx but 503 and 504 for ${who}`, total(failed) === 0, failed),
    finding(`every request of ${who} is answered`, total(broken) === 0, broken),
  ];
}

/** Prints what was found, a line of JSON and a line for each promise; were all of them kept? */
export function print(name: string, figures: object, findings: readonly Finding[]): boolean {
  const kept = findings.every((one) => one.kept);
  console.log(JSON.stringify({ proof: name, kept, ...figures, findings }));
  for (const { promise, kept, seen } of findings) console.log(`  ${kept ? 'kept  ' : 'BROKEN'} ${promise}: ${seen}`);
  return kept;
}
