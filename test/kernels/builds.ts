import fc from 'fast-check';
import { type Build, TIERS } from '../../src/kernels/kernels.js';
import { reference } from '../../src/kernels/reference.js';
import { loadSimd } from '../../src/kernels/simd.js';

/** Every build. The compiled modules are those that `npm run build` made. */
export const builds: readonly Build[] = TIERS.map((tier) => (tier === 'scalar' ? reference : loadSimd(tier)));

/** Beside the plain one. */
export const fastBuilds = builds.slice(1);

/** The kernels of every build, for both types of numbers. */
export const allKernels = builds.flatMap((build) =>
  (['float64', 'float32'] as const).map((dtype) => ({ tier: build.tier, dtype, kernels: build[dtype] })),
);

/** Properties that hold on every build draw one for each run, so that builds share the runs. */
export const anyBuild: fc.Arbitrary<Build> = fc
  .constantFrom(...TIERS)
  .map((tier) => ({ ...(builds.find((build) => build.tier === tier) ?? reference), [fc.toStringMethod]: () => tier }));

export const anyDtype = fc.constantFrom('float64' as const, 'float32' as const);
