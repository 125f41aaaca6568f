/** What is said of repeated measurements of one thing. The median and the tenths are not moved by one bad run. */
export interface Spread {
  readonly count: number;
  readonly p10: number;
  readonly median: number;
  readonly p90: number;
}

export function spread(measurements: readonly number[]): Spread {
  const sorted = measurements.toSorted((a, b) => a - b);
  return {
    count: sorted.length,
    p10: quantile(sorted, 0.1),
    median: quantile(sorted, 0.5),
    p90: quantile(sorted, 0.9),
  };
}

/** The value below which a share `q` of the sorted numbers lies, interpolated between neighbours. */
export function quantile(sorted: readonly number[], q: number): number {
  const at = q * (sorted.length - 1);
  const below = sorted[Math.floor(at)];
  return below + (sorted[Math.ceil(at)] - below) * (at % 1);
}

/** Four digits: more would be noise, and the lines stay short. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

/** The fields of a figure that say how long something took: median_ns, p10_ns, p90_ns, for the unit ns. */
export type Taken<Unit extends string> = Readonly<Record<`${'median' | 'p10' | 'p90'}_${Unit}`, number>> & {
  readonly runs: number;
};

/** @param factor how many of the unit are one of the measurements' own */
export function taken<Unit extends string>({ count, p10, median, p90 }: Spread, unit: Unit, factor = 1): Taken<Unit> {
  return {
    [`median_${unit}`]: rounded(median * factor),
    [`p10_${unit}`]: rounded(p10 * factor),
    [`p90_${unit}`]: rounded(p90 * factor),
    runs: count,
  } as unknown as Taken<Unit>;
}

/** The sum of all numbers: shows that they were computed. */
export function sumOf(numbers: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < numbers.length; i++) sum += numbers[i];
  return sum;
}
