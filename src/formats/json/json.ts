import type { BodyFormat } from '../format.js';
import type { JsonCodec } from './codec.js';
import { readJson } from './reader.js';
import { longestSlice, slicesOf, writeSlices } from './writer.js';

/** The format JSON (RFC 8259): tensors are nested arrays. @param codec reads and writes tensors fast */
export function jsonFormat(codec?: JsonCodec): BodyFormat {
  return {
    read: (body, signature, known) => readJson(body, signature, codec, known),
    slicesOf,
    longest: longestSlice,
    write: (slices) => writeSlices(slices, codec),
  };
}
