import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { problemKinds } from '../src/http/problems.js';
import type { Operation } from '../src/operations/operation.js';
import { operations } from '../src/operations/operations.js';
import { configSchema } from '../src/settings/config.js';
import { askText } from './ask.js';
import { calls } from './calls.js';
import { type Started, start } from './http/start.js';
import { builds } from './kernels/builds.js';

const read = (file: string) => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');
const readme = read('README.md');
const operators = read('docker/README.md');

let service: Started;
beforeAll(async () => {
  service = await start();
});
afterAll(() => service.stop());

describe('the README', () => {
  it.each(builds.map((kernels) => ({ tier: kernels.tier, kernels })))(
    'shows answers that are the same on $tier kernels',
    ({ kernels }) => {
      for (const { path, body, printed } of calls) {
        const { id } = operations.find((operation) => operation.path === path) as Operation;
        expect(askText(id, JSON.parse(body), kernels)).toBe(printed);
      }
    },
  );

  it('shows calls whose answers are exactly those printed below them', async () => {
    expect(calls).toHaveLength(2);
    for (const { path, body, printed } of calls) {
      const headers = { 'content-type': 'application/json' };
      const answer = await fetch(service.url + path, { method: 'POST', headers, body });
      expect(await answer.text()).toBe(printed);
    }
  });

  it('and docker/README.md have the settings as the schema has them', () => {
    const ofTheMachine: Record<string, string> = {
      WORKERS: 'one for each CPU that the process may use',
      MEMORY_LIMIT: 'half of the memory that the process may use',
    };
    const rows = Object.entries(configSchema.properties).map(([name, property]) => {
      const { description, default: value } = property as { description?: string; default?: unknown };
      const shown = ofTheMachine[name] ?? (value === '' ? 'none' : `\`${value}\``);
      return `| \`${name}\` | ${shown} | ${description} |`;
    });
    expect(operators).toContain(`${['| --- | --- | --- |', ...rows].join('\n')}\n\n`);
    const [, shown] = /## Settings\n([\s\S]+?)\n## /.exec(readme) ?? [];
    for (const [, name] of shown.matchAll(/`([A-Z_]+)`/g)) expect(configSchema.properties).toHaveProperty(name);
  });

  it('lists every operation and every error', () => {
    for (const { path } of operations) expect(readme).toContain(`| \`${path}\` |`);
    const statuses = new Map<number, string[]>();
    for (const [code, { status }] of Object.entries(problemKinds)) {
      statuses.set(status, [...(statuses.get(status) ?? []), code]);
    }
    for (const [status, codes] of statuses) expect(readme).toContain(`| ${status} | ${codes.join(', ')} |`);
  });

  it.each(['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'docker/README.md', 'openapi/README.md'])(
    'and others link to files that exist: %s',
    (file) => {
      const folder = new URL(`../${file}`, import.meta.url);
      for (const [, target] of read(file).matchAll(/\]\((?!http)([^)]+)\)/g)) {
        expect(existsSync(new URL(target, folder)), target).toBe(true);
      }
    },
  );

  it('names npm scripts that exist, and CONTRIBUTING a reason for every dependency', () => {
    const { scripts, dependencies } = JSON.parse(read('package.json'));
    for (const [, name] of (readme + operators + read('CONTRIBUTING.md')).matchAll(/npm run ([\w:]+)/g))
      expect(scripts).toHaveProperty(name);
    const contributing = read('CONTRIBUTING.md');
    for (const name of Object.keys(dependencies)) expect(contributing).toContain(name);
  });
});
