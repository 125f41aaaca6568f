import { tensorsIn } from '../tensor/shapes.js';
import { type AnyTensor, flatten, type GroupMember, type Values, withTensors } from '../tensor/signature.js';
import { type Dtype, elements, rowMajor, rowMajorRange, type Shape } from '../tensor/tensor.js';
import { type Format, longestOf, type TensorSlice } from './format.js';

/**
 * Tensors in the format of https://github.com/huggingface/safetensors: the length of a header in 8 bytes, the header as
 * JSON, filled up with spaces to a multiple of 8, and the numbers of each tensor, row-major and little-endian, one tensor
 * after the other.
 *
 *     {"__metadata__":{"group":"RnnCaches"},"a":{"dtype":"F64","shape":[4,2,3],"data_offsets":[0,192]},…}
 *
 * Tensors are named by the members on the way to them, with points between: "parameters.Wax".
 */
const LENGTH_BYTES = 8;
const ALIGNMENT = 8;
/** The most bytes of a header that the format allows. */
const MOST_HEADER_BYTES = 100e6;

/** The types of numbers that we read and write, and the arrays that hold them. */
const TYPES = { F64: Float64Array, F32: Float32Array, I32: Int32Array } as const;
type TypeName = keyof typeof TYPES;

function typeOf({ data }: AnyTensor): TypeName {
  if (data instanceof Int32Array) return 'I32';
  return data instanceof Float32Array ? 'F32' : 'F64';
}

function order({ data }: AnyTensor): number {
  return data instanceof Int32Array ? 1 : 0;
}

export const safetensors: Format = {
  slicesOf(group, values) {
    const entries: Record<string, unknown> = { __metadata__: { group: group.name } };
    const slices: TensorSlice[] = [];
    let at = 0;
    // Whole numbers have 4 bytes. They come last, so that every float64 begins at a multiple of 8 bytes.
    const inOrder = [...tensorsIn(flatten(group), values)].sort(
      (one, other) => order(one.tensor) - order(other.tensor),
    );
    for (const { path, tensor } of inOrder) {
      const end = at + bytesOf(tensor);
      entries[path.join('.')] = { dtype: typeOf(tensor), shape: tensor.shape, data_offsets: [at, end] };
      slices.push({ tensor, first: true, last: true });
      at = end;
    }
    const header = JSON.stringify(entries);
    const length = Math.ceil(header.length / ALIGNMENT) * ALIGNMENT;
    const lengthText = Buffer.alloc(LENGTH_BYTES);
    lengthText.writeBigUInt64LE(BigInt(length));
    return [lengthText.toString('latin1') + header.padEnd(length), ...slices];
  },

  longest: (slice) => (typeof slice === 'string' ? slice.length : bytesOf(slice.tensor)),

  write(slices) {
    const bytes = new Uint8Array(longestOf(safetensors, slices));
    let at = 0;
    for (const slice of slices) {
      if (typeof slice === 'string') for (let i = 0; i < slice.length; i++) bytes[at++] = slice.charCodeAt(i);
      else at += writeRows(bytes, at, slice);
    }
    return bytes;
  },
};

/** Bytes of the numbers of a tensor; `data` need not hold them yet. */
function bytesOf({ shape, data }: AnyTensor): number {
  return elements(shape) * data.BYTES_PER_ELEMENT;
}

/** Every slice begins at a multiple of the size of its numbers: the header ends at a multiple of 8 bytes. */
function writeRows({ buffer }: Uint8Array<ArrayBuffer>, at: number, { tensor }: TensorSlice): number {
  const length = elements(tensor.shape);
  const out = new TYPES[typeOf(tensor)](buffer, at, length);
  rowMajorRange(out, tensor as AnyTensor & { data: typeof out }, 0, length);
  return out.byteLength;
}

/** Bytes cannot be read as the tensors of a group. The message says why. */
export class SafetensorsError extends Error {
  override readonly name = 'SafetensorsError';
}

/** The header of a file: the name of its group, and where each tensor lies. */
export interface Contents {
  /** The name of their group. */
  readonly group: string | undefined;
  readonly tensors: ReadonlyMap<string, Entry>;
  /** Offset of the first byte behind the header. */
  readonly start: number;
}

interface Entry {
  readonly dtype: TypeName;
  readonly shape: Shape;
  /** Offsets of the first byte of its numbers and of the byte behind them, counted from the end of the header. */
  readonly from: number;
  readonly to: number;
}

/**
 * Reads the header. Every claim in it is checked, since the bytes may come from anywhere.
 *
 * @throws SafetensorsError if the header is wrong, or the bytes are not as long as it says
 */
