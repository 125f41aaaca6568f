import { readFileSync } from 'node:fs';
import { arrayOf, type Dtype, type Numbers } from '../tensor/tensor.js';
import type { Build, Factor, Kernels, Matrix, Rows, Tier } from './kernels.js';
import { fillRows } from './reference.js';

/** What assembly/index.ts exports for each type of numbers. Addresses are in bytes, lengths in numbers. */
interface Loops {
  multiply(C: number, A: number, panels: number, rows: number, n: number, k: number): void;
  addOuterProducts(dW: number, stride: number, dz: number, v: number, rows: number, p: number, q: number): void;
  addRows(db: number, dz: number, rows: number, n: number): void;
  add(out: number, one: number, other: number, length: number): void;
  tanh(v: number, length: number): void;
  softmaxRows(v: number, length: number, n: number): void;
  tanhGradient(dz: number, da: number, a: number, length: number): void;
  /** ft, it, cct, ot, c_prev, c_next, a_next */
  lstmGates(f: number, i: number, c: number, o: number, cPrev: number, cNext: number, aNext: number, n: number): void;
  lstmGateGradients(
    dzf: number,
    dzi: number,
    dzc: number,
    dzo: number,
    dcPrev: number,
    da: number,
    dc: number,
    f: number,
    i: number,
    c: number,
    o: number,
    cPrev: number,
    cNext: number,
    length: number,
  ): void;
}

/** Where `npm run build` puts the modules, seen from src and from dist alike. */
const BUILT = new URL('../../dist/kernels/', import.meta.url);
const PAGE = 65_536;
/** Bytes in the row of a panel; arrays are aligned to as many. */
const PANEL = 64;
/** What a request may leave behind: memory of a module cannot be given back but with the module. */
const KEPT_BYTES = 32 * 2 ** 20;

/** The module's memory, and what is left of it in the present request. */
interface Arena {
  memory: WebAssembly.Memory;
  loops: Readonly<Record<Dtype, Loops>>;
  /** Address of the first byte that requests may have. */
  start: number;
  next: number;
  end: number;
}

/**
 * The kernels in WebAssembly. The arrays of a request lie in the module's memory, and the loops get their addresses.
 *
 * @throws WebAssembly.CompileError where the runtime does not know the instructions of the build
 */
export function loadSimd(tier: Exclude<Tier, 'scalar'>): Build {
  const module = new WebAssembly.Module(readFileSync(new URL(`${tier}.wasm`, BUILT)));
  const arena: Arena = { ...instantiate(module), next: 0, end: 0 };
  return {
    tier,
    float64: kernelsOf('float64', arena),
    float32: kernelsOf('float32', arena),
    release() {
      const isLarge = arena.memory.buffer.byteLength > KEPT_BYTES;
      if (isLarge) Object.assign(arena, instantiate(module));
      return isLarge;
    },
  };
}

function instantiate(module: WebAssembly.Module): Omit<Arena, 'next' | 'end'> {
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 65_536 });
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const ofType = (bits: string) =>
    Object.fromEntries(
      Object.entries(exports).flatMap(([name, loop]) => (name.endsWith(bits) ? [[name.slice(0, -2), loop]] : [])),
    ) as unknown as Loops;
  const heapBase = (exports.heapBase as () => number)();
  return {
    memory,
    loops: { float64: ofType('64'), float32: ofType('32') },
    start: Math.ceil(heapBase / PANEL) * PANEL,
  };
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
  const width = PANEL / BYTES;
  const roundUp = (length: number) => Math.ceil(length / width) * width;
  const at = ({ data, offset }: Rows | Matrix) => data.byteOffset + offset * BYTES;
  let loops = arena.loops[dtype];

  const allocate = (length: number): Numbers => {
    const address = arena.next;
    arena.next += roundUp(length) * BYTES;
    if (arena.next > arena.end) throw new RangeError('more memory is asked for than was reserved');
    return new NumbersOfType(arena.memory.buffer, address, length);
  };

  const panelsOf = (matrix: Matrix, transposed: boolean): Numbers => {
    const { data, offset, rows, columns } = matrix;
    const [n, k] = transposed ? [columns, rows] : [rows, columns];
    const panels = allocate(roundUp(n) * k);
    if (data.buffer === arena.memory.buffer) pack(panels, matrix, transposed, width);
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
      loops = arena.loops[dtype];
      arena.next = arena.start;
      arena.end = arena.next + elements * BYTES;
      const missing = Math.ceil((arena.end - arena.memory.buffer.byteLength) / PAGE);
      if (missing > 0) arena.memory.grow(missing); // before any view is made: growing detaches them
      new Uint8Array(arena.memory.buffer, arena.next, elements * BYTES).fill(0);
      return allocate;
    },
    elementsFor: roundUp,
    elementsForFactor: (rows, columns) => roundUp(rows) * columns + (roundUp(columns) + width) * rows,
    factor: (matrix): PackedFactor => ({ matrix }),

    fillRows,
    addProduct(out, W: PackedFactor, v) {
      const { rows, columns } = W.matrix;
      W.panels ??= panelsOf(W.matrix, false);
      loops.multiply(at(out), at(v), W.panels.byteOffset, v.length / columns, rows, columns);
    },
    addTransposedProduct(out, W: PackedFactor, v) {
      const { rows, columns } = W.matrix;
      W.transposedPanels ??= panelsOf(W.matrix, true);
      loops.multiply(at(out), at(v), W.transposedPanels.byteOffset, v.length / rows, columns, rows);
    },
    addOuterProducts(dW, dz, v) {
      loops.addOuterProducts(at(dW), dW.stride * BYTES, at(dz), at(v), dz.length / dW.rows, dW.rows, dW.columns);
    },
    addRows: (db, dz) => loops.addRows(at(db), at(dz), dz.length / db.length, db.length),
    add: (out, one, other) => loops.add(at(out), at(one), at(other), out.length),
    tanh: (v) => loops.tanh(at(v), v.length),
    softmaxRows: (v, n) => loops.softmaxRows(at(v), v.length, n),
    tanhGradient: (dz, da, a) => loops.tanhGradient(at(dz), at(da), at(a), dz.length),
    lstmGates({ ft, it, cct, ot }, c_next, a_next, c_prev) {
      loops.lstmGates(at(ft), at(it), at(cct), at(ot), at(c_prev), at(c_next), at(a_next), c_next.length);
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
