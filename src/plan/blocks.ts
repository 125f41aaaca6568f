import { tensorsIn } from '../tensor/shapes.js';
import { type AnyTensor, batchAxis, withTensors } from '../tensor/signature.js';
import { sliceExamples } from '../tensor/tensor.js';
import type { Plan } from './plan.js';
import type { Request } from './request.js';

/**
 * Blocks: some examples of the batch of a large request. Each block is a request of its own, for any worker that is free.
 * The sizes alone decide where the batch is cut, not the number of workers, so the same request always gives the same
 * bytes.
 */

/** From which size on a request is cut. */
export interface Cutting {
  /** Multiplications and additions from which it pays to use other threads. */
  readonly work: number;
  /** Bytes of output from which it pays. */
  readonly bytes: number;
  /** The fewest examples in a block: with fewer, reading the weights takes longer than using them. */
  readonly examples: number;
}

/** 5 to 10 ms of arithmetic, and text that takes about as long to write. */
export const CUTTING: Cutting = { work: 1e8, bytes: 4 * 2 ** 20, examples: 16 };

const MOST_BLOCKS = 8;

/** The first example of each block, and the end of the last block: n + 1 numbers for n blocks. */
export function blockBounds(
  { operation: { batch = '' }, sizes }: Pick<Request, 'operation' | 'sizes'>,
  { flops }: Pick<Plan, 'flops'>,
  cutting: Cutting,
): number[] {
  const m = sizes[batch] ?? 1;
  const count = flops >= cutting.work ? Math.min(Math.max(1, Math.floor(m / cutting.examples)), MOST_BLOCKS) : 1;
  return Array.from({ length: count + 1 }, (_, i) => Math.floor((i * m) / count));
}

/** A request for examples from … to − 1 only. All its tensors are copies. */
export function blockOf(request: Request, from: number, to: number): Request {
  const { operation, values, sizes } = request;
  const sliced: [readonly string[], AnyTensor][] = [];
  for (const { path, member, tensor } of tensorsIn(operation.tensors.request, values)) {
    const axis = batchAxis(member);
    sliced.push([path, axis < 0 ? { ...tensor, data: tensor.data.slice() } : sliceExamples(tensor, axis, from, to)]);
  }
  const own = withTensors(values, sliced);
  const bound = { ...sizes, ...(operation.batch !== undefined && { [operation.batch]: to - from }) };
  return { ...request, values: own, sizes: { ...bound, ...operation.counted(own, bound) } };
}
