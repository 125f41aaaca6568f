import { configDefaults, defineConfig } from 'vitest/config';

const NODE = Number.parseInt(process.versions.node, 10);

/** What computes and compares: these files run beside each other. The rest may measure how fast the service answers. */
const TOGETHER = ['test/{docker,engine,kernels,operations,tensor}/**/*.test.ts'];

export default defineConfig({
  test: {
    globalSetup: 'test/build.ts',
    // Node 20 has fused multiply-add behind a flag, Node 26 the fusion of vectors: so these builds are tested there, too.
    execArgv: NODE < 22 ? ['--experimental-wasm-relaxed-simd'] : NODE >= 26 ? ['--experimental-wasm-revectorize'] : [],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      { extends: true, test: { name: 'together', include: TOGETHER, sequence: { groupOrder: 0 } } },
      {
        extends: true,
        test: {
          name: 'alone',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...TOGETHER],
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
