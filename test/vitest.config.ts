import { defineConfig } from 'vitest/config';

const NODE = Number.parseInt(process.versions.node, 10);

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/build.ts',
    // Node 20 has fused multiply-add behind a flag, Node 26 the fusion of vectors: so these builds are tested there, too.
    execArgv: NODE < 22 ? ['--experimental-wasm-relaxed-simd'] : NODE >= 26 ? ['--experimental-wasm-revectorize'] : [],
    // One file after the other: some measure how fast the service answers.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
