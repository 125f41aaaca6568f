import type { GroupMember, Values } from '../../tensor/signature.js';
import { dtypeOf, elements, type Tensor } from '../../tensor/tensor.js';
import type { JsonCodec } from './codec.js';
import { shortestFloat32 } from './float32.js';

/** A piece of JSON: text as it is, or a tensor. */
export type Segment = string | TensorRows;

/** Rows of a tensor along its first axis. The text of all its rows one after the other is that of the tensor. */
export interface TensorRows {
  readonly tensor: Tensor;
  /** Do they begin with the tensor's first row? */
  readonly first: boolean;
  /** Do they end with its last one? */
  readonly last: boolean;
}

/** An answer as JSON: the members of the signature that have a value, in its order. */
export function segmentsOf(signature: GroupMember, values: Values): Segment[] {
  const segments: Segment[] = [];
  let text = '';
  const addGroup = ({ members }: GroupMember, values: Values): void => {
    let separator = '{';
    for (const [name, member] of Object.entries(members)) {
      const value = values[name];
      if (value === undefined) continue;
      text += `${separator}"${name}":`;
      separator = ',';
      if (member.kind === 'tensor') {
        segments.push(text, { tensor: value as Tensor, first: true, last: true });
        text = '';
      } else if (member.kind === 'group') addGroup(member, value as Values);
      else text += JSON.stringify(value);
    }
    text += separator === '{' ? '{}' : '}';
  };
  addGroup(signature, values);
  return [...segments, text];
}

/**
 * Writes tensors as nested arrays. Numbers have the shortest digits that read back to the same number of their type, and
 * a point or an exponent. Every number must be finite.
 */
export function writeSegments(segments: readonly Segment[], codec?: JsonCodec): Uint8Array<ArrayBuffer> {
  const text = { codec, bytes: new Uint8Array(longestText(segments)), at: 0 };
  for (const segment of segments) {
    if (typeof segment === 'string') write(text, segment);
    else writeRows(text, segment);
  }
  return text.bytes.subarray(0, text.at);
}

interface Text {
  /** The fast road for tensors; without it all are written by the plain one. */
  readonly codec: JsonCodec | undefined;
  readonly bytes: Uint8Array<ArrayBuffer>;
  at: number;
}

function writeRows(text: Text, { tensor, first, last }: TensorRows): void {
  const start = text.at;
  const end = text.codec?.writeTensor(tensor, text.bytes, start);
  if (end === undefined) writePlain(text, tensor);
  else text.at = end;
  if (!first) text.bytes[start] = COMMA;
  if (!last) text.at--; // the bracket that closes the tensor
}

const COMMA = 0x2c;

function writePlain(text: Text, { shape, strides, data }: Tensor): void {
  const isFloat32 = dtypeOf(data) === 'float32';
  const walk = (axis: number, at: number): void => {
    const [count, stride] = [shape[axis], strides[axis]];
    for (let i = 0; i < count; i++) {
      write(text, i === 0 ? '[' : ',');
      if (axis < shape.length - 1) walk(axis + 1, at + i * stride);
      else {
        const value = data[at + i * stride];
        write(text, realText(isFloat32 ? shortestFloat32(value) : value));
      }
    }
    write(text, ']');
  };
  walk(0, 0);
}

/**
 * A number as JavaScript writes it, but always with a point or an exponent: 0.0, -0.0, 1.0, 1e+16. Many readers, Python's
 * among them, take a number without either for an integer, which has no −0 and may have to fit into 64 bits.
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

/** The longest text of a number, such as -0.0000012345678901234567 and -1234567900000000.0, and a comma. */
const LONGEST_NUMBER = { float64: 26, float32: 20 };

/**
 * An upper bound of the bytes that these segments take, from the shapes and the type of the numbers alone. Room that
 * is not written to costs no memory: the system gives pages when they are touched.
 */
export function longestText(segments: readonly Segment[]): number {
  return segments.reduce((bytes, segment) => {
    return bytes + (typeof segment === 'string' ? segment.length : longestTensor(segment.tensor));
  }, 0);
}

/** The same for one tensor. */
export function longestTensor({ shape, data }: Tensor): number {
  let arrays = 1;
  let bytes = elements(shape) * LONGEST_NUMBER[dtypeOf(data)];
  for (const count of shape) {
    bytes += 3 * arrays;
    arrays *= count;
  }
  return bytes;
}
