/**
 * Compiles AssemblyScript (the folders called assembly) to WebAssembly in dist, for `npm run build`. A module that is
 * newer than all it is made of stays.
 */
import { execFile } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const src = dirname(fileURLToPath(import.meta.url));
const root = dirname(src);
const asc = join(dirname(createRequire(import.meta.url).resolve('assemblyscript/package.json')), 'bin/asc.js');

/** What is made from which folder, with which options beside those of asconfig.json. */
const modules = [
  ['kernels/simd', 'kernels', []],
  ['kernels/fma', 'kernels', ['--enable', 'relaxed-simd']],
  ['kernels/wide', 'kernels', ['--enable', 'relaxed-simd', '--use', 'WIDE=1']],
  ['tensor/json', 'tensor', []],
];

/** @param {string} file */
const changed = (file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;

await Promise.all(
  modules.map(async ([name, folder, options]) => {
    const assembly = join(src, folder, 'assembly');
    const output = join(root, 'dist', `${name}.wasm`);
    const sources = readdirSync(assembly).map((file) => join(assembly, file));
    const inputs = [...sources, join(src, 'asconfig.json'), join(root, 'package.json'), fileURLToPath(import.meta.url)];
    if (inputs.every((file) => changed(file) < changed(output))) return;
    const config = ['--config', join(src, 'asconfig.json')];
    await promisify(execFile)(process.execPath, [asc, join(assembly, 'index.ts'), ...config, ...options, '-o', output]);
  }),
).catch(({ stderr, message }) => {
  process.stderr.write(`${stderr || message}\n`);
  process.exit(1);
});
