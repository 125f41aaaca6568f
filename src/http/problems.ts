import Type, { type Static } from 'typebox';
import type { Fault, RefusalCode } from '../tensor/refusal.js';

/** What only HTTP can get wrong, or the service itself. */
type HttpCode =
  | 'invalid-http'
  | 'unauthorized'
  | 'not-found'
  | 'method-not-allowed'
  | 'not-acceptable'
  | 'request-timeout'
  | 'payload-too-large'
  | 'unsupported-media-type'
  | 'headers-too-large'
  | 'queue-full'
  | 'rate-limited'
  | 'internal'
  | 'deadline-exceeded'
  | 'cache-unavailable'
  | 'draining'
  | 'overloaded';

export type ProblemCode = RefusalCode | HttpCode;

interface Kind {
  readonly status: number;
  readonly title: string;
  readonly meaning: string;
  /** Seconds to wait, where waiting helps: the Retry-After header. */
  readonly retryAfter?: number;
  /** Do operations answer with it themselves? Then it is counted for each of them from 0 on. */
  readonly operation: boolean;
}

/** Every error the service answers with. */
export const problemKinds: Readonly<Record<ProblemCode, Kind>> = {
  'invalid-http': {
    status: 400,
    title: 'Malformed HTTP request',
    meaning:
      'The bytes are not an HTTP/1.1 request: its form, its address, its Host, its Transfer-Encoding or its method is wrong, or it broke off.',
    operation: false,
  },
  'invalid-json': {
    status: 400,
    title: 'The body is not JSON',
    meaning:
      'The detail says what was found at which byte, counted from 0; `errors[0].offset` is that byte, and `errors[0].pointer` the member or the element of a tensor that it is in. NaN and Infinity are not JSON.',
    operation: true,
  },
  'invalid-request': {
    status: 400,
    title: 'A member of the body, or a header, is missing, unknown or wrong',
    meaning:
      'A member is missing, unknown, given twice, of the wrong type, or does not go with another one; or the header x-deadline-ms is not a whole number from 1 to DEADLINE_LIMIT, or the body not what its Content-Encoding says.',
    operation: true,
  },
  unauthorized: {
    status: 401,
    title: 'The request has no valid API key',
    meaning:
      'This instance asks for an API key, as `Authorization: Bearer …` or as `x-api-key`, and the request has none or another.',
    operation: true,
  },
  'not-found': {
    status: 404,
    title: 'There is nothing at this path',
    meaning: 'The paths are listed at /openapi.json.',
    operation: false,
  },
  'cache-not-found': {
    status: 404,
    title: 'There are no such stored caches',
    meaning:
      'The caches of this cache_id have expired, were deleted, had to make room for others, or never were; the detail says whether they expired. Run the forward operation again, or give the backward operation its inputs.',
    operation: true,
  },
  'method-not-allowed': {
    status: 405,
    title: 'The path does not take this method',
    meaning: 'The Allow header lists the methods it takes.',
    operation: false,
  },
  'not-acceptable': {
    status: 406,
    title: 'The answer is not of an accepted type',
    meaning: 'The Accept header leaves out application/json, which is what the service answers with.',
    operation: true,
  },
  'request-timeout': {
    status: 408,
    title: 'The request came too slowly',
    meaning:
      'The request was not complete within REQUEST_TIMEOUT milliseconds, no byte of it came for IDLE_TIMEOUT milliseconds, or its body came too slowly.',
    operation: true,
  },
  'payload-too-large': {
    status: 413,
    title: 'The body is too large',
    meaning: 'The body has more bytes than one request may have; the limit (BODY_LIMIT) and the size are named.',
    operation: true,
  },
  'work-too-large': {
    status: 413,
    title: 'The request asks for too much',
    meaning:
      'The tensors of the request, what is computed from them and the text of the answer take more memory than one request may (WORK_LIMIT, MEMORY_LIMIT), its stored caches more than may be stored (CACHE_LIMIT), or computing them more arithmetic (FLOPS_LIMIT); the limit and the asked amount are named.',
    operation: true,
  },
  'unsupported-media-type': {
    status: 415,
    title: 'The body is not of a type the service reads',
    meaning: 'The body must be application/json in UTF-8, plain or with the Content-Encoding gzip or deflate.',
    operation: true,
  },
  'invalid-tensor': {
    status: 422,
    title: 'A tensor is not a rectangular array of finite numbers',
    meaning:
      'Nested arrays must be rectangular, every dimension at least 1, every element a number that the type of the request can hold.',
    operation: true,
  },
  'shape-mismatch': {
    status: 422,
    title: 'The shapes do not fit together',
    meaning:
      'A tensor has another shape than the letters of the operation allow; both shapes and their sources are named.',
    operation: true,
  },
  'non-finite-result': {
    status: 422,
    title: 'A result left the range of its type',
    meaning: 'An infinity or NaN came out; the first tensor, time step and position are named.',
    operation: true,
  },
  'queue-full': {
    status: 429,
    title: 'Too many requests are waiting',
    meaning: 'As many requests run or wait as may (WORKERS and QUEUE_LIMIT). Try again after Retry-After seconds.',
    retryAfter: 1,
    operation: true,
  },
  'rate-limited': {
    status: 429,
    title: 'The caller has sent too many requests',
    meaning:
      'The caller has made as many requests in this minute as it may (RATE_LIMIT). Try again after Retry-After seconds.',
    retryAfter: 60,
    operation: true,
  },
  'headers-too-large': {
    status: 431,
    title: 'The headers are too large',
    meaning: 'The head of the request has more than 16 KiB, or more than 100 fields.',
    operation: false,
  },
  internal: {
    status: 500,
    title: 'The service failed',
    meaning: 'A fault of the service. The request_id finds it in the log.',
    operation: true,
  },
  draining: {
    status: 503,
    title: 'The service is stopping',
    meaning:
      'This instance takes nothing new, and finishes what it has begun if there is time. Another one can, or this one later.',
    retryAfter: 1,
    operation: true,
  },
  'cache-unavailable': {
    status: 503,
    title: 'Caches cannot be stored or found at the moment',
    meaning:
      'The store that the instances share does not answer in time, or refuses, as one that is full does. Everything without stored caches works; try again after Retry-After seconds.',
    retryAfter: 1,
    operation: true,
  },
  overloaded: {
    status: 503,
    title: 'The service cannot take the request now',
    meaning:
      'The memory that all requests or one caller may take (MEMORY_LIMIT) is taken, or the system has none; too many calls to the store of caches are underway at once; there are as many connections as there may be (CONNECTION_LIMIT, ADDRESS_LIMIT); or no worker is alive at the moment. Try again after Retry-After seconds.',
    retryAfter: 1,
    operation: true,
  },
  'deadline-exceeded': {
    status: 504,
    title: 'The answer was not ready in time',
    meaning:
      'The time that the caller allows (the header x-deadline-ms) or the service (DEADLINE) has passed, in the queue or in the work, which was stopped.',
    operation: true,
  },
};

