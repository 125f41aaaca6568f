import type { AnyTensor, GroupMember, Values } from '../../tensor/signature.js';
import { elements, isReal } from '../../tensor/tensor.js';
import { longestOf, type Slice, type TensorSlice } from '../format.js';
import type { JsonCodec } from './codec.js';
import { shortestFloat32 } from './float32.js';

/** The slices of an answer as JSON: the members that have a value, in the order of the signature. */
export function slicesOf(signature: GroupMember, values: Values): Slice[] {
  const slices: Slice[] = [];
  let text = '';
  const addGroup = ({ members }: GroupMember, values: Values): void => {
    let separator = '{';
    for (const [name, member] of Object.entries(members)) {
      const value = values[name];
      if (value === undefined) continue;
      text += `${separator}"${name}":`;
      separator = ',';
      if (member.kind === 'tensor') {
        slices.push(text, { tensor: value as AnyTensor, first: true, last: true });
        text = '';
      } else if (member.kind === 'group') addGroup(member, value as Values);
      else text += JSON.stringify(value);
    }
    text += separator === '{' ? '{}' : '}';
  };
  addGroup(signature, values);
  return [...slices, text];
}

/**
 * Writes slices as JSON, tensors as nested arrays. A number has the fewest digits that read back to the same number of its
 * type; a real number has a point or an exponent. Every number must be finite.
 */
export function writeSlices(slices: readonly Slice[], codec?: JsonCodec): Uint8Array<ArrayBuffer> {
  const text = { codec, bytes: new Uint8Array(longestOf({ longest: longestSlice }, slices)), at: 0 };
  for (const slice of slices) {
    if (typeof slice === 'string') write(text, slice);
    else writeRows(text, slice);
  }
  return text.bytes.subarray(0, text.at);
}

interface Text {
  /** Writes tensors fast. Without it, the plain writer does all the work. */
  readonly codec: JsonCodec | undefined;
  readonly bytes: Uint8Array<ArrayBuffer>;
  at: number;
}

function writeRows(text: Text, { tensor, first, last }: TensorSlice): void {
  const start = text.at;
  const end = isReal(tensor) ? text.codec?.writeTensor(tensor, text.bytes, start) : undefined;
  if (end === undefined) writePlain(text, tensor);
  else text.at = end;
  if (!first) text.bytes[start] = COMMA;
  if (!last) text.at--; // the bracket that closes the tensor
}

const COMMA = 0x2c;

function writePlain(text: Text, { shape, strides, data }: AnyTensor): void {
  const textOf = data instanceof Int32Array ? String : data instanceof Float32Array ? shortText : realText;
  const walk = (axis: number, at: number): void => {
    if (axis === shape.length) {
      write(text, textOf(data[at]));
      return;
    }
    for (let i = 0; i < shape[axis]; i++) {
      write(text, i === 0 ? '[' : ',');
      walk(axis + 1, at + i * strides[axis]);
    }
    write(text, ']');
  };
  walk(0, 0);
}

function shortText(float32: number): string {
  return realText(shortestFloat32(float32));
}

/**
 * The text of a number as JavaScript writes it, but always with a point or an exponent: 0.0, -0.0, 1.0, 1e+16. Many readers,
 * such as Python's, read a number without either as an integer, which has no −0 and may have to fit into 64 bits.
 */
function realText(value: number): string {
  if (Object.is(value, -0)) return '-0.0';
  if (!Number.isInteger(value)) return String(value);
  return Math.abs(value) < 1e16 ? `${value}.0` : value.toExponential();
}

/** Every text written here is ASCII. */
function write(text: Text, ascii: string): void {
  for (let i = 0; i < ascii.length; i++) text.bytes[text.at++] = ascii.charCodeAt(i);
}

/** The length of the longest text of a number, such as -0.0000012345678901234567 or -1234567900000000.0, with a comma. */
function longestNumber(data: AnyTensor['data']): number {
  if (data instanceof Int32Array) return 12;
  return data instanceof Float32Array ? 20 : 26;
}

/**
 * The most bytes that a slice takes. For a tensor, this follows from its shape and the type of its numbers. A loose bound is
 * cheap, because the system provides memory only when it is written to.
 */
export function longestSlice(slice: Slice): number {
  if (typeof slice === 'string') return slice.length;
  const { shape, data } = slice.tensor;
  let arrays = 1;
  let bytes = elements(shape) * longestNumber(data);
  for (const count of shape) {
    bytes += 3 * arrays;
    arrays *= count;
  }
  return bytes;
}
