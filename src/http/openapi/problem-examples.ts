import { Problem, type ProblemBody, type ProblemCode, problemBody } from '../problems.js';

interface Told {
  readonly instance: string;
  readonly detail: string;
  /** Where in the body the detail is about. */
  readonly fault?: { readonly pointer: string; readonly offset?: number };
}

/** What the service says of one problem of each kind. A test provokes them all, and compares. */
const told: Readonly<Record<ProblemCode, Told>> = {
  'invalid-http': { instance: '/', detail: 'the request has no Host header' },
  'invalid-json': {
    instance: '/v1/lstm/forward',
    detail: 'NaN is not JSON, whose numbers are finite (byte 12, in /x/0/0/1)',
    fault: { pointer: '/x/0/0/1', offset: 12 },
  },
  'invalid-request': {
    instance: '/v1/rnn/forward',
    detail: '/parameters/Waax is unknown; the members here are Wax, Waa, Wya, ba, by',
    fault: { pointer: '/parameters/Waax' },
  },
  unauthorized: {
    instance: '/v1/lstm/forward',
    detail: 'the request has no API key: it comes as Authorization: Bearer <key> or as x-api-key: <key>',
  },
  'not-found': {
    instance: '/v1/elman/forward',
    detail: 'there is nothing at /v1/elman/forward; the paths are listed at /openapi.json',
  },
  'cache-not-found': {
    instance: '/v1/lstm/backward',
    detail: '/cache_id names caches that expired at 2026-01-01T12:00:00.000Z',
    fault: { pointer: '/cache_id' },
  },
  'method-not-allowed': { instance: '/v1/lstm/forward', detail: '/v1/lstm/forward takes POST, OPTIONS, not GET' },
  'not-acceptable': {
    instance: '/v1/lstm/forward',
    detail: 'the service answers application/json, but Accept is text/html',
  },
  'request-timeout': { instance: '/v1/lstm/forward', detail: 'the body has stopped coming' },
  'payload-too-large': { instance: '/v1/lstm/forward', detail: 'the body has 491 bytes, but the limit is 256 bytes' },
  'work-too-large': {
    instance: '/v1/lstm/forward',
    detail:
      'the tensors of this request, its results and the text of the answer can take 1821 bytes, but the limit is 1024 bytes',
    fault: { pointer: '' },
  },
  'unsupported-media-type': {
    instance: '/v1/lstm/forward',
    detail: 'the body has Content-Type text/plain, but must be application/json in UTF-8',
  },
  'invalid-tensor': {
    instance: '/v1/lstm/forward',
    detail: '/a0/1/0 is a string, but must be a number',
    fault: { pointer: '/a0/1/0' },
  },
  'shape-mismatch': {
    instance: '/v1/lstm/forward',
    detail: '/parameters/Wf has shape (1, 2), but (n_a, n_a + n_x) is (2, 5): n_a = 2 from /a0, n_x = 3 from /x',
    fault: { pointer: '/parameters/Wf' },
  },
  'non-finite-result': {
    instance: '/v1/rnn/backward',
    detail: 'dx[0, 0, 0] of (n_x, m, T_da) is Infinity at time step 0: the result has left the range of float64',
    fault: { pointer: '/gradients/dx/0/0/0' },
  },
  'queue-full': {
    instance: '/v1/lstm/forward',
    detail: '2 requests are running or waiting, but at most 1 may run and 1 wait',
  },
  'rate-limited': {
    instance: '/v1/lstm/forward',
    detail: 'this address has made the 3 requests that it may in a minute',
  },
  'headers-too-large': { instance: '/', detail: 'the request has more than 100 header fields' },
  internal: { instance: '/v1/lstm/forward', detail: 'the service failed; the request_id finds the reason in its log' },
  draining: { instance: '/health/ready', detail: 'the service is stopping' },
  'cache-unavailable': {
    instance: '/v1/lstm/backward',
    detail: 'the store of caches cannot be reached, or refuses; everything else works',
  },
  overloaded: {
    instance: '/v1/lstm/forward',
    detail:
      'the body takes 1048576 bytes, but 6291456 of the 8388608 bytes for all requests together are taken, and one caller may take 6291456',
  },
  'deadline-exceeded': { instance: '/v1/lstm/forward', detail: 'the answer was not ready within 10 ms' },
};

/** As a client may call its request. */
const REQUEST_ID = 'job-7';

/** One problem of each kind, as the service answers it. */
export const problemExamples = Object.fromEntries(
  Object.entries(told).map(([code, { instance, detail, fault }]) => {
    const faults = fault ? [{ ...fault, detail }] : [];
    return [code, problemBody(new Problem(code as ProblemCode, detail, faults), instance, REQUEST_ID)];
  }),
) as Readonly<Record<ProblemCode, ProblemBody>>;
