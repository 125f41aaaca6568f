import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';

/**
 * How many CPUs the process may keep busy: those that the system lets it run on, and no more than the quota of its
 * control group (a container's limit, without its fraction of a CPU).
 *
 * @param system where the file system of the machine begins
 */
export function usableCpus(system = '/'): number {
  return Math.max(1, Math.floor(Math.min(availableParallelism(), quota(system))));
}

/** The least quota of the control groups that the process is in, in CPUs. Linux; elsewhere there is none. */
function quota(system: string): number {
  const groups = read(join(system, 'proc/self/cgroup'))?.split('\n') ?? [];
  let least = Number.POSITIVE_INFINITY;
  for (const group of groups) {
    const [, controllers, ...rest] = group.split(':');
    const path = rest.join(':') || '/'; // which may hold colons
    const isVersion2 = controllers === '';
    if (!isVersion2 && !controllers?.split(',').includes('cpu')) continue;
    const root = join(system, 'sys/fs/cgroup', isVersion2 ? '' : 'cpu');
    // Each group is held by those above it; in a container only the innermost may be visible, as the root.
    for (let folder = path; ; folder = dirname(folder)) {
      least = Math.min(least, isVersion2 ? quota2(join(root, folder)) : quota1(join(root, folder)));
      if (folder === '/' || folder === '.') break;
    }
  }
  return least;
}

/** "150000 100000": microseconds of processor time in so many microseconds; "max": no limit. */
function quota2(folder: string): number {
  const [most, period] = (read(join(folder, 'cpu.max')) ?? 'max').split(' ');
  return most === 'max' ? Number.POSITIVE_INFINITY : Number(most) / Number(period);
}

/** The same in two files; −1: no limit. */
function quota1(folder: string): number {
  const most = Number(read(join(folder, 'cpu.cfs_quota_us')) ?? -1);
  return most < 0 ? Number.POSITIVE_INFINITY : most / Number(read(join(folder, 'cpu.cfs_period_us')) ?? 100_000);
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'latin1').trim();
  } catch {
    return undefined;
  }
}