/** An error that is answered as it is: thrown by routes, sent by the error handler. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly faults: readonly Fault[];
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ProblemCode, detail: string, faults: readonly Fault[] = [], headers: Record<string, string> = {}) {
    super(detail);
    this.code = code;
    this.faults = faults;
    const { retryAfter } = problemKinds[code];
    this.headers = retryAfter === undefined ? headers : { 'retry-after': String(retryAfter), ...headers };
  }
}

/** RFC 9457, application/problem+json. */
const problemSchema = Type.Object(
  {
    type: Type.String({ description: 'where this kind of problem is described: a path of the service' }),
    title: Type.String({ description: 'the kind of problem in a few words' }),
    status: Type.Integer({ format: 'int32', description: 'the HTTP status' }),
    detail: Type.String({ description: 'what is wrong with this request' }),
    instance: Type.String({ description: 'the path that was asked for' }),
    code: Type.Unsafe<ProblemCode>({ $ref: 'ProblemCode#' }),
    request_id: Type.String({ description: 'the x-request-id of the answer, which is in the log too' }),
    errors: Type.Array(Type.Unsafe<Fault>({ $ref: 'ProblemError#' }), {
      description: 'everything that was found wrong with the body',
    }),
    error: Type.String({ description: 'the detail again, for clients of the Open Inference Protocol' }),
  },
  { $id: 'Problem', description: 'An error (RFC 9457)' },
);

const problemErrorSchema = Type.Object(
  {
    pointer: Type.String({ description: 'JSON pointer (RFC 6901) of the member; empty: the body as a whole' }),
    detail: Type.String({ description: 'what is wrong there' }),
    offset: Type.Optional(Type.Integer({ format: 'int64', description: 'for invalid-json: the byte, counted from 0' })),
  },
  { $id: 'ProblemError', description: 'One thing that is wrong with the body' },
);

const problemCodeSchema = Type.Enum(Object.keys(problemKinds), {
  $id: 'ProblemCode',
  type: 'string',
  description: 'the kind of problem, for programs',
});

export const problemSchemas = [problemSchema, problemErrorSchema, problemCodeSchema];

export const PROBLEM_TYPE = 'application/problem+json';

export type ProblemBody = Static<typeof problemSchema>;

/**
 * The body of an error answer.
 *
 * @param prefix the path under which a proxy offers the service
 */
export function problemBody(problem: Problem, path: string, requestId: string, prefix = ''): ProblemBody {
  const { status, title } = problemKinds[problem.code];
  return {
    type: `${prefix}/problems/${problem.code}`,
    title,
    status,
    detail: problem.message,
    instance: prefix + path,
    code: problem.code,
    request_id: requestId,
    errors: problem.faults.map((fault) => ({ ...fault })),
    error: problem.message,
  };
}
