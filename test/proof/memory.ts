import { mebibytes, residentBytes } from '../bench/process.js';

/** What a process has resident, once a second. */
export interface Memory {
  readonly every_s: number;
  readonly mib: readonly number[];
  /**
   * The least in each quarter of the time: what stays when garbage is collected, which on a busy machine is seldom.
   * The first two are warm-up.
   */
  readonly quarters_mib: readonly number[];
  readonly level: boolean;
}

const EVERY_MS = 1000;
/** What the last quarter may be above the one before: a share of it, and pages that come and go. */
const SHARE = 0.05;
const SLACK_MIB = 16;

export function watchMemory(pid: number): { stop(): Memory } {
  const mib: number[] = [];
  const sample = () => mib.push(mebibytes(residentBytes(pid)));
  sample();
  const timer = setInterval(sample, EVERY_MS);
  return {
    stop() {
      clearInterval(timer);
      sample();
      const quarters = [0, 1, 2, 3].map((i) => {
        return Math.min(...mib.slice(Math.floor((i * mib.length) / 4), Math.ceil(((i + 1) * mib.length) / 4)));
      });
      const level = quarters[3] <= quarters[2] * (1 + SHARE) + SLACK_MIB;
      return { every_s: EVERY_MS / 1000, mib, quarters_mib: quarters, level };
    },
  };
}

/** What docker/README.md promises: for the process, for each worker, and what the settings allow. */
export function ceilingMib(settings: { MEMORY_LIMIT: number; CACHE_LIMIT: number; WORKERS: number }): number {
  return 150 + 200 * settings.WORKERS + (settings.MEMORY_LIMIT + settings.CACHE_LIMIT) / 2 ** 20;
}

const PEAK_EVERY_MS = 20;

/** The most that a process has resident from now on, in MiB. */
export function watchPeak(pid: number): { stop(): number } {
  let peak = 0;
  const sample = () => {
    peak = Math.max(peak, mebibytes(residentBytes(pid)) || 0);
  };
  sample();
  const timer = setInterval(sample, PEAK_EVERY_MS);
  return {
    stop() {
      clearInterval(timer);
      return peak;
    },
  };
}
