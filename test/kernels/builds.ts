import type { Kernels } from '../../src/kernels/kernels.js';
import { reference } from '../../src/kernels/reference.js';
import { loadSimd } from '../../src/kernels/simd.js';

/** Every build that this Node can run. The compiled modules are those that `npm run build` made. */
export const builds: readonly Kernels[] = [
  reference,
  loadSimd('simd', new URL('../../dist/kernels/', import.meta.url)),
  loadSimd('fma', new URL('../../dist/kernels/', import.meta.url)),
];

/** Beside the plain one. */
export const fastBuilds = builds.slice(1);
