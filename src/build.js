/**
 * Builds dist, for `npm run build`: TypeScript with tsc, AssemblyScript (the folders called assembly) with asc to WebAssembly; the
 * files of the pages are copied.
 * What was built from the same contents stays: dist/built.json has a hash of what each part was made of.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const src = dirname(fileURLToPath(import.meta.url));
const root = dirname(src);
const record = join(root, 'dist', 'built.json');

/** @param {string} packageName @param {string} bin */
const tool = (packageName, bin) =>
  join(dirname(createRequire(import.meta.url).resolve(`${packageName}/package.json`)), bin);

/** Files beside the folder called assembly, which both compilers read. @param {string} file */
const shared = (file) =>
  [...readFileSync(file, 'utf8').matchAll(/from '(\.\.\/.+)'/g)].map(([, path]) => join(dirname(file), `${path}.ts`));

/** @param {string} name @param {string} folder @param {readonly string[]} options */
const wasm = (name, folder, ...options) => {
  const assembly = join(src, folder, 'assembly');
  const output = join(root, 'dist', `${name}.wasm`);
  const config = join(src, 'asconfig.json');
  const sources = readdirSync(assembly).map((file) => join(assembly, file));
  return {
    name,
    inputs: [config, ...sources, ...sources.flatMap(shared)],
    outputs: [output],
    command: [
      tool('assemblyscript', 'bin/asc.js'),
      ...[join(assembly, 'index.ts'), '--config', config, ...options, '-o', output],
    ],
  };
};

const typescript = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter(
  (file) => file.endsWith('.ts') && !/[/\\]assembly[/\\]/.test(file),
);

/** The files of the pages: ours, and Swagger UI's, which @fastify/swagger-ui brings without an install script. */
const pages = join(src, 'http/pages/static');
const files = [
  ...readdirSync(pages).map((file) => join(pages, file)),
  ...['swagger-ui.css', 'swagger-ui-bundle.js'].map((file) => tool('@fastify/swagger-ui', `static/${file}`)),
];
const served = join(root, 'dist/http/pages/static');
const COPY = `const { cpSync } = require('node:fs'), { basename, join } = require('node:path');
const [folder, ...files] = process.argv.slice(1);
for (const file of files) cpSync(file, join(folder, basename(file)));`;

/** What is made of what, by which command line. */
const parts = [
  {
    name: 'typescript',
    inputs: [join(root, 'tsconfig.json'), ...typescript.map((file) => join(src, file))],
    outputs: typescript
      .filter((file) => !file.endsWith('.d.ts'))
      .map((file) => join(root, 'dist', file.replace(/\.ts$/, '.js'))),
    command: [tool('typescript', 'bin/tsc'), '-p', root],
  },
  {
    name: 'pages',
    inputs: files,
    outputs: files.map((file) => join(served, basename(file))),
    command: ['-e', COPY, served, ...files],
  },
  wasm('kernels/simd', 'kernels'),
  wasm('kernels/fma', 'kernels', '--enable', 'relaxed-simd'),
  wasm('kernels/wide', 'kernels', '--enable', 'relaxed-simd', '--use', 'WIDE=1'),
  wasm('formats/json/codec', 'formats/json'),
];

/** Names and contents of the files; the lock file stands for the compilers. @param {readonly string[]} inputs */
function hashOf(inputs) {
  const hash = createHash('sha256');
  for (const file of [join(root, 'package-lock.json'), fileURLToPath(import.meta.url), ...inputs.toSorted()]) {
    const content = readFileSync(file);
    hash.update(`${relative(root, file)} ${content.length}\n`).update(content);
  }
  return hash.digest('hex');
}

/** @param {Record<string, string>} hashes */
function save(hashes) {
  mkdirSync(dirname(record), { recursive: true });
  writeFileSync(`${record}.new`, JSON.stringify(hashes));
  renameSync(`${record}.new`, record);
}

/** @type {Record<string, string>} */
const built = existsSync(record) ? JSON.parse(readFileSync(record, 'utf8')) : {};
const stale = parts
  .map((part) => ({ ...part, hash: hashOf(part.inputs) }))
  .filter(({ name, hash, outputs }) => built[name] !== hash || !outputs.every((file) => existsSync(file)));
if (stale.length > 0) {
  // Saved first: a build that fails or is interrupted leaves outputs that are of neither the old sources nor the new ones.
  for (const { name } of stale) delete built[name];
  save(built);
  const builds = stale.map(async ({ name, hash, command }) => {
    await promisify(execFile)(process.execPath, command, { cwd: root });
    built[name] = hash;
  });
  for (const result of await Promise.allSettled(builds)) {
    if (result.status === 'fulfilled') continue;
    const { stdout, stderr, message } = result.reason;
    process.stderr.write(`${stdout || stderr || message}\n`);
    process.exitCode = 1;
  }
  save(built);
}
