import { tensorsIn } from '../tensor/shapes.js';
import { type AnyTensor, batchAxis, withTensors } from '../tensor/signature.js';
import { sliceExamples } from '../tensor/tensor.js';
import type { Plan } from './plan.js';
import type { Request } from './request.js';

/**
 * The batch of a large request is cut into blocks, each a request of its own with fewer examples, for as many workers as
 * are free. Where the cuts are follows from the sizes alone, and one worker makes the same cuts as many: the same request
 * gives the same bytes.
 */

/** What is large. */
export interface Cutting {
  /** Multiplications and additions that are worth the way to another thread. */
  readonly work: number;
  /** Bytes of an output that are. */
  readonly bytes: number;
  /** Examples in a block, at least: with fewer, reading the weights takes longer than using them. */
  readonly examples: number;
}

/** 5 to 10 ms of work, and about as much of text. */
export const CUTTING: Cutting = { work: 1e8, bytes: 4 * 2 ** 20, examples: 16 };

const MOST_BLOCKS = 8;

/** Where the blocks of a request begin, and the end of the last one. */
export function blockBounds(
  { operation: { batch = '' }, sizes }: Pick<Request, 'operation' | 'sizes'>,
  { flops }: Pick<Plan, 'flops'>,
  cutting: Cutting,
): number[] {
  const m = sizes[batch] ?? 1;
  const count = flops >= cutting.work ? Math.min(Math.max(1, Math.floor(m / cutting.examples)), MOST_BLOCKS) : 1;
  return Array.from({ length: count + 1 }, (_, i) => Math.floor((i * m) / count));
}

/** A request for examples from … to − 1 alone. All its tensors are copies. */
export function blockOf(request: Request, from: number, to: number): Request {
  const { operation, values, sizes } = request;
  const sliced: [readonly string[], AnyTensor][] = [];
  for (const { path, member, tensor } of tensorsIn(operation.tensors.request, values)) {
    const axis = batchAxis(member);
    const own = axis < 0 ? { ...tensor, data: tensor.data.slice() } : sliceExamples(tensor, axis, from, to);
    sliced.push([path, own]);
  }
  return {
    ...request,
    values: withTensors(values, sliced),
    sizes: { ...sizes, ...(operation.batch !== undefined && { [operation.batch]: to - from }) },
  };
}
