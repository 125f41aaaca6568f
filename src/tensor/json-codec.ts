import { readFileSync } from 'node:fs';
import { readNumber } from './json-scanner.js';
import { powersOfTen } from './powers-of-ten.js';
import { elements, reverseAxes, rowMajor, type Tensor } from './tensor.js';

/**
 * The fast road for tensors, in WebAssembly: text to doubles and back. It takes what is as it should be; for
 * everything else it gives no answer, and the plain reader and writer do the work, and the explaining.
 */
export interface JsonCodec {
  /** Takes a body in. What was read from the last one is void. */
  open(body: Buffer): void;

  /** The tensor whose first bracket is at this offset of the body, and the offset behind it; row-major. */
  readTensor(offset: number): { readonly tensor: Tensor; readonly end: number } | undefined;

  /** Writes a tensor of up to three axes at an offset of the bytes; returns the offset behind it. */
  writeTensor(tensor: Tensor, bytes: Uint8Array, offset: number, longest: number): number | undefined;
}

/** What assembly/index.ts exports. Addresses are in bytes. */
interface Exports {
  heapBase(): number;
  powers(): number;
  result(): number;
  hardNumbers(): number;
  readArrays(text: number, out: number): number;
  writeArrays(data: number, n0: number, n1: number, n2: number, to: number): number;
}

const PAGE = 65_536;
/** Room behind texts: for the zero that ends one, and for digits that are copied in whole vectors. */
const SLACK = 64;
/** Beyond this, text and numbers together might not fit into the memory of a module. */
const MOST_BYTES = 3e9;
/** What a request may leave behind: memory of a module cannot be given back but with the module. */
const KEPT_BYTES = 64 * 2 ** 20;

/** @param folder where `npm run build` has put the module: beside this file */
export function loadJsonCodec(folder: URL = new URL('.', import.meta.url)): JsonCodec {
  const module = new WebAssembly.Module(readFileSync(new URL('json.wasm', folder)));
  const powers = powersOfTen();
  let { memory, exports } = instantiate(module, powers);
  let body: Buffer = Buffer.alloc(0);
  let text = 0; // address of the body
  let out = 0; // address of the numbers that are read next; 0: the body is too large for this road

  /** Makes room for so many bytes from the first free address on, which is returned. */
  const reserve = (bytes: number): number => {
    if (memory.buffer.byteLength > KEPT_BYTES) ({ memory, exports } = instantiate(module, powers));
    const base = aligned(exports.heapBase());
    const missing = Math.ceil((base + bytes - memory.buffer.byteLength) / PAGE);
    if (missing > 0) memory.grow(missing);
    return base;
  };

  /** Reads what the module could not round; false where a number is too large for a double. */
  const readHard = (data: Float64Array, count: number): boolean => {
    const hard = new Uint32Array(memory.buffer, exports.hardNumbers(), 2 * count);
    for (let i = 0; i < hard.length; i += 2) {
      const value = readNumber({ bytes: body, at: hard[i] - text, pointer: '' });
      if (!Number.isFinite(value)) return false;
      data[hard[i + 1]] = value;
    }
    return true;
  };

  return {
    open(bytes) {
      body = bytes;
      out = 0;
      // A number takes two bytes of text at least, and eight once it is read.
      const needed = bytes.length + SLACK + 4 * (bytes.length + 1) + SLACK;
      if (needed > MOST_BYTES) return;
      text = reserve(needed);
      out = aligned(text + bytes.length + SLACK);
      new Uint8Array(memory.buffer, text, bytes.length).set(bytes);
      new Uint8Array(memory.buffer, text + bytes.length, SLACK).fill(0);
    },

    readTensor(offset) {
      if (out === 0) return undefined;
      const end = exports.readArrays(text + offset, out) >>> 0; // addresses come back signed
      if (end === 0) return undefined;
      const result = new Int32Array(memory.buffer, exports.result(), 10);
      const [rank, hardCount] = [result[0], result[1]];
      const shape = Array.from(result.subarray(2, 2 + rank));
      const data = new Float64Array(memory.buffer, out, elements(shape));
      if (hardCount > 0 && !readHard(data, hardCount)) return undefined;
      out += data.byteLength;
      return { tensor: { shape, strides: rowMajor(shape), data }, end: end - text };
    },

    writeTensor({ shape, strides, data }, bytes, offset, longest) {
      const needed = data.byteLength + longest + SLACK;
      if (shape.length > 3 || needed > MOST_BYTES) return undefined;
      const numbers = reserve(needed);
      const inOrder = new Float64Array(memory.buffer, numbers, data.length);
      if (strides.at(-1) === 1) inOrder.set(data);
      else reverseAxes(inOrder, data, shape.toReversed());
      const missing = 3 - shape.length; // axes of length 1 in front, whose brackets are left out again
      const [n0, n1, n2] = [1, 1, 1].slice(0, missing).concat(shape);
      const start = numbers + data.byteLength;
      const end = exports.writeArrays(numbers, n0, n1, n2, start) >>> 0;
      const length = end - start - 2 * missing;
      bytes.set(new Uint8Array(memory.buffer, start + missing, length), offset);
      return offset + length;
    },
  };
}

function instantiate(module: WebAssembly.Module, powers: BigUint64Array) {
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 65_536 });
  const exports = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Exports;
  new BigUint64Array(memory.buffer, exports.powers(), powers.length).set(powers);
  return { memory, exports };
}

function aligned(address: number): number {
  return Math.ceil(address / 64) * 64;
}
