import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { usableCpus } from '../../src/settings/cpus.js';

let system = '';
afterEach(() => rmSync(system, { recursive: true, force: true }));

/** A file system with these files. */
function machine(files: Record<string, string>): string {
  system = mkdtempSync(join(tmpdir(), 'unroll-cpus-'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(system, name)), { recursive: true });
    writeFileSync(join(system, name), `${text}\n`);
  }
  return system;
}

describe('the CPUs that the process may use', () => {
  const all = availableParallelism();

  it('are all that the system gives, where there is no limit', () => {
    expect(usableCpus(machine({}))).toBe(all);
    expect(usableCpus(machine({ 'proc/self/cgroup': '0::/', 'sys/fs/cgroup/cpu.max': 'max 100000' }))).toBe(all);
  });

  it.each([
    ['100000 100000', 1],
    ['50000 100000', 1],
    ['199999 100000', 1],
    ['100000000 100000', all],
  ])('follow the quota %s of a control group', (quota, cpus) => {
    expect(usableCpus(machine({ 'proc/self/cgroup': '0::/', 'sys/fs/cgroup/cpu.max': quota }))).toBe(cpus);
  });

  it('are those of the least quota on the way up', () => {
    const files = { 'proc/self/cgroup': '0::/a/b', 'sys/fs/cgroup/a/cpu.max': '100000 100000' };
    expect(usableCpus(machine({ ...files, 'sys/fs/cgroup/a/b/cpu.max': 'max 100000' }))).toBe(1);
  });

  it('are found where the name of the group holds a colon', () => {
    const files = { 'proc/self/cgroup': '0::/a.slice:cri:b', 'sys/fs/cgroup/a.slice:cri:b/cpu.max': '100000 100000' };
    expect(usableCpus(machine(files))).toBe(1);
  });

  it('follow the older kind of control groups, too', () => {
    const files = {
      'proc/self/cgroup': '4:memory:/c\n3:cpu,cpuacct:/c',
      'sys/fs/cgroup/cpu/c/cpu.cfs_period_us': '1000',
    };
    expect(usableCpus(machine({ ...files, 'sys/fs/cgroup/cpu/c/cpu.cfs_quota_us': '1000' }))).toBe(1);
    rmSync(system, { recursive: true, force: true });
    expect(usableCpus(machine({ ...files, 'sys/fs/cgroup/cpu/c/cpu.cfs_quota_us': '-1' }))).toBe(all);
  });
});
