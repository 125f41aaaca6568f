/** Memory is handed out in pages of so many bytes. */
const PAGE = 65_536;
/** What a request may leave behind. */
const KEPT_BYTES = 32 * 2 ** 20;
/** Arrays begin at multiples of it: the length of a cache line. */
const ALIGNMENT = 64;

/** What every module of ours exports, beside its functions. */
export interface Exports extends Readonly<Record<string, unknown>> {
  readonly memory: WebAssembly.Memory;
  /** Where the memory that belongs to nobody begins. */
  heapBase(): number;
}

interface Loaded<Functions> {
  readonly exports: Exports;
  readonly functions: Functions;
}

/**
 * A module as it was loaded, with its memory. Memory of a module can grow, but never shrink: to let go of it, the module
 * is loaded again.
 */
export class Instance<Functions> {
  readonly #load: () => Loaded<Functions>;
  #loaded: Loaded<Functions>;

  /**
   * @param imports functions of the host that the module calls
   * @param functionsOf what the host calls, made of the exports each time the module is loaded
   */
  constructor(
    module: WebAssembly.Module,
    imports: Readonly<Record<string, unknown>>,
    functionsOf: (exports: Exports) => Functions,
  ) {
    this.#load = () => {
      const exports = new WebAssembly.Instance(module, { env: imports }).exports as Exports;
      return { exports, functions: functionsOf(exports) };
    };
    this.#loaded = this.#load();
  }

  get functions(): Functions {
    return this.#loaded.functions;
  }

  get buffer(): ArrayBuffer {
    return this.#loaded.exports.memory.buffer;
  }

  /** Makes room for so many bytes from the first free address on, which is returned. Views from before are void. */
  reserve(bytes: number): number {
    const base = aligned(this.#loaded.exports.heapBase());
    const missing = Math.ceil((base + bytes - this.buffer.byteLength) / PAGE);
    if (missing > 0) this.#loaded.exports.memory.grow(missing);
    return base;
  }

  /** Lets go of the memory that a large request has left; was there any? */
  release(): boolean {
    const isLarge = this.buffer.byteLength > KEPT_BYTES;
    if (isLarge) this.#loaded = this.#load();
    return isLarge;
  }
}

/** The next address that an array may begin at. */
export function aligned(address: number): number {
  return Math.ceil(address / ALIGNMENT) * ALIGNMENT;
}
