import { type FormatName, type Formats, longestOf, type Slice, type TensorSlice } from '../formats/format.js';
import { type AnyTensor, batchAxis } from '../tensor/signature.js';
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
 * What a large request gives is cut into pieces of about the same length, which are written by all workers that are free.
 * As with its blocks, where the cuts are follows from the sizes alone.
 */
export interface Piece {
  readonly destination: Destination;
  readonly format: FormatName;
  readonly items: readonly (Slice | Cut)[];
}

/** Rows from … to − 1, along the first axis, of a tensor that is computed. */
export interface Cut {
  readonly planned: PlannedTensor;
  readonly from: number;
  readonly to: number;
}

/** About as many pieces an output is cut into at most. */
const MOST_PIECES = 16;

/** All pieces of a request, those of one output one after the other. */
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
 * @param computed which tensors are not there yet
 * @param most bytes in a piece
 */
function cutInPieces(
  slices: readonly Slice[],
  computed: ReadonlyMap<AnyTensor | undefined, PlannedTensor>,
  longest: (slice: Slice) => number,
  most: number,
): (Slice | Cut)[][] {
  const pieces: (Slice | Cut)[][] = [];
  let room = 0;
  const push = (item: Slice | Cut, bytes: number): void => {
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

/** Rows of a row-major tensor, copied: what it is a view of may be needed for something else by then. */
function rowsOfRequest({ shape, strides, data }: AnyTensor, from: number, to: number): TensorSlice {
  const [n = 1] = shape;
  const row = data.length / n;
  const rows = data.slice(from * row, to * row);
  return { tensor: { shape: rowsShape(shape, from, to), strides, data: rows }, first: from === 0, last: to === n };
}

/** The shape of some rows of a tensor; a single number is its only row. */
function rowsShape(shape: AnyTensor['shape'], from: number, to: number): AnyTensor['shape'] {
  return shape.length === 0 ? shape : shape.with(0, to - from);
}

/** The cuts of some pieces, in their order. */
export function cutsIn(pieces: readonly Piece[]): Cut[] {
  return pieces.flatMap(({ items }) => items.filter(isCut));
}

function isCut(item: Slice | Cut): item is Cut {
  return typeof item === 'object' && 'planned' in item;
}

/**
 * What a block adds to each cut: row-major, in memory of its own. Where rows are examples, those of the cut that it has.
 *
 * @param firstExample of the block
 */
export function contributionsOf(computed: readonly Computed[], cuts: readonly Cut[], firstExample: number): Tensor[] {
  const tensors = new Map(computed.map(({ planned, tensor }) => [planned.key, tensor]));
  return cuts.map(({ planned: { key, member }, ...cut }) => {
    const tensor = tensors.get(key);
    if (!tensor || !isReal(tensor)) throw new Error(`a block has not computed the ${key}`);
    const [n = 1] = tensor.shape;
    const first = batchAxis(member) === 0 ? firstExample : 0;
    const within = (row: number) => Math.min(Math.max(0, row - first), n);
    const [from, to] = [within(cut.from), within(cut.to)];
    const shape = rowsShape(tensor.shape, from, to);
    const data = new arrayOf[dtypeOf(tensor.data)](elements(shape));
    const row = elements(tensor.shape.slice(1));
    rowMajorRange(data, tensor, from * row, to * row);
    return { shape, strides: rowMajor(shape), data };
  });
}

/** What all blocks have added to each cut, of what each block has added to all of them. */
export function byCut(cuts: readonly Cut[], ofBlocks: readonly (readonly Tensor[])[]): (readonly Tensor[])[] {
  return cuts.map((_, i) => ofBlocks.map((contributions) => contributions[i]));
}

/** A piece that is ready to be written as soon as what the blocks have added to its cuts is joined. */
export interface PieceTask extends Omit<Piece, 'items'> {
  readonly items: readonly (Slice | JoinedCut)[];
}

export interface JoinedCut extends Cut {
  readonly contributions: readonly Tensor[];
}

/** @param ofCuts what the blocks have added to each cut */
export function pieceTasks(pieces: readonly Piece[], ofCuts: readonly (readonly Tensor[])[]): PieceTask[] {
  let next = 0;
  const join = (item: Slice | Cut) => (isCut(item) ? { ...item, contributions: ofCuts[next++] } : item);
  return pieces.map(({ items, ...piece }) => ({ ...piece, items: items.map(join) }));
}

/** A cut as it is written: the examples of all blocks, or the sum over the blocks in their order. */
export function joinedOf({ planned, from, to, contributions }: JoinedCut): TensorSlice & { readonly tensor: Tensor } {
  const axis = batchAxis(planned.member);
  const tensor = axis < 0 ? sumOf(contributions) : joinExamples(contributions, axis);
  const [n = 1] = planned.shape;
  return { tensor, first: from === 0, last: to === n };
}

function sumOf([first, ...others]: readonly Tensor[]): Tensor {
  for (const { data } of others) for (let i = 0; i < data.length; i++) first.data[i] += data[i];
  return first;
}