export function readContents(bytes: Uint8Array): Contents {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.length < LENGTH_BYTES) throw new SafetensorsError('the bytes end too early');
  const length = Number(view.readBigUInt64LE());
  if (length > MOST_HEADER_BYTES || LENGTH_BYTES + length > view.length)
    throw new SafetensorsError('the bytes end too early');
  const start = LENGTH_BYTES + length;
  const { __metadata__: metadata, ...entries } = parseHeader(view.toString('utf8', LENGTH_BYTES, start));
  const tensors = new Map<string, Entry>();
  let at = 0;
  for (const [name, said] of Object.entries(entries)) {
    const entry = entryOf(name, said);
    if (entry.from !== at) throw new SafetensorsError(`${name} does not begin where the tensor before it ends`);
    if (start + entry.to > view.length) throw new SafetensorsError(`the bytes end within ${name}`);
    at = entry.to;
    tensors.set(name, entry);
  }
  if (start + at !== view.length) throw new SafetensorsError('the bytes do not end with the last tensor');
  const { group } = (typeof metadata === 'object' && metadata !== null ? metadata : {}) as Record<string, unknown>;
  return { group: typeof group === 'string' ? group : undefined, tensors, start };
}

function parseHeader(text: string): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    throw new SafetensorsError('the header is not JSON');
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw new SafetensorsError('the header is not an object');
  }
  return header as Record<string, unknown>;
}

function entryOf(name: string, said: unknown): Entry {
  const { dtype, shape, data_offsets } = (typeof said === 'object' && said !== null ? said : {}) as Record<
    string,
    unknown
  >;
  if (typeof dtype !== 'string' || !Object.hasOwn(TYPES, dtype)) throw new SafetensorsError(`${name} has no type`);
  const isShape = Array.isArray(shape) && shape.every((n) => Number.isSafeInteger(n) && n >= 1);
  if (!isShape) throw new SafetensorsError(`${name} has no shape`);
  const [from, to] = Array.isArray(data_offsets) ? data_offsets : [];
  const length = elements(shape) * TYPES[dtype as TypeName].BYTES_PER_ELEMENT;
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || to - from !== length) {
    throw new SafetensorsError(`${name} is not as long as its shape says`);
  }
  return { dtype: dtype as TypeName, shape, from, to };
}

/** The dtype of the real numbers in some contents. */
export function dtypeOf({ tensors }: Contents): Dtype {
  return [...tensors.values()].some(({ dtype }) => dtype === 'F64') ? 'float64' : 'float32';
}

/**
 * Reads the tensors of a group: row-major views of the bytes. As after reading JSON, their shapes are not compared with the
 * symbols yet.
 *
 * @param dtype of the real numbers
 * @throws SafetensorsError if the bytes are not exactly a group of this signature
 */
export function readGroup(
  bytes: Uint8Array<ArrayBuffer>,
  { tensors, start }: Contents,
  group: GroupMember,
  dtype: Dtype,
): Values {
  // A view of numbers must begin at a multiple of their size.
  const source = (bytes.byteOffset + start) % ALIGNMENT === 0 ? bytes.subarray(start) : bytes.slice(start);
  const read: [readonly string[], AnyTensor][] = [];
  for (const { path, member } of flatten(group)) {
    const name = path.join('.');
    const entry = tensors.get(name);
    if (!entry) {
      if (!member.optional) throw new SafetensorsError(`${name} is missing`);
      continue;
    }
    const { dtype: type, shape, from } = entry;
    const expected = member.numbers === 'whole' ? 'I32' : dtype === 'float32' ? 'F32' : 'F64';
    if (type !== expected) throw new SafetensorsError(`${name} is ${type}, but must be ${expected}`);
    if (shape.length !== member.axes.length) throw new SafetensorsError(`${name} has ${shape.length} dimensions`);
    if (from % TYPES[type].BYTES_PER_ELEMENT !== 0) throw new SafetensorsError(`${name} begins within a number`);
    const data = new TYPES[type](source.buffer, source.byteOffset + from, elements(shape));
    read.push([path, { shape, strides: rowMajor(shape), data }]);
  }
  if (read.length < tensors.size) throw new SafetensorsError('the bytes hold a tensor that the group does not have');
  const values = withTensors({}, read);
  checkTogether(group, values);
  return values;
}

function checkTogether({ together, members }: GroupMember, values: Values): void {
  for (const names of together) {
    const given = names.filter((name) => values[name] !== undefined);
    if (given.length > 0 && given.length < names.length) {
      throw new SafetensorsError(`${names.join(' or ')} is missing`);
    }
  }
  for (const [name, member] of Object.entries(members)) {
    const value = values[name];
    if (member.kind === 'group' && value) checkTogether(member, value as Values);
  }
}
