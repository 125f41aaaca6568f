import { type FormatName, type Formats, longestOf, type Slice, type TensorSlice } from '../formats/format.js';
import { type AnyTensor, batchAxis, hasBatchAxis } from '../tensor/signature.js';
import {
  arrayOf,
  dtypeOf,
  elements,
  isReal,
  joinExamples,
  rowMajor,
  rowMajorRange,
  type Tensor,
} from '../tensor/tensor.js';
import type { Cutting } from './blocks.js';
import type { Computed, PlannedTensor } from './members.js';
import { type Destination, outputsOf, type Plan, withoutNumbers } from './plan.js';
import type { Request } from './request.js';

/**
 * A piece of the output of a large request: what one worker writes. All pieces have about the same length, and any worker
 * that is free writes the next one. As with blocks, the sizes alone decide where the output is cut.
 */
export interface Piece {
  readonly destination: Destination;
  readonly format: FormatName;
  readonly items: readonly (Slice | PlannedSlice)[];
}

/** A slice of a tensor that is not computed yet: its rows from … to − 1 along the first axis. */
export interface PlannedSlice {
  readonly planned: PlannedTensor;
  readonly from: number;
  readonly to: number;
}

/** The most pieces that one output is cut into, give or take one. */
const MOST_PIECES = 16;

/** All pieces of a request, in the order of its outputs and of the bytes in each. */
export function piecesOf(request: Request, plan: Plan, formats: Formats, cutting: Cutting): Piece[] {
  const tensors = withoutNumbers(request, plan);
  const computed = new Map(plan.planned.map((one) => [tensors.get(one.key), one]));
  return outputsOf(request, plan, tensors, formats).flatMap(({ destination, format, slices }) => {
    const { longest } = formats[format];
    const most = Math.max(cutting.bytes, longestOf(formats[format], slices) / MOST_PIECES);
    return cutInPieces(slices, computed, longest, most).map((items) => ({ destination, format, items }));
  });
}

/**
 * @param computed the tensors that are not computed yet, and their plans
 * @param longest the most bytes that a slice takes
 * @param most bytes in a piece
 */
function cutInPieces(
  slices: readonly Slice[],
  computed: ReadonlyMap<AnyTensor | undefined, PlannedTensor>,
  longest: (slice: Slice) => number,
  most: number,
): (Slice | PlannedSlice)[][] {
  const pieces: (Slice | PlannedSlice)[][] = [];
  let room = 0;
  const push = (item: Slice | PlannedSlice, bytes: number): void => {
    if (bytes > room) {
      pieces.push([]);
      room = most;
    }
    pieces[pieces.length - 1].push(item);
    room -= bytes;
  };
  for (const slice of slices) {
    if (typeof slice === 'string') {
      push(slice, slice.length);
      continue;
    }
    const { tensor } = slice;
    const planned = computed.get(tensor);
    const [n = 1] = tensor.shape;
    const bytes = longest(slice) / n;
    const step = Math.max(1, Math.floor(most / 4 / bytes));
    for (let from = 0; from < n; from += step) {
      const to = Math.min(from + step, n);
      push(planned ? { planned, from, to } : rowsOfRequest(tensor, from, to), (to - from) * bytes);
    }
  }
  return pieces;
}

/** Rows of a row-major tensor, copied: the memory of the tensor may be reused before they are written. */
function rowsOfRequest({ shape, strides, data }: AnyTensor, from: number, to: number): TensorSlice {
  const [n = 1] = shape;
  const row = data.length / n;
  const rows = data.slice(from * row, to * row);
  return { tensor: { shape: rowsShape(shape, from, to), strides, data: rows }, first: from === 0, last: to === n };
}

/** The shape of some rows of a tensor. A single number is its own only row. */
function rowsShape(shape: AnyTensor['shape'], from: number, to: number): AnyTensor['shape'] {
  return shape.length === 0 ? shape : shape.with(0, to - from);
}

