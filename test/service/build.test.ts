import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

/** When `npm run build` runs which compiler: in a copy of the sources, with compilers that only write down their call. */

const root = mkdtempSync(join(tmpdir(), 'unroll-build-'));
afterAll(() => rmSync(root, { recursive: true }));

function write(file: string, text: string): void {
  mkdirSync(dirname(join(root, file)), { recursive: true });
  writeFileSync(join(root, file), text);
}

beforeAll(() => {
  for (const name of ['src', 'package.json', 'package-lock.json', 'tsconfig.json']) {
    cpSync(name, join(root, name), { recursive: true });
  }
  write('node_modules/typescript/package.json', '{"type":"module"}');
  write(
    'node_modules/typescript/bin/tsc',
    `import { appendFileSync, cpSync, readdirSync, readFileSync } from 'node:fs';
    appendFileSync('calls', 'typescript\\n');
    for (const file of readdirSync('src', { recursive: true })) {
      if (file.endsWith('.ts')) cpSync('src/' + file, 'dist/' + file.replace(/ts$/, 'js'));
    }
    if (readFileSync('src/main.ts', 'utf8').includes('mistake')) throw new Error('a mistake');`,
  );
  write('node_modules/@fastify/swagger-ui/package.json', '{}');
  for (const file of ['swagger-ui.css', 'swagger-ui-bundle.js'])
    write(`node_modules/@fastify/swagger-ui/static/${file}`, '');
  write('node_modules/assemblyscript/package.json', '{"type":"module"}');
  write(
    'node_modules/assemblyscript/bin/asc.js',
    `import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
    import { dirname } from 'node:path';
    const output = process.argv.at(-1);
    appendFileSync('calls', output.slice(output.indexOf('dist/') + 5) + '\\n');
    mkdirSync(dirname(output), { recursive: true });
    writeFileSync(output, '');`,
  );
});

const KERNELS = ['kernels/fma.wasm', 'kernels/simd.wasm', 'kernels/wide.wasm'];
const ALL = ['formats/json/codec.wasm', ...KERNELS, 'typescript'];

/** Builds, and tells what was compiled. */
function build(): string[] {
  write('calls', '');
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: 'pipe' });
  return calls();
}

const calls = () => readFileSync(join(root, 'calls'), 'utf8').split('\n').filter(Boolean).sort();
const append = (file: string, text: string) => appendFileSync(join(root, file), text);

it('what is built is not built again, only because its files are newer', () => {
  expect(build()).toEqual(ALL);
  expect(build()).toEqual([]);
  for (const file of ['src/main.ts', 'src/formats/json/assembly/read.ts', 'package-lock.json']) {
    utimesSync(join(root, file), new Date(), new Date());
  }
  expect(build()).toEqual([]);
});

it.each([
  ['src/tensor/tensor.ts', ['typescript']],
  ['src/http/another.ts', ['typescript']],
  ['tsconfig.json', ['typescript']],
  ['src/formats/json/assembly/write.ts', ['formats/json/codec.wasm']],
  ['src/kernels/assembly/another.ts', KERNELS],
  ['src/kernels/panel.ts', [...KERNELS, 'typescript']],
  ['src/formats/json/limits.ts', ['formats/json/codec.wasm', 'typescript']],
  ['src/asconfig.json', ['formats/json/codec.wasm', ...KERNELS]],
  ['src/build.js', ALL],
  ['package-lock.json', ALL],
])('a change of %s builds %j', (file, expected) => {
  append(file, '\n');
  expect(build()).toEqual(expected);
  expect(build()).toEqual([]);
});

it('the files of the pages are copied, and copied again when one has changed', () => {
  append('src/http/pages/static/style.css', '/* another */');
  append('node_modules/@fastify/swagger-ui/static/swagger-ui.css', '/* newer */');
  expect(build()).toEqual([]);
  const copied = (file: string) => readFileSync(join(root, 'dist/http/pages/static', file), 'utf8');
  expect(copied('style.css')).toMatch(/another \*\/$/);
  expect(copied('swagger-ui.css')).toBe('/* newer */');
  rmSync(join(root, 'dist/http/pages/static/mark.svg'));
  expect(build()).toEqual([]);
  expect(copied('mark.svg')).toContain('<svg');
});

it('a change is noticed even if the file is older than what was built', () => {
  append('src/main.ts', '\n');
  utimesSync(join(root, 'src/main.ts'), new Date(0), new Date(0));
  expect(build()).toEqual(['typescript']);
});

it.each([
  ['http/app.js', ['typescript']],
  ['kernels/fma.wasm', ['kernels/fma.wasm']],
  ['built.json', ALL],
  ['.', ALL],
])('without dist/%s, %j is built', (file, expected) => {
  rmSync(join(root, 'dist', file), { recursive: true });
  expect(build()).toEqual(expected);
});

it('a build that fails is tried again, and the old sources are built again as well', () => {
  const { size } = statSync(join(root, 'src/main.ts'));
  const before = readFileSync(join(root, 'src/main.ts'), 'utf8');
  append('src/main.ts', '// mistake\n');
  for (let attempt = 0; attempt < 2; attempt++) {
    expect(build).toThrow('a mistake');
    expect(calls()).toEqual(['typescript']);
  }
  write('src/main.ts', before);
  expect(build()).toEqual(['typescript']);
  expect(statSync(join(root, 'dist/main.js')).size).toBe(size);
});
