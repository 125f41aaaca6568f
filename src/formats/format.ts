import type { GroupMember, Values } from '../tensor/signature.js';
import type { Dtype, Numbers, Tensor, WholeNumbers } from '../tensor/tensor.js';

/** A form that tensors have as bytes. */
export interface Format {
  /** An answer, or a group of it, as the slices that are written one after the other. */
  slicesOf(group: GroupMember, values: Values): Slice[];
  /** Bytes that a slice takes, at most: from its text, or from the shape of its tensor alone. */
  longest(slice: Slice): number;
  /** The bytes of some slices that follow each other. */
  write(slices: readonly Slice[]): Uint8Array<ArrayBuffer>;
}

/** What bodies are read from and answers are written to. */
export interface BodyFormat extends Format {
  /**
   * A request. Its tensors are row-major; their shapes are not compared with the signature yet.
   *
   * @throws Refusal
   */
  read(body: Uint8Array, signature: GroupMember, known?: KnownGroups): Values;
}

/** Formats by name. Answers are of the format of their request; what is stored is safetensors. */
export interface Formats {
  readonly json: BodyFormat;
  readonly safetensors: Format;
}
export type BodyFormatName = 'json';
export type FormatName = keyof Formats;

/** Part of what is written: text as it is, or a tensor. */
export type Slice = string | TensorSlice;

/** Rows of a tensor along its first axis. What is written for all its rows one after the other is the tensor. */
export interface TensorSlice {
  readonly tensor: Tensor<Numbers | WholeNumbers>;
  /** Do they begin with the tensor's first row? */
  readonly first: boolean;
  /** Do they end with its last one? */
  readonly last: boolean;
}

/** Groups that have been read before, known by their bytes. */
export interface KnownGroups {
  /** The values of the group whose text begins here, and the offset behind it, if it is known. */
  find(group: GroupMember, dtype: Dtype, body: Buffer, at: number): { values: Values; end: number } | undefined;
  /** Told of a group that was read without a fault from this text, in a body that may still turn out to have one. */
  offer(group: GroupMember, dtype: Dtype, text: Buffer, values: Values): void;
}

/** Bytes that some slices take, at most. */
export function longestOf({ longest }: Pick<Format, 'longest'>, slices: readonly Slice[]): number {
  return slices.reduce((bytes, slice) => bytes + longest(slice), 0);
}
