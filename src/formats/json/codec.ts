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
 * The fast road for tensors, in WebAssembly: text to numbers and back. It takes what is as it should be; for
 * everything else it gives no answer, and the plain reader and writer do the work, and the explaining.
 */
export interface JsonCodec {
  /** Called by whoever reads and writes, every few milliseconds: throws where the work is to be given up. */
  checkpoint(): void;

  /** Takes a body in, and the type that its numbers are read to. What was read from the last one is void. */
  open(body: Buffer, dtype: Dtype): void;

  /** The tensor whose first bracket is at this offset of the body, and the offset behind it; row-major. */
  readTensor(offset: number): { readonly tensor: Tensor; readonly end: number } | undefined;

  /** Room for so many numbers of a tensor that is read otherwise, beside those that were read; undefined: there is none here. */
  room(length: number): Numbers | undefined;

  /** Writes a tensor at an offset of the bytes, which must have room for it; returns the offset behind it. */
  writeTensor(tensor: Tensor, bytes: Uint8Array, offset: number): number | undefined;

  /** Lets go of the memory that a large body has left; was there any? What was read from it is void. */
  release(): boolean;
}

/** What assembly/index.ts exports. Addresses are in bytes. */
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

/** What `npm run build` makes, seen from src and from dist alike. */
const BUILT = new URL('../../../dist/formats/json/codec.wasm', import.meta.url);
/** Room behind texts: for the zero that ends one, and for digits that are copied in whole vectors. */
const SLACK = 64;
/** Beyond this, text and numbers together might not fit into the memory of a module. */
const MOST_BYTES = 3e9;
/** A tensor is written in pieces, and these in pieces of text. */
const PIECE_NUMBERS = 2 ** 16;
const TEXT_NUMBERS = 2 ** 12;
/** More than the longest text of a number and the brackets around it. */
const LONGEST_TEXT = 64;

export function loadJsonCodec(checkpoint: () => void = () => {}): JsonCodec {
  const module = new WebAssembly.Module(readFileSync(BUILT));
  const powers = powersOfTen();
  const load = () =>
    new Instance(module, { checkpoint }, (exports) => {
      const functions = exports as unknown as Functions;
      new BigUint64Array(exports.memory.buffer, functions.powers(), powers.length).set(powers);
      return functions;
    });
  // What was read stays while the answer is written: each has memory of its own.
  const [reading, writing] = [load(), load()];
  let dtype: Dtype = 'float64';
  let text = 0; // address of the body
  let out = 0; // address of the numbers that are read next; 0: the body is too large for this road

  return {
    checkpoint,

    open(body, numbers) {
      dtype = numbers;
      out = 0;
      // A number takes two bytes of text at least. Room that is not written to costs no memory.
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
      // Whole rows of the first axis where they fit: they are quicker to bring into order.
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
