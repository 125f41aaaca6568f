import { setTimeout as sleep } from 'node:timers/promises';
import { formatsWith } from '../../src/formats/formats.js';
import { loadJsonCodec } from '../../src/formats/json/codec.js';
import { readJson } from '../../src/formats/json/reader.js';
import type { Build, Tier } from '../../src/kernels/kernels.js';
import type { Operation } from '../../src/operations/operation.js';
import { planOf } from '../../src/plan/plan.js';
import type { Request } from '../../src/plan/request.js';
import { bindSymbols, tensorsIn } from '../../src/tensor/shapes.js';
import { arrayOf, type Dtype, elements } from '../../src/tensor/tensor.js';
import { startService } from '../service/process.js';
import { builds } from './builds.js';
import { type Body, post } from './load.js';
import { type Part, progress, report } from './part.js';
import { beginPeak, mebibytes, peakBytes, residentBytes } from './process.js';
import { requestBody } from './requests.js';
import { rounded } from './statistics.js';

/** What requests take of a service with one worker, beside what is planned for them. */
export const memory: Part = {
  what: 'bytes of one request: planned, stored, and what the service grows by',
  seconds: 0,
  async measure({ sizes = ['medium', 'large'], dtypes, operations, quick }) {
    const effort = quick ? QUICK : THOROUGH;
    const figures: MemoryFigure[] = [];
    for (const size of sizes) {
      for (const operation of operations) {
        for (const dtype of dtypes) {
          progress(`memory, ${size}, ${operation.id}, ${dtype}`);
          figures.push(await measure(operation, size, dtype, effort));
        }
      }
    }
    return [
      report('Memory of one request, MiB, with one worker; goal: 1.25 × tensors and caches + body + answer', figures, {
        size: (f) => f.size,
        operation: (f) => f.operation,
        dtype: (f) => f.dtype,
        kernels: (f) => mebibytes(f.planned_kernels_bytes),
        request: (f) => mebibytes(f.planned_request_bytes),
        text: (f) => mebibytes(f.planned_text_bytes),
        tensors: (f) => mebibytes(f.stored_bytes),
        body: (f) => mebibytes(f.body_bytes),
        answer: (f) => mebibytes(f.answer_bytes),
        goal: (f) => mebibytes(f.goal_bytes),
        'peak growth': (f) => mebibytes(f.peak_growth_bytes),
        '÷ goal': (f) => f.peak_of_goal,
        'level after one': (f) => mebibytes(f.level_after_one_bytes),
        'after more': (f) => mebibytes(f.level_after_more_bytes),
      }),
    ];
  },
};

type MemoryFigure = Awaited<ReturnType<typeof measure>>;

interface Effort {
  /** Requests after the one that is looked at. */
  readonly more: number;
  /** Before what is resident counts as level. */
  readonly restMs: number;
}

const THOROUGH: Effort = { more: 20, restMs: 500 };
const QUICK: Effort = { more: 3, restMs: 50 };

const codec = loadJsonCodec();

async function measure(operation: Operation, size: string, dtype: Dtype, effort: Effort) {
  const body = requestBody(operation, size, dtype);
  const { tier, ...grown } = await growth(operation, body, requestBody(operation, 'tiny', dtype), effort);
  const planned = plan(builds.get(tier) as Build, operation, body, dtype);
  const goal = 1.25 * planned.stored_bytes + body.length + grown.answer_bytes;
  return {
    bench: 'memory',
    operation: operation.id,
    size,
    dtype,
    tier,
    ...planned,
    body_bytes: body.length,
    ...grown,
    goal_bytes: Math.round(goal),
    peak_of_goal: rounded(grown.peak_growth_bytes / goal),
    requests_more: effort.more,
  };
}

/** What is known before anything is computed. */
function plan(build: Build, operation: Operation, body: Body, dtype: Dtype) {
  const values = readJson(body, operation.request, codec);
  const request: Request = {
    operation,
    values,
    sizes: bindSymbols(operation.tensors.request, values),
    dtype,
    format: 'json',
  };
  const { numbers, outputBytes, bytes, planned } = planOf(build, request, formatsWith(codec));
  const text = outputBytes.caller;
  const size = arrayOf[dtype].BYTES_PER_ELEMENT;
  let stored = 0;
  for (const { tensor } of tensorsIn(operation.tensors.request, values)) stored += tensor.data.length;
  for (const { part, shape } of planned) if (part !== 'scratch') stored += elements(shape);
  return {
    planned_kernels_bytes: numbers * size,
    planned_request_bytes: bytes - text - numbers * size,
    planned_text_bytes: text,
    /** The tensors of the request and the answer, and what the forward pass keeps for the backward pass. */
    stored_bytes: stored * size,
  };
}

/** What one request adds to what a service with a single worker has resident, at its peak and afterwards. */
async function growth({ path }: Operation, body: Body, small: Body, { more, restMs }: Effort) {
  const { url, pid, stop } = await startService({ WORKERS: '1' });
  try {
    const { kernels } = (await (await fetch(url)).json()) as { kernels: Tier };
    // What is loaded or compiled with the first request is not a matter of its size.
    for (let i = 0; i < 20; i++) await post(url + path, small);
    await sleep(restMs);
    const before = residentBytes(pid);
    beginPeak(pid);
    const { bytes } = await post(url + path, body);
    const peak = peakBytes(pid);
    await sleep(restMs);
    const after = residentBytes(pid);
    for (let i = 0; i < more; i++) await post(url + path, body);
    await sleep(restMs);
    return {
      tier: kernels,
      answer_bytes: bytes.length,
      idle_bytes: before,
      peak_growth_bytes: peak - before,
      level_after_one_bytes: after - before,
      level_after_more_bytes: residentBytes(pid) - before,
      /** Over all of the requests. */
      highest_growth_bytes: peakBytes(pid) - before,
    };
  } finally {
    await stop();
  }
}
