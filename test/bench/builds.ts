import { setFlagsFromString } from 'node:v8';
import { type Build, type Kernels, TIERS, type Tier } from '../../src/kernels/kernels.js';
import { reference } from '../../src/kernels/reference.js';
import { loadSimd } from '../../src/kernels/simd.js';
import type { Dtype } from '../../src/tensor/tensor.js';
import type { Plan } from './part.js';

const node = Number(process.versions.node.split('.')[0]);
const hasWide = node >= 26 && process.arch === 'x64';

// V8 knows these flags in these versions only, and must be told before it compiles the modules.
if (node < 22) setFlagsFromString('--experimental-wasm-relaxed-simd');
if (hasWide) setFlagsFromString('--experimental-wasm-revectorize');

/** Every build of the kernels that this Node can run, behind a flag or not. */
export const builds: ReadonlyMap<Tier, Build> = new Map(TIERS.filter((tier) => tier !== 'wide' || hasWide).map(load));

function load(tier: Tier): [Tier, Build] {
  return [tier, tier === 'scalar' ? reference : loadSimd(tier)];
}

/** Kernels of one tier and one type of numbers. */
export interface Variant {
  readonly tier: Tier;
  readonly dtype: Dtype;
  readonly build: Build;
  readonly kernels: Kernels;
}

export function variantsOf({ tiers, dtypes }: Plan): Variant[] {
  return dtypes.flatMap((dtype) =>
    [...builds].flatMap(([tier, build]) => {
      return tiers && !tiers.includes(tier) ? [] : [{ tier, dtype, build, kernels: build[dtype] }];
    }),
  );
}
