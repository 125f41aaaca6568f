import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Path of a file of the project. */
export const pathOf = (file: string) => fileURLToPath(new URL(`../../../${file}`, import.meta.url));
export const read = (file: string) => readFileSync(pathOf(file), 'utf8');

/** The environment that the image sets. */
export function imageEnvironment(): Record<string, string> {
  const line = /^ENV (.*)$/m.exec(read('Dockerfile'))?.[1] ?? '';
  return Object.fromEntries(line.split(' ').map((pair) => pair.split('=')));
}

const UNITS: Record<string, number> = {
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  kb: 2 ** 10,
  mb: 2 ** 20,
  gb: 2 ** 30,
};

/** "4Gi" (Kubernetes), "4G" (compose) and "4gb" (Redis) in bytes. */
export function bytes(text: string): number {
  const [, number, unit] = /^(\d+)(\w*)$/.exec(text) ?? [];
  const factor = unit === '' ? 1 : UNITS[unit];
  if (factor === undefined) throw new Error(`${text} is no amount of memory that this test knows`);
  return Number(number) * factor;
}

/** What an instance takes of this memory at most, as docker/README.md says under "Limits". */
export function mostMemory(memory: number, workers: number, cacheLimit: number): number {
  const [, ofProcess, ofWorker] =
    /`MEMORY_LIMIT` \+ (\d+) MiB for the process \+ (\d+) MiB for each worker/.exec(read('docker/README.md')) ?? [];
  return memory / 2 + (Number(ofProcess) + workers * Number(ofWorker)) * 2 ** 20 + cacheLimit;
}
