import { tensorsIn } from '../tensor/shapes.js';
import { type GroupMember, pointerTo, type Value, type Values } from '../tensor/signature.js';
import {
  arrayOf,
  type Dtype,
  dtypeOf,
  elements,
  rowMajor,
  rowMajorRange,
  type Shape,
  type Tensor,
} from '../tensor/tensor.js';
import type { Segment, TensorRows } from './json/writer.js';

/**
 * A group of tensors as bytes that are kept: a line of text that says what they are, then the numbers of each tensor,
 * row-major, one tensor after the other, each beginning at a multiple of 8 bytes.
 *
 *     unroll-tensors/1 00000042 {"group":"RnnCaches","dtype":"float64","order":"little","tensors":[["/a",[4,2,3]],…]}⎵⎵⎵
 *
 * The number is the length of the text in bytes. Tensors are named by their JSON pointers in the group, in the order of
 * its signature. The numbers are in the byte order of the machine, which the text tells.
 */
const MAGIC = 'unroll-tensors/1 ';
const LENGTH_DIGITS = 8;
const ALIGNMENT = 8;

const ORDER = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 'little' : 'big';

/** What is written, in its order: text as it is, and tensors, of which only shape and type matter here. */
export function binarySegments(group: GroupMember, values: Values, dtype: Dtype): Segment[] {
  const tensors = [...tensorsIn(group, values)];
  const shapes = tensors.map(({ pointer, tensor }) => [pointer, tensor.shape]);
  const header = JSON.stringify({ group: group.name, dtype, order: ORDER, tensors: shapes });
  const length = aligned(MAGIC.length + LENGTH_DIGITS + 1 + header.length);
  const segments: Segment[] = [`${MAGIC}${String(length).padStart(LENGTH_DIGITS, '0')} ${header}`.padEnd(length)];
  for (const { tensor } of tensors) {
    segments.push({ tensor, first: true, last: true });
    const bytes = bytesOf(tensor);
    if (bytes < aligned(bytes)) segments.push(' '.repeat(aligned(bytes) - bytes));
  }
  return segments;
}

/** Bytes that these segments take: exactly so many. */
export function binaryLength(segments: readonly Segment[]): number {
  return segments.reduce((sum, one) => sum + (typeof one === 'string' ? one.length : bytesOf(one.tensor)), 0);
}

/** Bytes of the numbers of a tensor; `data` need not hold them yet. */
export function bytesOf({ shape, data }: Tensor): number {
  return elements(shape) * data.BYTES_PER_ELEMENT;
}

