import type { Matrix, Rows } from '../kernels/kernels.js';
import type { Tensor } from '../tensor/tensor.js';

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

/** How many time steps a (n, m, T) tensor has. */
export function stepsOf({ shape: [, , T] }: Tensor): number {
  return T;
}

/** Time steps from … to − 1 of a (n, m, T) tensor as rows, one step after the other. */
export function timeRange({ shape: [n, m], data }: Tensor, from: number, to: number): Rows {
  return { data, offset: from * m * n, length: (to - from) * m * n };
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

/** Time steps from … to − 1 of each tensor. */
export function rangesOf<Name extends string>(
  names: readonly Name[],
  tensors: Each<Name, Tensor>,
  from: number,
  to: number,
): Each<Name, Rows> {
  return each(names, (name) => timeRange(tensors[name], from, to));
}

/**
 * One time step of each tensor: always the same rows, moved to the step that is asked for, so that a walk through time
 * leaves no garbage.
 */
export function stepsIn<Name extends string>(
  names: readonly Name[],
  tensors: Each<Name, Tensor>,
): (t: number) => Each<Name, Rows> {
  const step = each<Name, { -readonly [Member in keyof Rows]: Rows[Member] }>(names, (name) =>
    timeRange(tensors[name], 0, 1),
  );
  const moving = names.map((name) => step[name]);
  return (t) => {
    for (const rows of moving) rows.offset = t * rows.length;
    return step;
  };
}
