import { shortestFloat32 } from './float32.js';
import type { JsonCodec } from './json-codec.js';
import type { GroupMember, Values } from './signature.js';
import { dtypeOf, elements, type Tensor } from './tensor.js';

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
 * Writes tensors as nested arrays. Numbers are the shortest digits that read back to the same number of their type, −0 as
 * -0.0, because there are readers to which -0 is the whole number 0. Every number must be finite.
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
  const shortest = dtypeOf(data) === 'float32' ? shortestFloat32 : String;
  const walk = (axis: number, at: number): void => {
    const [count, stride] = [shape[axis], strides[axis]];
    for (let i = 0; i < count; i++) {
      write(text, i === 0 ? '[' : ',');
      if (axis < shape.length - 1) walk(axis + 1, at + i * stride);
      else {
        const value = data[at + i * stride];
        write(text, Object.is(value, -0) ? '-0.0' : shortest(value));
      }
    }
    write(text, ']');
  };
  walk(0, 0);
}

/** Every text written here is ASCII. */
function write(text: Text, ascii: string): void {
  for (let i = 0; i < ascii.length; i++) text.bytes[text.at++] = ascii.charCodeAt(i);
}

/** The longest text of a number, such as -0.0000012345678901234567 and -340282350000000000000, and a comma. */
const LONGEST_NUMBER = { float64: 26, float32: 23 };

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
