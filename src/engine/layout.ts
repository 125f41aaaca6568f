import type { Matrix, Rows } from '../kernels/kernels.js';
import type { Numbers, Tensor } from '../tensor/tensor.js';

/**
 * How the engine sees the tensors of a request. Legend of the dimensions, used by every file in this folder:
 *
 *     n_x  input features      m    examples in the batch
 *     n_a  hidden units        T_x  time steps of x
 *     n_y  outputs (classes)   T_da time steps of da, at most T_x
 *
 * A caller's (n_a, m, T_x) lies in memory time-major with features contiguous, (T_x, m, n_a): one time step is
 * one run of m · n_a numbers. A caller's (n_a, m) lies as (m, n_a). Weights lie as the caller wrote them.
 */

/** All numbers of a tensor, one after the other. */
export function rows({ data }: Tensor): Rows {
  return { data, offset: 0, length: data.length };
}

/**
 * A sequence as rows, the examples of one time step after those of another; each row has n numbers. Which rows are whose
 * says Steps.
 */
export interface Track {
  readonly data: Numbers;
  readonly n: number;
}

/** A (n, m, T) tensor as rows. */
export function track({ shape: [n], data }: Tensor): Track {
  return { data, n };
}

/** Which rows of its tracks the time steps of a sequence have. */
export interface Steps {
  /** How many steps there are. */
  readonly T: number;
  /** Examples in the first step; in every step, where `starts` is absent. */
  readonly m: number;
  /** The first row of each step, and of one that would follow the last. Steps never have more examples than the one before. */
  readonly starts?: Int32Array | undefined;
}

/** The first row of step t. */
export function rowOf({ m, starts }: Steps, t: number): number {
  return starts ? starts[t] : t * m;
}

/** The examples of step t. */
export function examplesIn({ m, starts }: Steps, t: number): number {
  return starts ? starts[t + 1] - starts[t] : m;
}

/** Rows from … to − 1 of a track. */
export function range({ data, n }: Track, from: number, to: number): Rows {
  return { data, offset: from * n, length: (to - from) * n };
}

/** Sets every number to zero. */
export function clear({ data, offset, length }: Rows): void {
  data.fill(0, offset, offset + length);
}

/** A (rows, columns) weight tensor as a matrix. */
export function matrix({ shape: [rows, columns], data }: Tensor): Matrix {
  return { data, offset: 0, rows, columns, stride: columns };
}

/** Columns `from` … `to − 1` of a weight tensor as a matrix on the same memory. */
export function columnBlock({ shape: [rows, stride], data }: Tensor, from: number, to: number): Matrix {
  return { data, offset: from, rows, columns: to - from, stride };
}

/** One of something for each name. */
export type Each<Name extends string, Item> = Readonly<Record<Name, Item>>;

export function each<Name extends string, Item>(
  names: readonly Name[],
  itemOf: (name: Name) => Item,
): Each<Name, Item> {
  const items: Partial<Record<Name, Item>> = {};
  for (const name of names) items[name] = itemOf(name); // a tiny request is felt here: Object.fromEntries takes longer
  return items as Each<Name, Item>;
}

/** All numbers of each tensor. */
export function rowsOf<Name extends string>(names: readonly Name[], tensors: Each<Name, Tensor>): Each<Name, Rows> {
  return each(names, (name) => rows(tensors[name]));
}

/** The tensors as rows. */
export function tracksOf<Name extends string>(names: readonly Name[], tensors: Each<Name, Tensor>): Each<Name, Track> {
  return each(names, (name) => track(tensors[name]));
}

/** Rows from … to − 1 of each track. */
export function rangesOf<Name extends string>(
  names: readonly Name[],
  tracks: Each<Name, Track>,
  from: number,
  to: number,
): Each<Name, Rows> {
  return each(names, (name) => range(tracks[name], from, to));
}

/**
 * Some rows of each track: always the same objects, moved to the rows that are asked for, so that a walk through time leaves
 * no garbage.
 */
export function movingRows<Name extends string>(
  names: readonly Name[],
  tracks: Each<Name, Track>,
): (from: number, count: number) => Each<Name, Rows> {
  const rows = each<Name, { -readonly [Member in keyof Rows]: Rows[Member] }>(names, (name) =>
    range(tracks[name], 0, 0),
  );
  const moving = names.map((name) => ({ n: tracks[name].n, rows: rows[name] }));
  return (from, count) => {
    for (const { n, rows } of moving) {
      rows.offset = from * n;
      rows.length = count * n;
    }
    return rows;
  };
}
