import type { Metric, Registry } from 'prom-client';
import { amount } from '../../compute/amount.js';

/** Upper bounds of the buckets in seconds: from a tenth of a millisecond to the default of DEADLINE_LIMIT. */
export const BOUNDS: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300,
  600,
];

/** What was observed with one set of labels. */
export interface Observations {
  readonly labels: Readonly<Record<string, string>>;
  /** How many fell below each bound and above the one before; the last of them above all bounds. */
  readonly counts: Float64Array;
  sum: number;
}

export function observations(labels: Readonly<Record<string, string>>): Observations {
  return { labels, counts: new Float64Array(BOUNDS.length + 1), sum: 0 };
}

export function observe(into: Observations, seconds: number): void {
  into.sum += amount('what is observed', seconds);
  let bucket = 0;
  while (seconds > BOUNDS[bucket]) bucket++;
  into.counts[bucket]++;
}

/**
 * Registers a histogram of observations that are kept here. prom-client's own looks its labels up at every
 * observation, which would cost a tiny request a twentieth of its time.
 *
 * @param series read at each scrape; what was never observed is left out
 */
export function registerHistogram(
  registry: Registry,
  name: string,
  help: string,
  series: readonly Observations[],
): void {
  const get = async () => {
    const values = series
      .filter(({ counts }) => counts.some((count) => count > 0))
      .flatMap((one) => valuesOf(name, one));
    return { name, help, type: 'histogram', aggregator: 'sum', values };
  };
  registry.registerMetric({ name, get, reset: () => {} } as unknown as Metric);
}

function valuesOf(name: string, { labels, counts, sum }: Observations): object[] {
  let count = 0;
  const buckets = [...BOUNDS, '+Inf'].map((le, i) => {
    count += counts[i];
    return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: count };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ];
}
