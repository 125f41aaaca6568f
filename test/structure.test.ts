import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { circles, files, folderOf, importsIn, importsOf, ownImportsOf } from './structure.js';

/** What a folder may import from, beside itself: http → compute → plan → operations → engine → kernels; tensor and webassembly are leaves. */
const ARROWS: Record<string, readonly string[]> = {
  '.': ['http', 'compute', 'stores', 'settings'],
  http: ['compute', 'plan', 'stores', 'operations', 'kernels', 'tensor', 'settings', '.'],
  compute: ['plan', 'formats', 'operations', 'kernels', 'tensor'],
  plan: ['formats', 'operations', 'kernels', 'tensor'],
  formats: ['tensor', 'webassembly'],
  operations: ['engine', 'kernels', 'tensor'],
  engine: ['kernels', 'tensor'],
  kernels: ['tensor', 'webassembly'],
  tensor: [],
  webassembly: [],
  stores: [],
  settings: ['kernels'],
};

/** Packages that only one folder may know. */
const OWNERS: Record<string, string> = {
  fastify: 'http',
  '@fastify/': 'http',
  'prom-client': 'http',
  '@opentelemetry/sdk': 'settings',
  '@opentelemetry/exporter': 'settings',
  'env-schema': 'settings',
};

/** The folder of src that a file is in: the rooms of compute count as one. */
const roomOf = (file: string) => folderOf(file).split('/')[0];

it('sees imports of every kind', () => {
  expect(importsOf('main.ts')).toEqual([
    'node:dns/promises',
    'pino',
    './settings/config.js',
    'pino',
    './compute/pool/pool.js',
    './settings/config.js',
    './log.js',
    './settings/telemetry.js',
    './http/app.js',
    './stores/memory.js',
    './settings/redis.js',
    './stores/redis.js',
  ]);
});

it('has no circle, also of types', () => {
  expect(circles()).toEqual([]);
});

it('has a main thread and workers that know nothing of each other but their messages', () => {
  const between = (from: string, to: string) =>
    files.filter((file) => folderOf(file) === from && ownImportsOf(file).some((other) => folderOf(other) === to));
  expect(between('compute/pool', 'compute/worker')).toEqual([]);
  expect(between('compute/worker', 'compute/pool')).toEqual([]);
  expect(between('compute', 'compute/pool')).toEqual([]);
  expect(between('compute', 'compute/worker')).toEqual([]);
});

describe.each(files)('%s', (file) => {
  const folder = roomOf(file);

  it('imports along the arrows only', () => {
    for (const other of ownImportsOf(file)) {
      const target = roomOf(other);
      if (target !== folder) expect(ARROWS[folder], `${file} imports ${other}`).toContain(target);
    }
  });

  it('imports only packages that belong to its folder', () => {
    for (const name of importsOf(file)) {
      const owner = Object.entries(OWNERS).find(([prefix]) => name.startsWith(prefix))?.[1];
      if (owner) expect(folder, `${file} imports ${name}`).toBe(owner);
      if (['engine', 'operations'].includes(folder)) expect(name).toMatch(/^\./);
      // These two read their compiled modules, and the kernels set a flag of V8; nothing else from outside.
      if (['formats', 'kernels', 'tensor'].includes(folder)) expect(name).toMatch(/^\.|^node:(fs|v8)$/);
    }
  });
});

describe('tests that start a process or a server', () => {
  const test = fileURLToPath(new URL('.', import.meta.url));
  const isTest = (file: string) => file.endsWith('.test.ts') && !file.includes('node_modules/');

  /** Does a file start one, itself or by what it imports? */
  function startsOne(file: string): boolean {
    const names = importsIn(file);
    if (names.some((name) => name === 'node:child_process' || name === 'playwright-core')) return true;
    const ours = names.filter((name) => name.startsWith('.')).map((name) => join(dirname(file), name));
    return ours.some((name) => name.startsWith(test) && startsOne(name.replace(/js$/, 'ts')));
  }

  it('are in test/service, and others are not', () => {
    const tests = readdirSync(test, { recursive: true, encoding: 'utf8' }).filter(isTest);
    const starting = tests.filter((file) => startsOne(join(test, file)));
    expect(starting.filter((file) => !file.startsWith('service/'))).toEqual([]);
    expect(starting).toContain('service/main.test.ts');
    expect(starting).toContain('service/rolling.test.ts');
  });
});
