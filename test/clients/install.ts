import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { here, isCommand } from './commands.js';

/**
 * What each language needs, beside what is on the machine, to generate and compile clients, and what finds faults in the document:
 * pinned in its folder.
 */
const FOLDERS = [
  { folder: 'linters', tools: ['npm'], command: 'npm ci --ignore-scripts' },
  { folder: 'typescript', tools: ['npm'], command: 'npm ci --ignore-scripts' },
  {
    folder: 'go',
    tools: ['go'],
    command: 'GOBIN="$PWD/bin" go install tool && go build github.com/oapi-codegen/runtime',
  },
  {
    folder: 'python',
    tools: ['python3'],
    command:
      'python3 -m venv .venv && .venv/bin/pip install --quiet --require-hashes --only-binary :all: -r requirements.txt',
  },
  {
    folder: 'java',
    tools: ['mvn', 'javac', 'sha256sum'],
    command: 'mvn --quiet --batch-mode --strict-checksums initialize && sha256sum --quiet --strict --check jars.sha256',
  },
];

// npm run clients: fetches from the registries of the languages that this machine has.
for (const { folder, tools, command } of FOLDERS) {
  const missing = tools.filter((tool) => !isCommand(tool));
  if (missing.length > 0) {
    console.error(`${folder}: ${missing.join(', ')} is not installed`);
    if (process.env.CI === 'true') process.exitCode = 1;
    continue;
  }
  const { status } = spawnSync(command, { shell: true, cwd: join(here, folder), stdio: 'inherit' });
  if (status !== 0) process.exitCode = 1;
}
