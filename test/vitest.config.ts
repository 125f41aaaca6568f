import { configDefaults, defineConfig } from 'vitest/config';

const NODE = Number.parseInt(process.versions.node, 10);

/** What measures how fast the service answers, or needs both processors, runs one file after the other. */
const ALONE = [
  'test/{log,main,rolling}.test.ts',
  'test/compute/pool/{faults,pool}.test.ts',
  'test/docker/balancer-limits.test.ts', // HAProxy resets some clients that still send
  'test/http/{admission,caches,fuzz,metrics,pipelining,service}.test.ts',
];

export default defineConfig({
  test: {
    globalSetup: 'test/build.ts',
    // Node 20 has fused multiply-add behind a flag, Node 26 the fusion of vectors: so these builds are tested there, too.
    execArgv: NODE < 22 ? ['--experimental-wasm-relaxed-simd'] : NODE >= 26 ? ['--experimental-wasm-revectorize'] : [],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'together',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...ALONE],
          maxWorkers: '100%', // by default one processor is left idle
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: ALONE,
          fileParallelism: false,
          retry: 1, // another process of the machine can have come between
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
