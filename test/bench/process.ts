import { readFileSync, writeFileSync } from 'node:fs';

/** What Linux tells of other processes. */

/** Linux counts processor time of processes in ticks of this length. */
const TICK_MS = 10;

/** Processor time of a process so far, all its threads, in milliseconds; NaN where there is no /proc. */
export function cpuMs(pid: number): number {
  const stat = read(`/proc/${pid}/stat`);
  // The second field is the name in parentheses and may hold spaces: count from its end. utime is field 14.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[14 - 3]) + Number(fields[15 - 3])) * TICK_MS;
}

/** Memory that a process has resident, in bytes. */
export function residentBytes(pid: number): number {
  return statusBytes(pid, 'VmRSS');
}

/** The most that it has had since `beginPeak`. */
export function peakBytes(pid: number): number {
  return statusBytes(pid, 'VmHWM');
}

/** From now on the peak is what is resident now, where the system allows it. */
export function beginPeak(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
  } catch {
    // Then it is the peak of all time.
  }
}

export function mebibytes(bytes: number): number {
  return Math.round((bytes / 2 ** 20) * 10) / 10;
}

function statusBytes(pid: number, field: string): number {
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(read(`/proc/${pid}/status`))?.[1]) * 1024;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
