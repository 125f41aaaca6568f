import { readFileSync } from 'node:fs';
import {
  arrayOf,
  type Dtype,
  dtypeOf,
  elements,
  type Numbers,
  rowMajor,
  rowMajorRange,
  type Tensor,
} from '../../tensor/tensor.js';
import { aligned, Instance } from '../../webassembly/instance.js';
import { MOST_RANK } from './limits.js';
import { powersOfTen } from './powers-of-ten.js';

/**
 * Reads and writes tensors fast, in WebAssembly. The codec reads only well-formed tensors. For everything else it returns
 * undefined, and the plain reader and writer do the work and explain what is wrong.
 */
export interface JsonCodec {
  /** The reader and the writer call this every few milliseconds. It throws if the work should be given up. */
  checkpoint(): void;

  /** Takes in a body and the dtype to read its numbers as. Tensors read from the last body are void. */
  open(body: Buffer, dtype: Dtype): void;

  /** The row-major tensor whose first bracket is at this offset of the body, and the offset behind it; undefined if it is not well-formed. */
  readTensor(offset: number): { readonly tensor: Tensor; readonly end: number } | undefined;

  /** Room for this many numbers of a tensor that the plain reader reads; undefined if the body is too large for the codec. */
  room(length: number): Numbers | undefined;

  /** Writes a tensor at an offset of the bytes, which must have room for it. Returns the offset behind it; undefined if its rank is 0 or too large. */
  writeTensor(tensor: Tensor, bytes: Uint8Array, offset: number): number | undefined;

  /** Lets go of the memory of a large body; returns whether there was any. Tensors read from that body are void. */
  release(): boolean;
}

/** The exports of assembly/index.ts. Addresses are in bytes. */
interface Functions {
  powers(): number;
  result(): number;
  layout(): number;
  readFloat64(text: number, out: number): number;
  readFloat32(text: number, out: number): number;
  beginArrays(): void;
  writeFloat64(data: number, count: number, to: number): number;
  writeFloat32(data: number, count: number, to: number): number;
}

/** The module that `npm run build` compiles; the path is right from src and from dist. */
const BUILT = new URL('../../../dist/formats/json/codec.wasm', import.meta.url);
/** Room behind a text, for the zero byte that ends it, and for digits that are copied in whole vectors. */
const SLACK = 64;
/** The codec takes no body that needs more memory, since it might not fit into the memory of a module. */
const MOST_BYTES = 3e9;
/** How many numbers are brought into row-major order at a time, and how many of these are written at a time. */
const PIECE_NUMBERS = 2 ** 16;
const TEXT_NUMBERS = 2 ** 12;
/** No number has a longer text, including the brackets around it. */
const LONGEST_TEXT = 64;

/**
 * Loads the codec.
 *
 * @param checkpoint called every few milliseconds of reading or writing; an error that it throws ends the work
 */
export function loadJsonCodec(checkpoint: () => void = () => {}): JsonCodec {
  const module = new WebAssembly.Module(readFileSync(BUILT));
  const powers = powersOfTen();
  const load = () =>
    new Instance(module, { checkpoint }, (exports) => {
      const functions = exports as unknown as Functions;
      new BigUint64Array(exports.memory.buffer, functions.powers(), powers.length).set(powers);
      return functions;
    });
  // Tensors of the request must stay while the answer is written, so reading and writing have memory of their own.
  const [reading, writing] = [load(), load()];
  let dtype: Dtype = 'float64';
  let text = 0; // address of the body
  let out = 0; // address of the next numbers that are read; 0 if the body is too large for the codec

  return {
    checkpoint,

    open(body, numbers) {
      dtype = numbers;
      out = 0;
      // A number takes at least two bytes of text. Reserved memory costs nothing until it is written to.
      const most = (body.length + 1) / 2;
      const needed = body.length + SLACK + most * arrayOf[dtype].BYTES_PER_ELEMENT + SLACK;
      if (needed > MOST_BYTES) return;
      text = reading.reserve(needed);
      out = aligned(text + body.length + SLACK);
      new Uint8Array(reading.buffer, text, body.length).set(body);
      new Uint8Array(reading.buffer, text + body.length, SLACK).fill(0);
    },

    readTensor(offset) {
      if (out === 0) return undefined;
      const { functions, buffer } = reading;
      const read = dtype === 'float32' ? functions.readFloat32 : functions.readFloat64;
      const end = read(text + offset, out) >>> 0; // addresses come back signed
      if (end === 0) return undefined;
      const [rank, ...lengths] = new Int32Array(buffer, functions.result(), 1 + MOST_RANK);
      const shape = lengths.slice(0, rank);
      const data = new arrayOf[dtype](buffer, out, elements(shape));
      out += data.byteLength;
      return { tensor: { shape, strides: rowMajor(shape), data }, end: end - text };
    },

    room(length) {
      if (out === 0) return undefined;
      const data = new arrayOf[dtype](reading.buffer, out, length);
      out += data.byteLength;
      return data;
    },

    writeTensor(tensor, bytes, offset) {
      const { shape, data } = tensor;
      if (shape.length === 0 || shape.length > MOST_RANK) return undefined;
      const row = elements(shape.slice(1));
      // Whole rows of the first axis, if they fit, are faster to bring into row-major order.
      const most = row > PIECE_NUMBERS ? PIECE_NUMBERS : PIECE_NUMBERS - (PIECE_NUMBERS % row);
      const length = Math.min(most, data.length);
      const numbers = writing.reserve(length * data.BYTES_PER_ELEMENT + TEXT_NUMBERS * LONGEST_TEXT + SLACK);
      const { functions, buffer } = writing;
      const to = aligned(numbers + length * data.BYTES_PER_ELEMENT);
      const piece = new arrayOf[dtypeOf(data)](buffer, numbers, length);
      const write = dtypeOf(data) === 'float32' ? functions.writeFloat32 : functions.writeFloat64;

      new Int32Array(buffer, functions.layout(), 1 + shape.length).set([shape.length, ...shape]);
      functions.beginArrays();
      let at = offset;
      for (let first = 0; first < data.length; first += length) {
        checkpoint();
        const count = Math.min(length, data.length - first);
        rowMajorRange(piece, tensor, first, first + count);
        for (let done = 0; done < count; done += TEXT_NUMBERS) {
          const from = numbers + done * data.BYTES_PER_ELEMENT;
          const end = write(from, Math.min(TEXT_NUMBERS, count - done), to) >>> 0;
          bytes.set(new Uint8Array(buffer, to, end - to), at);
          at += end - to;
        }
      }
      return at;
    },

    release() {
      const [hasRead, hasWritten] = [reading.release(), writing.release()];
      return hasRead || hasWritten;
    },
  };
}
