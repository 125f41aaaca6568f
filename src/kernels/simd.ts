import { readFileSync } from 'node:fs';
import { arrayOf, type Dtype, type Numbers } from '../tensor/tensor.js';
import { type Exports, Instance } from '../webassembly/instance.js';
import type { Build, Factor, Kernels, Matrix, Rows, Tier } from './kernels.js';
import { type KernelName, kernelNames } from './list.js';
import { PANEL_BYTES } from './panel.js';
import { fillRows } from './reference.js';

/** Where `npm run build` puts the modules, seen from src and from dist alike. */
const BUILT = new URL('../../dist/kernels/', import.meta.url);

/** What a module exports: all but fillRows, which reads biases, and these may lie outside of the module's memory. */
type Exported = Exclude<KernelName, 'fillRows'>;
const exportedNames = kernelNames.filter((name): name is Exported => name !== 'fillRows');

/** For one type of numbers. assembly/index.ts says what they are called with. */
type Functions = Readonly<Record<Exported, (...addressesAndLengths: number[]) => void>>;

/** The memory of a module, and what is left of it in the present request. */
interface Arena {
  readonly instance: Instance<Readonly<Record<Dtype, Functions>>>;
  next: number;
  end: number;
}

/**
 * The kernels in WebAssembly. The arrays of a request lie in the module's memory, and its functions get their addresses.
 *
 * @throws WebAssembly.CompileError where the runtime does not know the instructions of the build
 */
export function loadSimd(tier: Exclude<Tier, 'scalar'>): Build {
  return buildOf(tier, readFileSync(new URL(`${tier}.wasm`, BUILT)));
}

/** @throws Error that names the first kernel that the module lacks */
export function buildOf(tier: Tier, module: Uint8Array): Build {
  const instance = new Instance(new WebAssembly.Module(module), {}, (exports) => {
    return { float64: functionsOf(exports, 64), float32: functionsOf(exports, 32) };
  });
  const arena: Arena = { instance, next: 0, end: 0 };
  return {
    tier,
    float64: kernelsOf('float64', arena),
    float32: kernelsOf('float32', arena),
    release: () => instance.release(),
  };
}

function functionsOf(exports: Exports, bits: 64 | 32): Functions {
  const found = exportedNames.map((name) => {
    const one = exports[`${name}${bits}`];
    if (one === undefined) throw new Error(`a module of kernels has no ${name}${bits}; npm run build makes it anew`);
    return [name, one];
  });
  return Object.fromEntries(found);
}

interface PackedFactor extends Factor {
  /** Panels of W and of Wᵀ, made when they are first multiplied with. */
  panels?: Numbers;
  transposedPanels?: Numbers;
}

/** Panels of matrices that lie outside of the module, which outlive a request as long as the matrix does. */
const packed = new WeakMap<Numbers, Map<string, Numbers | undefined>>();

