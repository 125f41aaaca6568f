import { configDefaults, defineConfig } from 'vitest/config';
import { Retries } from './retries.js';

const NODE = Number.parseInt(process.versions.node, 10);

/** Tests of the service as a process, and of what runs beside it: `npm run test:service`. */
const SERVICE = 'test/service/**/*.test.ts';

/** Those of them that measure how fast the service answers, or that need both processors: one file after the other. */
const ALONE = [
  'test/service/{log,main,rolling}.test.ts',
  'test/service/compute/{faults,pool}.test.ts',
  'test/service/docker/balancer-limits.test.ts', // HAProxy resets some clients that still send
  'test/service/http/{admission,caches,fuzz}.test.ts',
];

/** Tests with random cases, of which `npm test` tries a quarter (`cases.ts`): here all of them are tried. */
const RANDOM = [
  'test/engine/{central-differences,float32}.test.ts',
  'test/operations/operations.test.ts',
  'test/formats/json/{codec,float32,fuzz,reader}.test.ts',
  'test/formats/safetensors.test.ts',
  'test/http/caches.test.ts',
];

export default defineConfig({
  test: {
    globalSetup: 'test/build.ts',
    reporters: ['default', new Retries()],
    // Node 20 has fused multiply-add behind a flag, Node 26 the fusion of vectors: so these builds are tested there, too.
    execArgv: NODE < 22 ? ['--experimental-wasm-relaxed-simd'] : NODE >= 26 ? ['--experimental-wasm-revectorize'] : [],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: '100%', // by default one processor is left idle
    projects: [
      {
        extends: true,
        test: {
          name: 'in-process',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, SERVICE],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'service',
          include: [SERVICE],
          exclude: [...configDefaults.exclude, ...ALONE],
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'service-all-cases',
          include: RANDOM,
          env: { ALL_CASES: 'true' },
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'service-alone',
          include: ALONE,
          fileParallelism: false,
          retry: 1, // another process of the machine can have come between
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
