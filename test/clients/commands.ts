import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const here = fileURLToPath(new URL('.', import.meta.url));
export const root = join(here, '../..');

/** Where commands are looked for: those of the project, those that `npm run clients` installs, those of the machine. */
export const PATH = [
  join(root, 'node_modules/.bin'),
  join(here, 'linters/node_modules/.bin'),
  join(here, 'typescript/node_modules/.bin'),
  join(here, 'go/bin'),
  join(here, 'python/.venv/bin'),
  ...(process.env.PATH ?? '').split(delimiter),
];

export function isCommand(name: string): boolean {
  return PATH.some((folder) => existsSync(join(folder, name)));
}

/** A file beside this one, or a command. */
export function isHere(need: string): boolean {
  return existsSync(join(here, need)) || isCommand(need);
}

/** Runs a command line, which may fetch nothing and tell nobody; a failure shows what it printed. */
export function shell(cwd: string, command: string): string {
  const env = {
    ...process.env,
    PATH: PATH.join(delimiter),
    GOPROXY: 'off',
    GOTOOLCHAIN: 'local',
    REDOCLY_TELEMETRY: 'off',
    REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true',
  };
  const { status, stdout, stderr } = spawnSync(command, { shell: true, cwd, env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command}\n${stdout}${stderr}`);
  return stdout;
}
