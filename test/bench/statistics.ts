/** What is said of repeated measurements of one thing. The median and the tenths are not moved by one bad run. */
export interface Spread {
  readonly count: number;
  readonly min: number;
  readonly p10: number;
  readonly median: number;
  readonly p90: number;
  readonly max: number;
}

export function spread(measurements: readonly number[]): Spread {
  const sorted = measurements.toSorted((a, b) => a - b);
  return {
    count: sorted.length,
    min: sorted[0],
    p10: quantile(sorted, 0.1),
    median: quantile(sorted, 0.5),
    p90: quantile(sorted, 0.9),
    max: sorted[sorted.length - 1],
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
