import { BinaryError, readBinary, readContents } from '../formats/safetensors.js';
import type { Operation } from '../operations/operation.js';
import { Refusal, type RefusalCode } from '../tensor/refusal.js';
import type { GroupMember, Value, Values } from '../tensor/signature.js';
import type { Tensor } from '../tensor/tensor.js';

/**
 * Stored caches are the `caches` of an answer as bytes instead of text, and take the place of the `caches` of a request:
 * from there on both go the same way. operations/options.ts has the names.
 */

/** Does a request ask for its caches to be stored? */
export function storesCaches({ caches }: Values): boolean {
  return caches === 'stored';
}

/** The id that a request gives in place of its caches. */
export function namedCaches({ cache_id }: Values): string | undefined {
  return cache_id as string | undefined;
}

/** The group of caches in a request or an answer. */
export function cachesIn({ members: { caches } }: GroupMember): GroupMember {
  if (caches?.kind !== 'group') throw new Error('there are no caches to store');
  return caches;
}

/**
 * A request with the caches that it has named. Their tensors are views of the bytes.
 *
 * @throws Refusal invalid-request where they are of another kind or type, cache-not-found where they cannot be read
 */
export function withCaches({ id, request }: Operation, values: Values, bytes: Uint8Array<ArrayBuffer>): Values {
  const { cache_id: _, ...others } = values;
  const group = cachesIn(request);
  try {
    const contents = readContents(bytes);
    if (contents.group !== group.name) {
      throw refusal('invalid-request', `names ${contents.group}, but ${id} takes ${group.name}`);
    }
    if (contents.dtype !== values.dtype) {
      throw refusal('invalid-request', `names caches in ${contents.dtype}, but /dtype is "${values.dtype}"`);
    }
    return { ...others, caches: readBinary(bytes, group) };
  } catch (error) {
    if (!(error instanceof BinaryError)) throw error;
    throw refusal('cache-not-found', `names stored caches that cannot be read: ${error.message}`);
  }
}

function refusal(code: RefusalCode, detail: string): Refusal {
  return new Refusal(code, [{ pointer: '/cache_id', detail: `/cache_id ${detail}` }]);
}

/** The same values, each tensor in memory of its own. */
export function inOwnMemory(values: Values): Values {
  const copies = Object.entries(values).map(([name, value]) => [name, copyOf(value)]);
  return Object.fromEntries(copies);
}

function copyOf(value: Value | undefined): Value | undefined {
  if (typeof value !== 'object') return value;
  if (!Array.isArray(value.shape)) return inOwnMemory(value as Values);
  const tensor = value as Tensor;
  return { ...tensor, data: tensor.data.slice() };
}
