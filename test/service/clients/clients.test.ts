import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { calls } from '../../calls.js';
import { clients } from '../../clients/clients.js';
import { here, isHere, root, shell } from '../../clients/commands.js';
import { type Service, startService } from '../process.js';

const documentation = readFileSync(join(root, 'openapi/README.md'), 'utf8');
const manifests = ['typescript/package.json', 'go/go.mod', 'python/requirements.in']
  .map((file) => readFileSync(join(here, file), 'utf8'))
  .join('\n');
/** In its commands: a package of npm or PyPI, or a command of a Go module, with its version. */
const PINNED = /([\w@/.-]+?)(?:\/cmd\/\S+?)?(?:@v?|==)(\d+\.\d+\.\d+)/g;

let service: Service;
let withoutStore: Service;
beforeAll(async () => {
  [service, withoutStore] = await Promise.all([
    startService({ WORKERS: '1' }),
    startService({ WORKERS: '1', CACHE_URL: 'redis://127.0.0.1:1' }), // where nothing listens
  ]);
});
afterAll(async () => {
  await Promise.all([service.stop(), withoutStore.stop()]);
});

describe.each(clients)('$name', ({ name, folder, program, needs, generate, compile, run }) => {
  const missing = needs.filter((need) => !isHere(need));
  if (missing.length > 0) console.info(`${name} is not tested: ${missing.join(', ')} is not here (npm run clients)`);
  const home = join(here, folder);

  it.skipIf(missing.length > 0 && process.env.CI !== 'true')(
    'is generated and compiled, gets numbers to the last bit, errors and Retry-After',
    { timeout: 300_000 },
    async () => {
      expect(missing, 'what is not here').toEqual([]);
      const output = join(home, 'unroll');
      rmSync(output, { recursive: true, force: true });
      mkdirSync(output);
      shell(root, generate.replaceAll('./unroll', relative(root, output)));
      if (compile) shell(home, compile);
      const answers = JSON.parse(shell(home, `${run} ${service.url} ${withoutStore.url}`));

      const [forward, backward] = await Promise.all(calls.map(answerTo));
      expect(answers).toMatchObject({
        refused: { code: 'shape-mismatch', pointer: '/parameters/Wax' },
        unavailable: { code: 'cache-unavailable', retryAfter: expect.stringMatching(/^[1-9]\d*$/) },
      });
      expect(answers.forward).toEqual(forward);
      for (const way of ['fromInputs', 'fromInline', 'fromStored']) expect(answers[way], way).toEqual(backward);
    },
  );

  it('is in openapi/README.md as it is tested', () => {
    const section = documentation.split(/^##+ /m).find((text) => text.startsWith(`${name}\n`)) ?? '';
    expect(section).toContain(generate);
    const source = unindented(readFileSync(join(home, program), 'utf8'));
    const snippet = /```(?!sh)\w+\n([\s\S]+?)\n```/.exec(section)?.[1] ?? 'a snippet';
    for (const paragraph of snippet.split(/\n{2,}/)) expect(source).toContain(unindented(paragraph));
    for (const [, generator, version] of section.matchAll(PINNED)) {
      expect(manifests).toMatch(new RegExp(`^\\W*${generator}\\W+v?${version}\\b`, 'm'));
    }
  });
});

async function answerTo({ path, body }: (typeof calls)[number]): Promise<unknown> {
  const headers = { 'content-type': 'application/json' };
  return (await fetch(service.url + path, { method: 'POST', headers, body })).json();
}

function unindented(code: string): string {
  return code.replace(/^\s+/gm, '');
}
