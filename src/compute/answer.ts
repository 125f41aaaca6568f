import type { Kernels } from '../kernels/kernels.js';
import { operations } from '../operations/operations.js';
import type { JsonCodec } from '../tensor/json-codec.js';
import { readJson } from '../tensor/json-reader.js';
import { writeJson } from '../tensor/json-writer.js';
import { Refusal } from '../tensor/refusal.js';
import { bindDims, type Dims } from '../tensor/shapes.js';
import { refuseNonFinite } from './non-finite.js';
import { now, type Outcome, type Task, type Timings } from './outcome.js';
import { reserve } from './workspace.js';

const byId = new Map(operations.map((operation) => [operation.id, operation]));

/** What a thread works with: the builds of the inner loops and of the codec. */
export interface Machinery {
  readonly kernels: Kernels;
  /** Absent: tensors are read and written by the plain codec. */
  readonly codec?: JsonCodec | undefined;
}

/**
 * The work of one request: bytes → tensors → operation → tensors → bytes. Everything a caller can get wrong
 * comes back as an outcome; only faults of the service itself are thrown.
 */
export function answer({ kernels, codec }: Machinery, { operation: id, body, workLimit, handedOver }: Task): Outcome {
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
    const values = readJson(body, operation.request, codec);
    dims = bindDims(operation.request, values);
    const { request, answer, scratch, computed } = reserve(kernels, operation, values, dims, workLimit);
    lap(stage);

    stage = 'compute';
    operation.run(kernels, request, answer, scratch);
    refuseNonFinite(computed, operation.time);
    lap(stage);

    stage = 'encode';
    const bytes = writeJson(operation.answer, answer, codec);
    lap(stage);
    return { ok: true, body: bytes, dims, timings };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    lap(stage);
    return { ok: false, code: error.code, faults: error.faults, dims, timings };
  }
}