/** The bytes of some segments that follow each other. They begin where an element of their tensors may. */
export function writeBinary(segments: readonly Segment[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(binaryLength(segments));
  let at = 0;
  for (const segment of segments) {
    if (typeof segment === 'string') for (let i = 0; i < segment.length; i++) bytes[at++] = segment.charCodeAt(i);
    else at += writeRows(bytes, at, segment);
  }
  return bytes;
}

function writeRows({ buffer }: Uint8Array<ArrayBuffer>, at: number, { tensor }: TensorRows): number {
  const { shape, data } = tensor;
  const out = new arrayOf[dtypeOf(data)](buffer, at, elements(shape));
  rowMajorRange(out, tensor, 0, out.length);
  return out.byteLength;
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/** Bytes that cannot be read as the tensors of the group; the message says why. */
export class BinaryError extends Error {
  override readonly name = 'BinaryError';
}

/** What bytes say of themselves. */
export interface Contents {
  readonly group: string;
  readonly dtype: Dtype;
  readonly order: string;
  readonly tensors: readonly (readonly [pointer: string, shape: Shape])[];
  /** Where the numbers begin. */
  readonly start: number;
}

/**
 * Reads what bytes say of themselves. Nothing is believed that has not been looked at: they may come from elsewhere.
 *
 * @throws BinaryError
 */
export function readContents(bytes: Uint8Array): Contents {
  const start = MAGIC.length + LENGTH_DIGITS + 1;
  const [magic, digits] = [textOf(bytes, 0, MAGIC.length), textOf(bytes, MAGIC.length, start)];
  if (magic !== MAGIC) throw new BinaryError('they are of another format');
  const length = Number(/^(\d+) $/.exec(digits)?.[1]);
  if (!(length >= start && length <= bytes.length && length % ALIGNMENT === 0)) throw new BinaryError('they break off');
  let header: unknown;
  try {
    header = JSON.parse(textOf(bytes, start, length));
  } catch {
    throw new BinaryError('they do not say what they are');
  }
  if (!isHeader(header)) throw new BinaryError('they do not say what they are');
  return { ...header, start: length };
}

function isHeader(header: unknown): header is Omit<Contents, 'start'> {
  if (typeof header !== 'object' || header === null) return false;
  const { group, dtype, order, tensors } = header as Record<string, unknown>;
  const isDtype = typeof dtype === 'string' && Object.hasOwn(arrayOf, dtype);
  const isListed = Array.isArray(tensors) && tensors.every(Array.isArray);
  return typeof group === 'string' && isDtype && typeof order === 'string' && isListed;
}

/**
 * The tensors of a group: views of the bytes, row-major, their shapes not yet compared with the signature's letters,
 * just as they are read out of JSON.
 *
 * @throws BinaryError where the bytes are not exactly a group of this signature
 */
export function readBinary(bytes: Uint8Array<ArrayBuffer>, group: GroupMember): Values {
  const contents = readContents(bytes);
  if (contents.group !== group.name) throw new BinaryError(`they are ${contents.group}, but must be ${group.name}`);
  if (contents.order !== ORDER) throw new BinaryError(`their byte order is ${contents.order}, but must be ${ORDER}`);
  // A view of numbers must begin at a multiple of their size.
  const source = bytes.byteOffset % ALIGNMENT === 0 ? bytes : bytes.slice();
  let at = contents.start;
  let next = 0;
  const take = (pointer: string, rank: number): Tensor | undefined => {
    const [named, shape] = contents.tensors[next] ?? [];
    if (named !== pointer) return undefined;
    next++;
    if (!isShape(shape, rank)) throw new BinaryError(`${pointer} has no shape`);
    const [length, Numbers] = [elements(shape), arrayOf[contents.dtype]];
    if (at + length * Numbers.BYTES_PER_ELEMENT > source.length) throw new BinaryError(`they break off in ${pointer}`);
    const data = new Numbers(source.buffer, source.byteOffset + at, length);
    at = aligned(at + data.byteLength);
    return { shape, strides: rowMajor(shape), data };
  };
  const values = readGroup(group, '', take);
  if (next < contents.tensors.length) throw new BinaryError('they hold a tensor too many');
  if (at !== source.length) throw new BinaryError('they do not end with their last tensor');
  return values;
}

function readGroup(
  group: GroupMember,
  parent: string,
  take: (pointer: string, rank: number) => Tensor | undefined,
): Values {
  const values: Record<string, Value> = {};
  for (const [name, member] of Object.entries(group.members)) {
    const pointer = pointerTo(parent, name);
    if (member.kind === 'group') values[name] = readGroup(member, pointer, take);
    if (member.kind !== 'tensor') continue;
    const tensor = take(pointer, member.dims.length);
    if (tensor) values[name] = tensor;
    else if (!member.optional) throw new BinaryError(`${pointer} is missing`);
  }
  for (const names of group.together) {
    const given = names.filter((name) => values[name] !== undefined);
    if (given.length > 0 && given.length < names.length) throw new BinaryError(`${names.join(' or ')} is missing`);
  }
  return values;
}

function isShape(shape: unknown, rank: number): shape is Shape {
  return Array.isArray(shape) && shape.length === rank && shape.every((n) => Number.isSafeInteger(n) && n >= 1);
}

function textOf(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1', from, to);
}
