import { dtypeOf, readContents, readGroup, SafetensorsError } from '../../formats/safetensors.js';
import { groupOf, type Operation } from '../../operations/operation.js';
import { Refusal, type RefusalCode } from '../../tensor/refusal.js';
import { tensorsIn } from '../../tensor/shapes.js';
import { type Values, withTensors } from '../../tensor/signature.js';

/**
 * Attachments: tensors that a request does not bring but names, because a store holds them. They take the place of a
 * group of the request, and from there on both go the same way.
 */

/** The id of the attachment that a request names. */
export function attachmentId({ attachment }: Operation, values: Values): string | undefined {
  return attachment && (values[attachment.name] as string | undefined);
}

/**
 * A request with its attachment. Its tensors are views of the bytes.
 *
 * @throws Refusal invalid-request where it is of another kind or type, cache-not-found where it cannot be read
 */
export function withAttachment(
  { id, request, attachment }: Operation,
  values: Values,
  bytes: Uint8Array<ArrayBuffer>,
): Values {
  if (attachment === undefined) throw new Error(`${id} takes no attachment`);
  const { name, as } = attachment;
  const group = groupOf(request, as);
  const refuse = (code: RefusalCode, detail: string): Refusal => {
    return new Refusal(code, [{ pointer: `/${name}`, detail: `/${name} ${detail}` }]);
  };
  try {
    const contents = readContents(bytes);
    if (contents.group !== group.name) {
      throw refuse('invalid-request', `names ${contents.group}, but ${id} takes ${group.name}`);
    }
    const dtype = dtypeOf(contents);
    if (dtype !== values.dtype) {
      throw refuse('invalid-request', `names ${as} in ${dtype}, but /dtype is "${values.dtype}"`);
    }
    return { ...values, [name]: undefined, [as]: readGroup(bytes, contents, group, dtype) };
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    throw refuse('cache-not-found', `names stored ${as} that cannot be read: ${error.message}`);
  }
}

/** A request that waits for its attachment: each of its tensors in memory of its own. */
export function inOwnMemory({ tensors }: Operation, values: Values): Values {
  const own = [...tensorsIn(tensors.request, values)].map(({ path, tensor }) => {
    return [path, { ...tensor, data: tensor.data.slice() }] as const;
  });
  return withTensors(values, own);
}
