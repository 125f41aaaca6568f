/** The part of the global WebAssembly that is used here; TypeScript has its types only among a browser's. */
declare namespace WebAssembly {
  class CompileError extends Error {}
  class Module {
    constructor(bytes: Uint8Array);
  }
  class Memory {
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }
  class Instance {
    constructor(module: Module, imports: Record<string, Readonly<Record<string, unknown>>>);
    readonly exports: Record<string, unknown>;
  }
}
