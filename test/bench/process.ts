import { readFileSync } from 'node:fs';

/** Linux counts processor time of processes in ticks of this length. */
const TICK_MS = 10;

/** Processor time of a process so far, all its threads, in milliseconds; undefined where there is no /proc. */
export function cpuMs(pid: number): number | undefined {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The second field is the name in parentheses and may hold spaces: count from its end. utime is field 14.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[14 - 3]) + Number(fields[15 - 3])) * TICK_MS;
}

/** The most memory a process has had resident, in MiB; undefined where there is no /proc. */
export function peakMemoryMiB(pid: number): number | undefined {
  const kibibytes = /VmHWM:\s+(\d+)/.exec(read(`/proc/${pid}/status`) ?? '')?.[1];
  return kibibytes === undefined ? undefined : Number(kibibytes) / 1024;
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return undefined;
  }
}
