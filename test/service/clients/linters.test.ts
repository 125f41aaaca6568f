import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { here, isHere, root, shell } from '../../clients/commands.js';

const linters = [
  { name: 'spectral', command: 'spectral lint --ruleset test/clients/linters/spectral.yaml --fail-severity hint' },
  { name: 'redocly', command: 'redocly lint --extends recommended-strict' },
  { name: 'swagger-parser', command: 'node test/clients/linters/swagger-parser.js' },
];

const isInstalled = isHere('linters/node_modules');
if (!isInstalled) console.info('the document is not linted: the linters are not here (npm run clients)');

describe.skipIf(!isInstalled && process.env.CI !== 'true')('the OpenAPI document', () => {
  it.each(linters)('is all right for $name', { timeout: 60_000 }, ({ command }) => {
    expect(isInstalled, 'the linters are here').toBe(true);
    shell(root, `${command} openapi/openapi.json`);
  });

  it.each(linters)('with a fault in it is not so for $name', { timeout: 60_000 }, ({ command }) => {
    expect(() => shell(root, `${command} ${join(here, 'linters/faulty.json')}`)).toThrow(/Dtipe/);
  });
});
