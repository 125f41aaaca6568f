import { longestTensor, type Segment, type TensorRows } from '../formats/json/writer.js';
import { bytesOf } from '../formats/safetensors.js';
import { type GroupMember, hasBatchAxis, type Value, type Values } from '../tensor/signature.js';
import {
  arrayOf,
  dtypeOf,
  elements,
  joinExamples,
  rowMajor,
  rowMajorRange,
  sliceExamples,
  type Tensor,
} from '../tensor/tensor.js';
import {
  type Computed,
  type Need,
  planned,
  type Request,
  storedSegments,
  textSegments,
  type Wanted,
} from './workspace.js';

/**
 * A large request is worked on in parts, by as many workers as are free. Its batch is cut into blocks, each a request
 * of its own with fewer examples; gradients of the weights are added up over the blocks in their order. The text of
 * its answer is cut into pieces. Where the cuts are follows from the shapes alone, and one worker makes the same cuts
 * as many: the same request gives the same bytes.
 */

/** Multiplications and additions that are worth the way to another thread: 5 to 10 ms of them. */
const LARGE_WORK = 1e8;
/** Bytes of text that are: about as long. */
const LARGE_TEXT = 4 * 2 ** 20;

export function isLarge({ operation, dims }: Request, { text }: Need): boolean {
  return operation.flops(dims) >= LARGE_WORK || text >= 2 * LARGE_TEXT;
}

/** Examples in a block, at least: with fewer, reading the weights takes longer than using them. */
const LEAST_EXAMPLES = 16;
const MOST_BLOCKS = 8;
/** About as many pieces a text is cut into at most. */
const PIECES = 16;

/** Where the blocks of a request begin, and the end of the last one. */
export function blockBounds({ operation, dims }: Request): number[] {
  const { m } = dims;
  const isWorthIt = operation.flops(dims) >= LARGE_WORK;
  const count = isWorthIt ? Math.min(Math.max(1, Math.floor(m / LEAST_EXAMPLES)), MOST_BLOCKS) : 1;
  return Array.from({ length: count + 1 }, (_, i) => Math.floor((i * m) / count));
}

/** A request for examples from … to − 1 alone. All its tensors are copies. */
export function blockOf(request: Request, from: number, to: number): Request {
  const slice = (signature: GroupMember, values: Values): Values => {
    const sliced: Record<string, Value | undefined> = { ...values };
    for (const [name, member] of Object.entries(signature.members)) {
      const value = values[name];
      if (value === undefined) continue;
      if (member.kind === 'group') sliced[name] = slice(member, value as Values);
      if (member.kind !== 'tensor') continue;
      const tensor = value as Tensor;
      sliced[name] = hasBatchAxis(member) ? sliceExamples(tensor, from, to) : { ...tensor, data: tensor.data.slice() };
    }
    return sliced;
  };
  const { operation, values, dims } = request;
  return { ...request, values: slice(operation.request, values), dims: { ...dims, m: to - from } };
}

/** Part of the answer's text: text as it is, rows of a tensor of the request, or rows of one that is computed. */
export type PieceItem = Segment | Cut;

/** Rows from … to − 1, along the first axis, of a tensor that is computed. */
export interface Cut {
  readonly wanted: Wanted;
  readonly from: number;
  readonly to: number;
}

/** What a large request gives, in pieces of about the same length, which are the whole one after the other. */
export interface Pieces {
  /** Of the text of its answer. */
  readonly pieces: readonly (readonly PieceItem[])[];
  /** Of the bytes of its caches, if they are stored. */
  readonly stored: readonly (readonly PieceItem[])[];
}

export function piecesOf(request: Request, { wanted, text, stored }: Need): Pieces {
  const tensors = planned(request, wanted);
  const origins = new Map([...wanted].map(([key, one]) => [tensors.get(key), one]));
  return {
    pieces: cutInPieces(textSegments(request, tensors), origins, longestTensor, text),
    stored: cutInPieces(storedSegments(request, tensors), origins, bytesOf, stored),
  };
}

/**
 * @param origins which tensors are computed
 * @param bytesOf what a tensor takes where it is written
 * @param total what all of it takes
 */
