import { setFlagsFromString } from 'node:v8';
import { type Build, type Kernels, type Rows, TIERS, type Tier } from './kernels.js';
import { reference } from './reference.js';
import { loadSimd } from './simd.js';
import { faultOf } from './trial.js';

/** What a person may ask for: one tier, or the fastest that this runtime has and that computes what it should. */
export const CHOICES = ['auto', ...TIERS] as const;
export type Choice = (typeof CHOICES)[number];

/** A tier that was asked for by name cannot be used here. */
export class KernelsUnavailable extends Error {
  override readonly name = 'KernelsUnavailable';
}

/**
 * The kernels to compute with.
 *
 * @throws KernelsUnavailable where a tier is asked for by name: never a silent replacement
 */
export function chooseKernels(choice: Choice): Build {
  if (choice !== 'auto') return load(choice);
  // The last one is loaded last, as it sets a flag for all of them.
  const [simd, fma, wide] = (['simd', 'fma', 'wide'] as const).map(tryToLoad);
  // The same bits, and faster only where V8 makes the wider vectors of it: that depends on the processor, too.
  if (wide && fma && isFaster(wide, fma)) return wide;
  setRevectorization(false);
  return fma ?? simd ?? reference;
}

/** A build that this runtime has, or undefined. */
function tryToLoad(tier: Tier): Build | undefined {
  try {
    return load(tier);
  } catch (error) {
    if (error instanceof KernelsUnavailable) return undefined;
    throw error;
  }
}

const NODE = Number.parseInt(process.versions.node, 10);
/** Since when V8 makes the wider vectors well enough. */
const LEAST_WIDE = 26;

function load(tier: Tier): Build {
  if (tier === 'scalar') return reference;
  if (tier === 'wide' && NODE < LEAST_WIDE) {
    throw new KernelsUnavailable(`KERNELS=wide needs Node ${LEAST_WIDE}, but this is ${process.version}`);
  }
  if (tier === 'wide') setRevectorization(true);
  let build: Build;
  try {
    build = loadSimd(tier);
  } catch (error) {
    if (!(error instanceof WebAssembly.CompileError)) throw error;
    throw new KernelsUnavailable(`KERNELS=${tier} cannot be used in Node ${process.version}: ${error.message}`);
  }
  const fault = faultOf(build);
  if (fault !== undefined) throw new KernelsUnavailable(`KERNELS=${tier} cannot be used: ${fault}`);
  return build;
}

/** Whether V8 fuses neighbouring vectors of 16 bytes: an experimental flag, for the whole process. */
function setRevectorization(on: boolean): void {
  if (NODE >= LEAST_WIDE) setFlagsFromString(`--${on ? '' : 'no-'}experimental-wasm-revectorize`);
}

/** Milliseconds that the comparison of two builds may take. */
const PATIENCE = 200;

/**
 * Is a product faster on one build than on another? They take turns, so that a busy machine hits both, until V8 has
 * compiled each of them for good, which shows, and for a few turns more.
 */
function isFaster(one: Build, other: Build): boolean {
  const subjects = [one, other].map(({ float64 }) => ({ run: smallProduct(float64), first: 0, best: 0 }));
  let left = 6;
  for (const end = performance.now() + PATIENCE; left > 0 && performance.now() < end; ) {
    for (const subject of subjects) {
      for (let i = 0; i < 25; i++) {
        const start = performance.now();
        subject.run();
        const ms = performance.now() - start;
        subject.first ||= ms;
        subject.best = Math.min(subject.best || ms, ms);
      }
    }
    if (subjects.every(({ first, best }) => best < first / 3)) left--;
  }
  return left === 0 && subjects[0].best < subjects[1].best;
}

/** 0.26 million multiplications and additions, about 10 µs of them. */
function smallProduct(kernels: Kernels): () => void {
  const [m, n] = [32, 64];
  const { elementsFor, elementsForFactor } = kernels;
  const allocate = kernels.reserve(2 * elementsFor(m * n) + elementsFor(n * n) + elementsForFactor(n, n));
  const rows = (length: number): Rows => ({ data: allocate(length), offset: 0, length });
  const [out, v] = [rows(m * n), rows(m * n)];
  const W = kernels.factor({ data: allocate(n * n), offset: 0, rows: n, columns: n, stride: n });
  return () => kernels.addProduct(out, W, v);
}
