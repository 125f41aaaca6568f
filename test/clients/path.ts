import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const here = fileURLToPath(new URL('.', import.meta.url));
export const root = join(here, '../..');

/** Where commands are looked for: those of the project, those that `npm run clients` installs, those of the machine. */
export const PATH = [
  join(root, 'node_modules/.bin'),
  join(here, 'typescript/node_modules/.bin'),
  join(here, 'go/bin'),
  join(here, 'python/.venv/bin'),
  ...(process.env.PATH ?? '').split(delimiter),
];

export function isCommand(name: string): boolean {
  return PATH.some((folder) => existsSync(join(folder, name)));
}
