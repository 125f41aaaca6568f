import { operations } from '../../operations/operations.js';
import { PROBLEM_TYPE, type ProblemCode, problemKinds } from '../problems.js';
import { type Example, examplesOf } from './examples.js';
import { problemExamples } from './problem-examples.js';

/**
 * What the OpenAPI document writes once, under `components`: routes state it whole, and @fastify/swagger would write it
 * at each of them.
 */

const text = { type: 'string' } as const;
const whole = { type: 'integer', format: 'int32' } as const;

/** Headers of every answer. */
export const answerHeaders = {
  'x-request-id': { ...text, description: 'the id of the request: the one that was sent, or a new one' },
  'server-timing': {
    ...text,
    description:
      'milliseconds spent in receive (until the body was there), queue, decode, compute, encode and, for stored caches, store; the share of the weights sent to the worker so far that it knew',
  },
};

const limitHeaders = {
  'ratelimit-limit': { ...whole, description: 'requests that the caller may make in a minute, if there is a limit' },
  'ratelimit-remaining': { ...whole, description: 'how many of them are left' },
  'ratelimit-reset': { ...whole, description: 'seconds until all of them are there again' },
};

/** And of what computes. */
export const computeHeaders = {
  traceresponse: {
    ...text,
    description: 'the trace and the span of the request, in the form of traceparent (W3C), where requests are traced',
  },
  ...limitHeaders,
};

const keyHeader = { 'www-authenticate': { ...text, description: 'how to send a key: Bearer' } };
const retryHeader = { 'retry-after': { ...whole, description: 'seconds to wait before trying again' } };
const codingHeader = {
  'accept-encoding': { ...text, description: 'the codings that are taken, where the body came in another one' },
};

/** The error answers of all routes: of each one status, and the codes that can come with it. */
const problemAnswers = {
  Malformed: ['invalid-http'],
  BadRequest: ['invalid-http', 'invalid-json', 'invalid-request'],
  Unauthorized: ['unauthorized'],
  CacheNotFound: ['cache-not-found'],
  NotAcceptable: ['not-acceptable'],
  RequestTimeout: ['request-timeout'],
  TooLarge: ['payload-too-large', 'work-too-large'],
  UnsupportedMediaType: ['unsupported-media-type'],
  Unprocessable: ['invalid-tensor', 'shape-mismatch', 'non-finite-result'],
  TooManyRequests: ['queue-full', 'rate-limited'],
  HeadersTooLarge: ['headers-too-large'],
  Internal: ['internal'],
  Overloaded: ['overloaded'],
  Unavailable: ['draining', 'overloaded'],
  StoreUnavailable: ['cache-unavailable', 'overloaded'],
  CachesUnavailable: ['draining', 'cache-unavailable', 'overloaded'],
  DeadlineExceeded: ['deadline-exceeded'],
} as const satisfies Record<string, readonly [ProblemCode, ...ProblemCode[]]>;

const allCodes: readonly ProblemCode[] = Object.values(problemAnswers).flat();
const repeatedCodes = [...new Set(allCodes)].filter((code) => allCodes.indexOf(code) < allCodes.lastIndexOf(code));

export type ProblemAnswer = keyof typeof problemAnswers;

/** What this file touches of the document that @fastify/swagger puts together. */
export interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Spoken>>>>;
  readonly components: object;
}

interface Spoken {
  readonly operationId: string;
  parameters?: object[];
  readonly requestBody?: Body;
  readonly responses: Record<string, Partial<Body> & { headers?: object }>;
  'x-problems'?: readonly ProblemAnswer[];
}

interface Body {
  readonly content: { readonly 'application/json'?: { examples?: object } };
}

/** The document with examples and errors, and with everything that repeats in one place. */
export function finished(document: Document): Document {
  const parameters: Record<string, object> = {};
  for (const spoken of Object.values(document.paths).flatMap((methods) => Object.values(methods))) {
    for (const answer of Object.values(spoken.responses)) answer.headers = headerRefs(answer.headers);
    for (const name of spoken['x-problems'] ?? []) {
      spoken.responses[problemKinds[problemAnswers[name][0]].status] = ref('responses', name);
    }
    delete spoken['x-problems'];
    if (spoken.parameters) {
      spoken.parameters = (spoken.parameters as { name: string }[]).map((parameter) => {
        const name = typeName(parameter.name);
        parameters[name] = parameter;
        return ref('parameters', name);
      });
    }
    addExamples(spoken);
  }
  const headers = Object.entries({
    ...answerHeaders,
    ...computeHeaders,
    ...keyHeader,
    ...codingHeader,
    ...retryHeader,
  });
  return {
    ...document,
    components: {
      ...document.components,
      parameters,
      headers: Object.fromEntries(headers.map(([name, { description, ...schema }]) => [name, { description, schema }])),
      responses: Object.fromEntries(
        Object.entries(problemAnswers).map(([name, codes]) => [name, problemResponse(codes)]),
      ),
      examples: Object.fromEntries(repeatedCodes.map((code) => [code, { value: problemExamples[code] }])),
    },
  };
}

function ref(section: string, name: string): object {
  return { $ref: `#/components/${section}/${name}` };
}

function headerRefs(headers: object = {}): object {
  return Object.fromEntries(Object.keys(headers).map((name) => [name, ref('headers', name)]));
}

/** As types are called: x-deadline-ms is XDeadlineMs. */
function typeName(header: string): string {
  return header.replace(/(?:^|[-_])(.)/g, (_, letter: string) => letter.toUpperCase());
}

/**
 * What an operation can be asked, and what it answers, where the answer has members that the one before has not. Gradients have the
 * shapes of what they are the gradients of, which the request shows: of those the last answer is enough, and a short one. The plugin would drop
 * examples that stand beside a reference.
 */
function addExamples({ operationId, requestBody, responses }: Spoken): void {
  const operation = operations.find(({ id }) => id === operationId);
  if (operation === undefined) return;
  const examples = Object.entries(examplesOf(operation));
  const told = new Set<string>();
  const inTurn = operation.time === 'backward' ? examples.toReversed() : examples;
  const answers = inTurn.filter(([, { answer = {} }]) => {
    const news = Object.keys(answer).filter((name) => !told.has(name));
    for (const name of news) told.add(name);
    return news.length > 0;
  });
  const answer = responses[200].content?.['application/json'];
  const request = requestBody?.content['application/json'];
  if (request) request.examples = valuesOf(examples, 'request');
  if (answer) answer.examples = valuesOf(answers, 'answer');
}

function valuesOf(examples: readonly [string, Example][], side: 'request' | 'answer'): object {
  return Object.fromEntries(examples.map(([name, { [side]: value }]) => [name, { value }]));
}

function problemResponse(codes: readonly ProblemCode[]): object {
  return {
    description: codes.map((code) => problemKinds[code].title).join('; '),
    headers: headerRefs({
      'x-request-id': answerHeaders['x-request-id'],
      ...(codes.includes('rate-limited') && limitHeaders),
      ...(codes.includes('unauthorized') && keyHeader),
      ...(codes.includes('unsupported-media-type') && codingHeader),
      ...(codes.some((code) => problemKinds[code].retryAfter !== undefined) && retryHeader),
    }),
    content: {
      [PROBLEM_TYPE]: {
        schema: ref('schemas', 'Problem'),
        examples: Object.fromEntries(codes.map((code) => [code, problemExample(code)])),
      },
    },
  };
}

function problemExample(code: ProblemCode): object {
  return repeatedCodes.includes(code) ? ref('examples', code) : { value: problemExamples[code] };
}