function kernelsOf(dtype: Dtype, arena: Arena): Kernels {
  const NumbersOfType = arrayOf[dtype];
  const BYTES = NumbersOfType.BYTES_PER_ELEMENT;
  /** Numbers in the row of a panel. */
  const width = PANEL_BYTES / BYTES;
  const roundUp = (length: number) => Math.ceil(length / width) * width;
  const at = ({ data, offset }: Rows | Matrix) => data.byteOffset + offset * BYTES;
  let loops = arena.instance.functions[dtype];

  const allocate = (length: number): Numbers => {
    const address = arena.next;
    arena.next += roundUp(length) * BYTES;
    if (arena.next > arena.end) throw new RangeError('more memory is asked for than was reserved');
    return new NumbersOfType(arena.instance.buffer, address, length);
  };

  const panelsOf = (matrix: Matrix, transposed: boolean): Numbers => {
    const { data, offset, rows, columns } = matrix;
    const [n, k] = transposed ? [columns, rows] : [rows, columns];
    const panels = allocate(roundUp(n) * k);
    if (data.buffer === arena.instance.buffer) pack(panels, matrix, transposed, width);
    else {
      const ofData = packed.get(data) ?? new Map<string, Numbers | undefined>();
      packed.set(data, ofData);
      const key = `${offset} ${columns} ${transposed}`;
      const known = ofData.get(key);
      if (known) panels.set(known);
      else {
        pack(panels, matrix, transposed, width);
        // Many weights are used once: it is the second time that tells.
        ofData.set(key, ofData.has(key) ? panels.slice() : undefined);
      }
    }
    return panels;
  };

  return {
    dtype,
    reserve(elements) {
      const bytes = elements * BYTES;
      arena.next = arena.instance.reserve(bytes);
      arena.end = arena.next + bytes;
      loops = arena.instance.functions[dtype];
      new Uint8Array(arena.instance.buffer, arena.next, bytes).fill(0);
      return allocate;
    },
    elementsFor: roundUp,
    elementsForFactor: (rows, columns) => roundUp(rows) * columns + (roundUp(columns) + width) * rows,
    factor: (matrix): PackedFactor => ({ matrix }),

    fillRows,
    addProduct(out, W: PackedFactor, v) {
      const { rows, columns } = W.matrix;
      W.panels ??= panelsOf(W.matrix, false);
      loops.addProduct(at(out), W.panels.byteOffset, at(v), v.length / columns, rows, columns);
    },
    addTransposedProduct(out, W: PackedFactor, v) {
      const { rows, columns } = W.matrix;
      W.transposedPanels ??= panelsOf(W.matrix, true);
      loops.addTransposedProduct(at(out), W.transposedPanels.byteOffset, at(v), v.length / rows, columns, rows);
    },
    addOuterProducts(dW, dz, v) {
      loops.addOuterProducts(at(dW), dW.stride * BYTES, at(dz), at(v), dz.length / dW.rows, dW.rows, dW.columns);
    },
    addRows: (db, dz) => loops.addRows(at(db), at(dz), dz.length / db.length, db.length),
    add: (out, one, other) => loops.add(at(out), at(one), at(other), out.length),
    subtract: (out, one, other) => loops.subtract(at(out), at(one), at(other), out.length),
    hadamard: (out, one, other) => loops.hadamard(at(out), at(one), at(other), out.length),
    addHadamard: (out, one, other) => loops.addHadamard(at(out), at(one), at(other), out.length),
    sigmoid: (v) => loops.sigmoid(at(v), v.length),
    sigmoidGradient: (dz, da, a) => loops.sigmoidGradient(at(dz), at(da), at(a), dz.length),
    tanh: (v) => loops.tanh(at(v), v.length),
    tanhGradient: (dz, da, a) => loops.tanhGradient(at(dz), at(da), at(a), dz.length),
    softmaxRows: (v, n) => loops.softmaxRows(at(v), v.length, n),
    lstmGates({ ft, it, cct, ot }, c_next, a_next, c_prev) {
      loops.lstmGates(at(ft), at(it), at(cct), at(ot), at(c_next), at(a_next), at(c_prev), c_next.length);
    },
    lstmGateGradients({ dzf, dzi, dzc, dzo }, dc_prev, da_next, dc_next, { ft, it, cct, ot }, c_prev, c_next) {
      loops.lstmGateGradients(
        at(dzf),
        at(dzi),
        at(dzc),
        at(dzo),
        at(dc_prev),
        at(da_next),
        at(dc_next),
        at(ft),
        at(it),
        at(cct),
        at(ot),
        at(c_prev),
        at(c_next),
        c_next.length,
      );
    },
    gruOutput({ zt, cct }, a_next, a_prev) {
      loops.gruOutput(at(zt), at(cct), at(a_next), at(a_prev), a_next.length);
    },
    gruOutputGradients({ dzz, dzc }, da_prev, da_next, { zt, cct }, a_prev) {
      loops.gruOutputGradients(at(dzz), at(dzc), at(da_prev), at(da_next), at(zt), at(cct), at(a_prev), a_prev.length);
    },
  };
}

/**
 * W, or Wᵀ, as the products walk through it: panels of `width` outputs side by side, each with a row for every
 * input; zero where there are no more outputs.
 */
function pack(panels: Numbers, { data, offset, rows, columns, stride }: Matrix, transposed: boolean, width: number) {
  const [n, k] = transposed ? [columns, rows] : [rows, columns];
  const [nStride, kStride] = transposed ? [1, stride] : [stride, 1];
  let to = 0;
  for (let j = 0; j < n; j += width) {
    const count = Math.min(width, n - j);
    for (let i = 0; i < k; i++) {
      let from = offset + j * nStride + i * kStride;
      for (let c = 0; c < count; c++) {
        panels[to + c] = data[from];
        from += nStride;
      }
      to += width;
    }
  }
}