function cutInPieces(
  segments: readonly Segment[],
  origins: ReadonlyMap<Tensor | undefined, Wanted>,
  bytesOf: (tensor: Tensor) => number,
  total: number,
): PieceItem[][] {
  const most = Math.max(LARGE_TEXT, total / PIECES);
  const pieces: PieceItem[][] = [];
  let room = 0;
  const push = (item: PieceItem, bytes: number): void => {
    if (bytes > room) {
      pieces.push([]);
      room = most;
    }
    pieces[pieces.length - 1].push(item);
    room -= bytes;
  };
  for (const segment of segments) {
    if (typeof segment === 'string') {
      push(segment, segment.length);
      continue;
    }
    const { tensor } = segment;
    const origin = origins.get(tensor);
    const [n] = tensor.shape;
    const bytes = bytesOf(tensor) / n;
    const step = Math.max(1, Math.floor(most / 4 / bytes));
    for (let from = 0; from < n; from += step) {
      const to = Math.min(from + step, n);
      const item = origin ? { wanted: origin, from, to } : rowsOfRequest(tensor, from, to);
      push(item, (to - from) * bytes);
    }
  }
  return pieces;
}

/** Rows of a row-major tensor, copied: what it is a view of may be needed for something else by then. */
function rowsOfRequest({ shape, strides, data }: Tensor, from: number, to: number): TensorRows {
  const rows = data.slice(from * strides[0], to * strides[0]);
  return { tensor: { shape: shape.with(0, to - from), strides, data: rows }, first: from === 0, last: to === shape[0] };
}

/** The cuts of all pieces, in their order. */
export function cutsIn({ pieces, stored }: Pieces): Cut[] {
  return [...pieces.flat(), ...stored.flat()].filter(isCut);
}

function isCut(item: PieceItem): item is Cut {
  return typeof item === 'object' && 'wanted' in item;
}

/**
 * What a block adds to each cut: row-major, in memory of its own. A block need not have the same list of tensors as the
 * whole request: with fewer examples a chunk may hold all time steps, and is then the answer's own tensor.
 */
export function contributionsOf(computed: readonly Computed[], cuts: readonly Cut[]): Tensor[] {
  const tensors = new Map(computed.map(({ role, pointer, tensor }) => [`${role} ${pointer}`, tensor]));
  return cuts.map(({ wanted: { role, pointer }, from, to }) => {
    const tensor = tensors.get(`${role} ${pointer}`);
    if (!tensor) throw new Error(`a block has not computed ${pointer}`);
    const shape = tensor.shape.with(0, to - from);
    const data = new arrayOf[dtypeOf(tensor.data)](elements(shape));
    const row = elements(shape.slice(1));
    rowMajorRange(data, tensor, from * row, to * row);
    return { shape, strides: rowMajor(shape), data };
  });
}

/** A piece of the answer, ready to be written as soon as what the blocks have added to its cuts is joined. */
export interface PieceTask {
  readonly items: readonly (Segment | JoinedCut)[];
  /** Is it of the stored caches? */
  readonly isStored: boolean;
}

interface JoinedCut extends Cut {
  readonly contributions: readonly Tensor[];
}

/** @param ofBlocks what each block has added to each cut */
export function pieceTasks({ pieces, stored }: Pieces, ofBlocks: readonly (readonly Tensor[])[]): PieceTask[] {
  let next = 0;
  const join = (item: PieceItem) => {
    if (!isCut(item)) return item;
    const at = next++;
    return { ...item, contributions: ofBlocks.map((block) => block[at]) };
  };
  return [
    ...pieces.map((items) => ({ items: items.map(join), isStored: false })),
    ...stored.map((items) => ({ items: items.map(join), isStored: true })),
  ];
}

/** A cut as it is written: the examples of all blocks, or the sum over the blocks in their order. */
export function joinedOf({ wanted, from, to, contributions }: JoinedCut): TensorRows {
  const tensor = hasBatchAxis(wanted.member) ? joinExamples(contributions) : sumOf(contributions);
  return { tensor, first: from === 0, last: to === wanted.shape[0] };
}

function sumOf([first, ...others]: readonly Tensor[]): Tensor {
  for (const { data } of others) for (let i = 0; i < data.length; i++) first.data[i] += data[i];
  return first;
}
