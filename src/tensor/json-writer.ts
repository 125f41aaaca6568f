import type { JsonCodec } from './json-codec.js';
import type { GroupMember, Values } from './signature.js';
import { elements, type Tensor } from './tensor.js';

/**
 * Writes an answer as JSON: the members of the signature that have a value, in its order, tensors as nested
 * arrays. Numbers are the shortest digits that read back to the same float64, −0 as -0. Every number must be finite.
 */
export function writeJson(signature: GroupMember, values: Values, codec?: JsonCodec): Uint8Array<ArrayBuffer> {
  const text = { codec, bytes: new Uint8Array(longestJson(signature, values)), at: 0 };
  writeGroup(text, signature, values);
  return text.bytes.subarray(0, text.at);
}

interface Text {
  /** The fast road for tensors; without it all are written by the plain one. */
  readonly codec: JsonCodec | undefined;
  readonly bytes: Uint8Array<ArrayBuffer>;
  at: number;
}

function writeGroup(text: Text, signature: GroupMember, values: Values): void {
  let separator = '{';
  for (const [name, member] of Object.entries(signature.members)) {
    const value = values[name];
    if (value === undefined) continue;
    write(text, `${separator}"${name}":`);
    separator = ',';
    if (member.kind === 'tensor') writeTensor(text, value as Tensor);
    else if (member.kind === 'group') writeGroup(text, member, value as Values);
    else write(text, JSON.stringify(value));
  }
  write(text, separator === '{' ? '{}' : '}');
}

function writeTensor(text: Text, tensor: Tensor): void {
  const end = text.codec?.writeTensor(tensor, text.bytes, text.at, longestTensor(tensor));
  if (end !== undefined) {
    text.at = end;
    return;
  }
  const { shape, strides, data } = tensor;
  const walk = (axis: number, at: number): void => {
    const [count, stride] = [shape[axis], strides[axis]];
    for (let i = 0; i < count; i++) {
      write(text, i === 0 ? '[' : ',');
      if (axis === shape.length - 1) writeNumber(text, data[at + i * stride]);
      else walk(axis + 1, at + i * stride);
    }
    write(text, ']');
  };
  walk(0, 0);
}

function writeNumber(text: Text, value: number): void {
  write(text, Object.is(value, -0) ? '-0' : String(value));
}

/** Every text written here is ASCII. */
function write(text: Text, ascii: string): void {
  for (let i = 0; i < ascii.length; i++) text.bytes[text.at++] = ascii.charCodeAt(i);
}

/** The longest text of a double, such as -0.0000012345678901234567, and a comma. */
const LONGEST_NUMBER = 26;

/**
 * An upper bound of the bytes that `writeJson` writes, from the shapes of the values alone. Room that is not written to costs no memory: the system
 * gives pages when they are touched.
 */
export function longestJson(signature: GroupMember, values: Values): number {
  let bytes = 2;
  for (const [name, member] of Object.entries(signature.members)) {
    const value = values[name];
    if (value === undefined) continue;
    bytes += name.length + 4;
    if (member.kind === 'tensor') bytes += longestTensor(value as Tensor);
    else if (member.kind === 'group') bytes += longestJson(member, value as Values);
    else bytes += JSON.stringify(value).length;
  }
  return bytes;
}

function longestTensor({ shape }: Tensor): number {
  let arrays = 1;
  let bytes = elements(shape) * LONGEST_NUMBER;
  for (const count of shape) {
    bytes += 3 * arrays;
    arrays *= count;
  }
  return bytes;
}
