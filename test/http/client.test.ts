import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Service, startService } from '../service.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'unroll-client-'));
let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(async () => {
  await service.stop();
  rmSync(folder, { recursive: true });
});

/** What someone would write who has nothing but the generated client. */
const PROGRAM = `
import { Api, type LstmForwardRequest, type Problem } from './unroll.js';

const api = new Api({ baseUrl: process.argv[2] });
const gate = [[0.1, 0.2, 0.3]];
const request: LstmForwardRequest = {
  x: [[[1, 2]], [[3, 4]]],
  a0: [[0]],
  parameters: { Wf: gate, bf: [[0]], Wi: gate, bi: [[0]], Wc: gate, bc: [[0]], Wo: gate, bo: [[0]] },
  caches: 'inline',
};
const forward = await api.v1.lstmForward(request);
const { caches, a } = forward.data;
if (!caches) throw new Error('no caches');
const backward = await api.v1.lstmBackward({ caches, da: a });
const steps: number = backward.data.gradients.dx[0][0].length;

const refused = await api.v1.lstmForward({ ...request, a0: [[0, 0]] }).catch((answer) => answer);
const problem: Problem = refused.error;
console.log(JSON.stringify({ a, steps, code: problem.code }));
`;

/** Runs a command; a failure shows what it printed. */
function run(command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  expect(status, stdout + stderr).toBe(0);
  return stdout;
}

it('a generated TypeScript client compiles and works against the live service', () => {
  execFileSync('npm', ['run', '--silent', 'client', folder], { cwd: root });
  writeFileSync(join(folder, 'program.ts'), PROGRAM);
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  const compilerOptions = {
    strict: true,
    target: 'es2023',
    module: 'nodenext',
    lib: ['es2023', 'dom', 'dom.iterable'],
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
  run(join(root, 'node_modules/.bin/tsc'), '-p', folder);
  const answer = JSON.parse(run('node', join(folder, 'program.js'), service.url));
  expect(answer).toMatchObject({ steps: 2, code: 'shape-mismatch' });
  const gate = 1 / (1 + Math.exp(-1.1)); // 0.1·0 + 0.2·1 + 0.3·3
  expect(answer.a[0][0][0]).toBeCloseTo(gate * Math.tanh(gate * Math.tanh(1.1)), 15);
});
