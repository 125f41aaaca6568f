import { readFileSync } from 'node:fs';
import type { Factor, Kernels, Matrix, Tier } from './kernels.js';
import { reference } from './reference.js';

/** What assembly/index.ts exports. Addresses are in bytes, lengths in numbers. */
interface Exports {
  heapBase(): number;
  pack64(panels: number, source: number, n: number, k: number, nStride: number, kStride: number): void;
  multiply64(C: number, A: number, panels: number, rows: number, n: number, k: number): void;
  addOuterProducts64(dW: number, stride: number, dz: number, v: number, rows: number, p: number, q: number): void;
  sigmoidAll(v: number, length: number): void;
  tanhAll(v: number, length: number): void;
  softmaxRows(v: number, length: number, n: number): void;
}

const BYTES = Float64Array.BYTES_PER_ELEMENT;
const PAGE = 65_536;
/** Numbers in the row of a panel, and in the 64 bytes that arrays are aligned to. */
const WIDTH = 8;
/** What a request may leave behind: memory of a module cannot be given back but with the module. */
const KEPT_BYTES = 64 * 2 ** 20;

interface PackedFactor extends Factor {
  /** Panels of W and of Wᵀ, packed when they are first multiplied with. */
  panels?: Float64Array;
  transposedPanels?: Float64Array;
}

/**
 * The kernels in WebAssembly. All arrays of a request lie in the module's memory, and the kernels get their addresses.
 *
 * @param folder where `npm run build` has put the modules: beside this file
 * @throws where the runtime does not know the instructions of the build
 */
export function loadSimd(tier: Exclude<Tier, 'scalar'>, folder: URL = new URL('.', import.meta.url)): Kernels {
  const module = new WebAssembly.Module(readFileSync(new URL(`${tier}.wasm`, folder)));
  let { memory, kernels } = instantiate(module);
  let next = 0;
  let end = 0;

  const allocate = (length: number): Float64Array => {
    const at = next;
    next += roundUp(length) * BYTES;
    if (next > end) throw new RangeError('more memory is asked for than was reserved');
    return new Float64Array(memory.buffer, at, length);
  };
  const panelsOf = (matrix: Matrix, transposed: boolean): Float64Array => {
    const { data, offset, rows, columns, stride } = matrix;
    const [n, k] = transposed ? [columns, rows] : [rows, columns];
    const panels = allocate(roundUp(n) * k);
    const [nStride, kStride] = transposed ? [BYTES, stride * BYTES] : [stride * BYTES, BYTES];
    kernels.pack64(panels.byteOffset, data.byteOffset + offset * BYTES, n, k, nStride, kStride);
    return panels;
  };

  return {
    tier,
    reserve(elements) {
      if (memory.buffer.byteLength > KEPT_BYTES) ({ memory, kernels } = instantiate(module));
      next = Math.ceil(kernels.heapBase() / (WIDTH * BYTES)) * WIDTH * BYTES;
      end = next + elements * BYTES;
      const missing = Math.ceil((end - memory.buffer.byteLength) / PAGE);
      if (missing > 0) memory.grow(missing); // before any view is made: growing detaches them
      new Uint8Array(memory.buffer, next, elements * BYTES).fill(0);
      return allocate;
    },
    elementsFor: roundUp,
    elementsForFactor: (rows, columns) => roundUp(rows) * columns + (roundUp(columns) + WIDTH) * rows,
    factor: (matrix): PackedFactor => ({ matrix }),

    fillRows: reference.fillRows,
    addRows: reference.addRows,
    addProduct(out, W: PackedFactor, v) {
      const { rows, columns } = W.matrix;
      W.panels ??= panelsOf(W.matrix, false);
      kernels.multiply64(out.byteOffset, v.byteOffset, W.panels.byteOffset, v.length / columns, rows, columns);
    },
    addTransposedProduct(out, W: PackedFactor, v) {
      const { rows, columns } = W.matrix;
      W.transposedPanels ??= panelsOf(W.matrix, true);
      kernels.multiply64(out.byteOffset, v.byteOffset, W.transposedPanels.byteOffset, v.length / rows, columns, rows);
    },
    addOuterProducts({ data, offset, rows, columns, stride }, dz, v) {
      const dW = data.byteOffset + offset * BYTES;
      kernels.addOuterProducts64(dW, stride * BYTES, dz.byteOffset, v.byteOffset, dz.length / rows, rows, columns);
    },
    sigmoid: (v) => kernels.sigmoidAll(v.byteOffset, v.length),
    tanh: (v) => kernels.tanhAll(v.byteOffset, v.length),
    softmaxRows: (v, n) => kernels.softmaxRows(v.byteOffset, v.length, n),
  };
}

function instantiate(module: WebAssembly.Module) {
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 65_536 });
  const kernels = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Exports;
  return { memory, kernels };
}

/** The next multiple of a panel's width. */
function roundUp(length: number): number {
  return Math.ceil(length / WIDTH) * WIDTH;
}
