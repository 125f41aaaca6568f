import { move, transferableSymbol, valueSymbol } from 'piscina';
import { reference } from '../kernels/reference.js';
import { operations } from '../operations/operations.js';
import { readJson } from '../tensor/json-reader.js';
import { writeJson } from '../tensor/json-writer.js';
import { Refusal } from '../tensor/refusal.js';
import { bindDims, type Dims } from '../tensor/shapes.js';
import { refuseNonFinite } from './non-finite.js';
import { now, type Outcome, type Task, type Timings } from './outcome.js';
import { reserve } from './workspace.js';

const byId = new Map(operations.map((operation) => [operation.id, operation]));

/**
 * What a worker thread does: bytes → tensors → operation → tensors → bytes. Everything a caller can get wrong
 * comes back as an outcome; only faults of the service itself are thrown.
 */
export function answer({ operation: id, body, workLimit, handedOver }: Task): Outcome {
  const operation = byId.get(id);
  if (operation === undefined) throw new Error(`no operation is called ${id}`);
  const timings: Timings = { queue: now() - handedOver };
  let dims: Dims = {};
  let start = now();
  const lap = (stage: 'decode' | 'compute' | 'encode') => {
    const end = now();
    timings[stage] = end - start;
    start = end;
  };

  let stage: 'decode' | 'compute' | 'encode' = 'decode';
  try {
    const values = readJson(body, operation.request);
    dims = bindDims(operation.request, values);
    const { request, answer, scratch, computed } = reserve(operation, values, dims, workLimit);
    lap(stage);

    stage = 'compute';
    operation.run(reference, request, answer, scratch, dims);
    refuseNonFinite(computed, operation.time);
    lap(stage);

    stage = 'encode';
    const bytes = writeJson(operation.answer, answer);
    lap(stage);
    return { ok: true, body: bytes, dims, timings };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    lap(stage);
    return { ok: false, code: error.code, faults: error.faults, dims, timings };
  }
}

/** The function that the pool calls: the outcome, with the answer's memory moved to the main thread. */
export default function work(task: Task): ReturnType<typeof move> {
  const outcome = answer(task);
  return move({
    [transferableSymbol]: outcome.ok ? [outcome.body.buffer] : [],
    [valueSymbol]: outcome,
  });
}

/** Called once in each worker at the start: returning shows that the thread has loaded its code. */
export function ready(): boolean {
  return byId.size > 0;
}
