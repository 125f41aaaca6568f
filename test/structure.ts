import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { alignedTable } from './table.js';

/** The structure of src, read off its imports, of types, too. `npm run structure` prints it. */

const src = fileURLToPath(new URL('../src', import.meta.url));

/** All files but the AssemblyScript ones, which are modules of their own. */
export const files: readonly string[] = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts') && !file.includes('assembly/'))
  .sort();

/** The names that a file imports, as it writes them. */
export function importsOf(file: string): string[] {
  return importsIn(join(src, file));
}

export function importsIn(path: string): string[] {
  return [...readFileSync(path, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(([, name]) => name);
}

/** Those of them that are ours, as files of src. */
export function ownImportsOf(file: string): string[] {
  const own = importsOf(file).filter((name) => name.startsWith('.'));
  return own.map((name) => relative(src, join(src, dirname(file), name)).replace(/\.js$/, '.ts'));
}

/** The folder of a file: 'compute/pool', or '.'. */
export function folderOf(file: string): string {
  return dirname(file);
}

/** Every circle of imports, as the files on it; none is found twice. */
export function circles(): string[][] {
  const found: string[][] = [];
  const done = new Set<string>();
  const walk = (file: string, path: string[]): void => {
    const start = path.indexOf(file);
    if (start >= 0) found.push([...path.slice(start), file]);
    if (start >= 0 || done.has(file)) return;
    for (const next of ownImportsOf(file)) walk(next, [...path, file]);
    done.add(file);
  };
  for (const file of files) walk(file, []);
  return found;
}

interface Folder {
  readonly name: string;
  readonly files: readonly string[];
  readonly lines: number;
  readonly longest: string;
  readonly arrows: readonly string[];
}

function folders(): Folder[] {
  const lines = new Map(files.map((file) => [file, readFileSync(join(src, file), 'utf8').split('\n').length - 1]));
  const linesOf = (file: string) => lines.get(file) ?? 0;
  return [...new Set(files.map(folderOf))].sort().map((name) => {
    const inside = files.filter((file) => folderOf(file) === name);
    const [longest] = inside.toSorted((one, other) => linesOf(other) - linesOf(one));
    const targets = new Set(inside.flatMap(ownImportsOf).map(folderOf));
    targets.delete(name);
    return {
      name,
      files: inside,
      lines: inside.reduce((sum, file) => sum + linesOf(file), 0),
      longest: `${longest.slice(longest.lastIndexOf('/') + 1)} ${linesOf(longest)}`,
      arrows: [...targets].sort(),
    };
  });
}

/** Folders, files, lines and arrows, for people. */
export function report(): string {
  const all = folders();
  const table = alignedTable(all, {
    folder: ({ name }) => name,
    files: ({ files }) => files.length,
    lines: ({ lines }) => lines,
    'longest file': ({ longest }) => longest,
    'imports from': ({ arrows }) => arrows.join(' '),
  });
  const lines = all.reduce((sum, { lines }) => sum + lines, 0);
  const found = circles().map((circle) => circle.join(' → '));
  return [table, '', `${files.length} files, ${lines} lines, ${found.length} circles`, ...found].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(`${report()}\n`);
