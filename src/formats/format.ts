import type { GroupMember, Values } from '../tensor/signature.js';
import type { Dtype, Numbers, Tensor, WholeNumbers } from '../tensor/tensor.js';

/** How tensors are written as bytes. */
export interface Format {
  /** Cuts an answer, or a group of it, into slices that are written one after the other. */
  slicesOf(group: GroupMember, values: Values): Slice[];
  /** The most bytes that a slice takes. For a tensor, this follows from its shape and the type of its numbers. */
  longest(slice: Slice): number;
  /** The bytes of some slices that follow each other. */
  write(slices: readonly Slice[]): Uint8Array<ArrayBuffer>;
}

/** A format of request bodies and answers. */
export interface BodyFormat extends Format {
  /**
   * Reads a request. Its tensors are row-major; their shapes are not compared with the symbols yet.
   *
   * @param known groups that need not be read again
   * @throws Refusal if the body is not a request of this signature
   */
  read(body: Uint8Array, signature: GroupMember, known?: KnownGroups): Values;
}

/** All formats by name. An answer has the format of its request. Stored tensors are safetensors. */
export interface Formats {
  readonly json: BodyFormat;
  readonly safetensors: Format;
}
export type BodyFormatName = 'json';
export type FormatName = keyof Formats;

/** Part of what is written: text as it is, or a tensor. */
export type Slice = string | TensorSlice;

/** Some rows of a tensor along its first axis. The bytes of all slices, one after the other, are the whole tensor. */
export interface TensorSlice {
  readonly tensor: Tensor<Numbers | WholeNumbers>;
  /** Does the slice begin with the first row of the tensor? */
  readonly first: boolean;
  /** Does the slice end with the last row of the tensor? */
  readonly last: boolean;
}

/** Groups that have been read before, known by their bytes. */
export interface KnownGroups {
  /** The values of the group whose text begins at offset `at`, and the offset behind it; undefined if it is not known. */
  find(group: GroupMember, dtype: Dtype, body: Buffer, at: number): { values: Values; end: number } | undefined;
  /** Called with each group that was read without a fault. The rest of the body may still have faults. */
  offer(group: GroupMember, dtype: Dtype, text: Buffer, values: Values): void;
}

/** The most bytes that some slices take together. */
export function longestOf({ longest }: Pick<Format, 'longest'>, slices: readonly Slice[]): number {
  return slices.reduce((bytes, slice) => bytes + longest(slice), 0);
}