/** The planned slices in some pieces, in order. */
export function plannedSlicesIn(pieces: readonly Piece[]): PlannedSlice[] {
  return pieces.flatMap(({ items }) => items.filter(isPlanned));
}

/** Sums of an answer that are not part of its output, but that what is written may be finished with. */
export function unwrittenSums({ operation, values }: Request, { planned }: Plan): PlannedSlice[] {
  if (!operation.finish) return [];
  const unwritten = planned.filter(({ part, pointer, member }) => {
    return part === 'answer' && !hasBatchAxis(member) && !operation.isReturned(pointer, values);
  });
  return unwritten.map((one) => ({ planned: one, from: 0, to: one.shape[0] ?? 1 }));
}

function isPlanned(item: Slice | PlannedSlice): item is PlannedSlice {
  return typeof item === 'object' && 'planned' in item;
}

/**
 * What a block adds to each planned slice: row-major, in memory of its own. If rows are examples, the block adds those rows
 * of the slice that are its own examples.
 *
 * @param firstExample of the block
 * @throws Error if the block did not compute one of the tensors
 */
export function contributionsOf(
  computed: readonly Computed[],
  slices: readonly PlannedSlice[],
  firstExample: number,
): Tensor[] {
  const tensors = new Map(computed.map(({ planned, tensor }) => [planned.key, tensor]));
  return slices.map(({ planned: { key, member }, ...slice }) => {
    const tensor = tensors.get(key);
    if (!tensor || !isReal(tensor)) throw new Error(`a block did not compute ${key}`);
    const [n = 1] = tensor.shape;
    const first = batchAxis(member) === 0 ? firstExample : 0;
    const within = (row: number) => Math.min(Math.max(0, row - first), n);
    const [from, to] = [within(slice.from), within(slice.to)];
    const shape = rowsShape(tensor.shape, from, to);
    const data = new arrayOf[dtypeOf(tensor.data)](elements(shape));
    const row = elements(tensor.shape.slice(1));
    rowMajorRange(data, tensor, from * row, to * row);
    return { shape, strides: rowMajor(shape), data };
  });
}

/** The contributions of all blocks to each slice, from the contributions of each block to all slices. */
export function bySlice(
  slices: readonly PlannedSlice[],
  ofBlocks: readonly (readonly Tensor[])[],
): (readonly Tensor[])[] {
  return slices.map((_, i) => ofBlocks.map((contributions) => contributions[i]));
}

/** A piece that a worker can write: each planned slice carries the contributions of all blocks, which are still to be joined. */
export interface PieceTask extends Omit<Piece, 'items'> {
  readonly items: readonly (Slice | SliceToJoin)[];
}

export interface SliceToJoin extends PlannedSlice {
  readonly contributions: readonly Tensor[];
}

/** @param ofSlices the contributions of all blocks to each planned slice */
export function pieceTasks(pieces: readonly Piece[], ofSlices: readonly (readonly Tensor[])[]): PieceTask[] {
  let next = 0;
  const join = (item: Slice | PlannedSlice) => (isPlanned(item) ? { ...item, contributions: ofSlices[next++] } : item);
  return pieces.map(({ items, ...piece }) => ({ ...piece, items: items.map(join) }));
}

/** A slice as it is written: the examples of all blocks, or the sum over the blocks, in their order. */
export function joinedOf({ planned, from, to, contributions }: SliceToJoin): TensorSlice & { readonly tensor: Tensor } {
  const axis = batchAxis(planned.member);
  const tensor = axis < 0 ? sumOf(contributions, planned.member.isNorm) : joinExamples(contributions, axis);
  const [n = 1] = planned.shape;
  return { tensor, first: from === 0, last: to === n };
}

function sumOf([first, ...others]: readonly Tensor[], isNorm: boolean): Tensor {
  for (const { data } of others) {
    if (isNorm) for (let i = 0; i < data.length; i++) first.data[i] = Math.hypot(first.data[i], data[i]);
    else for (let i = 0; i < data.length; i++) first.data[i] += data[i];
  }
  return first;
}
