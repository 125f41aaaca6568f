import { operations } from '../operations/operations.js';
import { type Example, examplesOf } from './examples.js';
import { problemExamples } from './problem-examples.js';
import { PROBLEM_TYPE, type ProblemCode, problemKinds } from './problems.js';

/**
 * What the OpenAPI document writes once, under `components`: routes state it whole, and @fastify/swagger would write it
 * at each of them.
 */

const text = { type: 'string' } as const;
const whole = { type: 'integer', format: 'int32' } as const;

/** Headers of every answer. */
export const answerHeaders = {
  'x-request-id': { ...text, description: 'the id of the request: the one that was sent, or a new one' },
  traceresponse: {
    ...text,
    description: 'the trace and the span of the request, in the form of traceparent (W3C), where requests are traced',
  },
  'server-timing': {
    ...text,
    description:
      'milliseconds spent in receive (until the body was there), queue, decode, compute, encode and, for stored caches, store; the share of the weights sent to the worker so far that it knew',
  },
};

export const limitHeaders = {
  'ratelimit-limit': { ...whole, description: 'requests that the caller may make in a minute, if there is a limit' },
  'ratelimit-remaining': { ...whole, description: 'how many of them are left' },
  'ratelimit-reset': { ...whole, description: 'seconds until all of them are there again' },
};

const keyHeader = { 'www-authenticate': { ...text, description: 'how to send a key: Bearer' } };
const retryHeader = { 'retry-after': { ...whole, description: 'seconds to wait before trying again' } };
const codingHeader = {
  'accept-encoding': { ...text, description: 'the codings that are taken, where the body came in another one' },
};

/** The error answers of all routes: of each one status, and the codes that can come with it. */
const problemAnswers = {
  MalformedProblem: ['invalid-http'],
  BadRequestProblem: ['invalid-http', 'invalid-json', 'invalid-request'],
  UnauthorizedProblem: ['unauthorized'],
  CacheNotFoundProblem: ['cache-not-found'],
  NotAcceptableProblem: ['not-acceptable'],
  RequestTimeoutProblem: ['request-timeout'],
  TooLargeProblem: ['payload-too-large', 'work-too-large'],
  UnsupportedMediaTypeProblem: ['unsupported-media-type'],
  UnprocessableProblem: ['invalid-tensor', 'shape-mismatch', 'non-finite-result'],
  TooManyRequestsProblem: ['queue-full', 'rate-limited'],
  HeadersTooLargeProblem: ['headers-too-large'],
  InternalProblem: ['internal'],
  OverloadedProblem: ['overloaded'],
  UnavailableProblem: ['draining', 'overloaded'],
  CacheStoreProblem: ['cache-unavailable', 'overloaded'],
  CachesUnavailableProblem: ['draining', 'cache-unavailable', 'overloaded'],
  DeadlineExceededProblem: ['deadline-exceeded'],
} as const satisfies Record<string, readonly [ProblemCode, ...ProblemCode[]]>;

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
  const headers = Object.entries({ ...answerHeaders, ...limitHeaders, ...keyHeader, ...codingHeader, ...retryHeader });
  return {
    ...document,
    components: {
      ...document.components,
      parameters,
      headers: Object.fromEntries(headers.map(([name, { description, ...schema }]) => [name, { description, schema }])),
      responses: Object.fromEntries(
        Object.entries(problemAnswers).map(([name, codes]) => [name, problemResponse(codes)]),
      ),
      examples: Object.fromEntries(
        Object.values(problemAnswers)
          .flat()
          .map((code) => [code, { value: problemExamples[code] }]),
      ),
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
 * What an operation can be asked, and what it answers, where the answer has members that the first one has not. The plugin
 * would drop examples that stand beside a reference.
 */
function addExamples({ operationId, requestBody, responses }: Spoken): void {
  const operation = operations.find(({ id }) => id === operationId);
  if (operation === undefined) return;
  const examples = Object.entries(examplesOf(operation));
  const [[, first]] = examples;
  const members = ({ answer = {} }: Example) => Object.keys(answer);
  const isNew = (example: Example) => members(example).some((name) => !members(first).includes(name));
  const answers = examples.filter(([, example]) => example === first || isNew(example));
  const answer = responses[200].content?.['application/json'];
  const request = requestBody?.content['application/json'];
  if (request) request.examples = valuesOf(examples, 'request');
  if (answer) answer.examples = valuesOf(answers, 'answer');
}

function valuesOf(examples: readonly [string, Example][], side: 'request' | 'answer'): object {
  return Object.fromEntries(examples.map(([name, { summary, [side]: value }]) => [name, { summary, value }]));
}

function problemResponse(codes: readonly ProblemCode[]): object {
  return {
    description: codes.map((code) => `\`${code}\`: ${problemKinds[code].title}`).join('; '),
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
        examples: Object.fromEntries(codes.map((code) => [code, ref('examples', code)])),
      },
    },
  };
}
