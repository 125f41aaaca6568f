import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

it.runIf(process.platform === 'linux')(
  'the CPUs that the process may use are no more than those that it is bound to',
  () => {
    const [first] = /(?<=^Cpus_allowed_list:\s+)\d+/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
    const print = `import('${new URL('../../../dist/settings/cpus.js', import.meta.url)}').then((cpus) => console.log(cpus.usableCpus()))`;
    const { stdout } = spawnSync('taskset', ['-c', `${first}`, process.execPath, '-e', print], { encoding: 'utf8' });
    expect(stdout).toBe('1\n');
  },
);
