import { dtypeOf, readContents, readGroup, SafetensorsError } from '../../formats/safetensors.js';
import { groupOf, type Operation } from '../../operations/operation.js';
import { Refusal, type RefusalCode } from '../../tensor/refusal.js';
import { tensorsIn } from '../../tensor/shapes.js';
import { type Values, withTensors } from '../../tensor/signature.js';

/**
 * Attachments: tensors that a request names by an id instead of bringing them, because a store holds them. They take the
 * place of a group of the request, which is then computed like any other.
 */

/** The id of the attachment that a request names, if it names one. */
export function attachmentId({ attachment }: Operation, values: Values): string | undefined {
  return attachment && (values[attachment.name] as string | undefined);
}

/**
 * The values of a request with its attachment in place. The tensors of the attachment are views of the bytes.
 *
 * @throws Refusal invalid-request if the attachment is of another group or dtype, cache-not-found if it cannot be read
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

/** The values of a request that waits for its attachment, with each tensor copied to memory of its own. */
export function inOwnMemory({ tensors }: Operation, values: Values): Values {
  const own = [...tensorsIn(tensors.request, values)].map(({ path, tensor }) => {
    return [path, { ...tensor, data: tensor.data.slice() }] as const;
  });
  return withTensors(values, own);
}
