import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance, FastifyRequest, FastifySchema } from 'fastify';
import fp from 'fastify-plugin';
import Type, { type TSchema } from 'typebox';
import type { Operation } from '../operations/operation.js';
import { operations } from '../operations/operations.js';
import { DEADLINE_HEADER } from './deadline.js';
import { exampleOf } from './examples.js';
import { PAGE_POLICY } from './headers.js';
import { PROBLEM_TYPE, Problem, type ProblemCode, problemBody, problemKinds, problemSchemas } from './problems.js';
import { REQUEST_ID } from './request-id.js';
import { groupSchema, ref } from './schema.js';
import { VERSION } from './version.js';

/** The OpenAPI document at /openapi.json, and a page to try the operations in at /docs. */
export const openapiPlugin = fp(
  async (app: FastifyInstance) => {
    const schemas = new Map<string, TSchema>();
    for (const { answer } of operations) groupSchema(answer, schemas, false);
    for (const { request } of operations) groupSchema(request, schemas, true);
    for (const schema of schemas.values()) app.addSchema(schema);
    for (const schema of [...problemSchemas, healthSchema]) app.addSchema(schema);

    await app.register(swagger, {
      openapi: {
        openapi: '3.0.3',
        info: {
          title: 'Unroll',
          version: VERSION,
          description:
            'Recurrent networks, forwards and backwards. Tensors are nested arrays of numbers; the letters of their shapes are n_x input features, n_a hidden units, n_y outputs, m examples in the batch, T_x time steps. All numbers of a request are of one type, float64 or, with dtype, float32.',
          license: { name: 'MIT' },
        },
        servers: [{ url: '/', description: 'this instance' }],
        components: { securitySchemes },
        tags: [...new Set(operations.map(({ tag }) => tag)), 'Service'].map((name) => ({ name })),
      },
      transformObject: (document) => withExamples('openapiObject' in document ? document.openapiObject : {}),
      refResolver: {
        buildLocalReference: (json, _baseUri, _fragment, index) => String(json.$id ?? `schema-${index}`),
      },
    });
    await app.register(swaggerUi, {
      routePrefix: '/docs',
      uiConfig: { validatorUrl: null },
      staticCSP: PAGE_POLICY,
    });
    let document: Buffer | undefined;
    app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
      document ??= Buffer.from(JSON.stringify(app.swagger()));
      return reply.type('application/json; charset=utf-8').send(document);
    });
  },
  { name: 'openapi' },
);

/** The part of the document that examples go to. */
interface Bodies {
  readonly paths: Readonly<Record<string, { post?: { requestBody: Body; responses: { 200: Body } } }>>;
}

interface Body {
  readonly content: { 'application/json': { example?: unknown } };
}

/**
 * The examples are put in when somebody asks for the document: to run them takes time that a start does not have.
 * The plugin would also drop an example that stands beside a reference in a request.
 */
function withExamples<Document extends object>(document: Document): Document {
  const { paths } = document as unknown as Bodies;
  for (const operation of operations) {
    const { post } = paths[operation.path];
    if (post === undefined) continue;
    const { request, answer } = exampleOf(operation);
    post.requestBody.content['application/json'].example = request;
    post.responses[200].content['application/json'].example = answer;
  }
  return document;
}

const securitySchemes = {
  bearer: { type: 'http', scheme: 'bearer', description: 'an API key, if this instance asks for one' },
  apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key', description: 'the same in a header of its own' },
} as const;

/** Keys are configured for each instance: the document, which is the same everywhere, cannot say that they are needed. */
export const keyIfAsked: Record<string, string[]>[] = [{}, { bearer: [] }, { apiKey: [] }];

const healthSchema = Type.Object(
  { status: Type.String({ description: '`live` or `ready`, as the path asks' }) },
  { $id: 'Health', description: 'The service is well' },
);

/** What the document says of one operation. */
export function operationSchema(operation: Operation): FastifySchema {
  const { id, tag, summary, description, request, answer } = operation;
  return {
    operationId: id,
    tags: [tag],
    summary,
    description,
    headers: requestHeaders,
    security: keyIfAsked,
    body: ref(request.name),
    response: {
      200: {
        description: answer.description,
        headers: { ...answerHeaders, ...limitHeaders },
        content: { 'application/json': { schema: ref(answer.name) } },
      },
      ...problemResponses(
        (Object.keys(problemKinds) as ProblemCode[]).filter((code) => problemKinds[code].operation),
        operation.path,
      ),
    },
  };
}

/** The operationId of what a request asks to be computed; undefined: it asks for something else. */
export function operationOf({ routeOptions: { config, schema } }: FastifyRequest): string | undefined {
  return config.computes ? (schema as { operationId: string }).operationId : undefined;
}

const requestHeaders = {
  type: 'object',
  properties: {
    [DEADLINE_HEADER]: {
      type: 'integer',
      format: 'int32',
      minimum: 1,
      description:
        'milliseconds in which the answer must be ready, the time in the queue included; absent: as the service is configured',
    },
    'x-request-id': {
      type: 'string',
      pattern: REQUEST_ID.source,
      description: 'an id for the request, which comes back and is in the log; absent: the service makes one',
    },
  },
};

const answerHeaders = {
  'x-request-id': { type: 'string', description: 'the id of the request: the one that was sent, or a new one' },
  traceresponse: {
    type: 'string',
    description: 'the trace and the span of the request, in the form of traceparent (W3C), where requests are traced',
  },
  'server-timing': {
    type: 'string',
    description:
      'milliseconds spent in queue, decode, compute, encode and, for stored caches, store; the share of the weights sent to the worker so far that it knew',
  },
};

const limitHeaders = {
  'ratelimit-limit': {
    type: 'integer',
    format: 'int32',
    description: 'requests that the caller may make in a minute, if there is a limit',
  },
  'ratelimit-remaining': { type: 'integer', format: 'int32', description: 'how many of them are left' },
  'ratelimit-reset': { type: 'integer', format: 'int32', description: 'seconds until all of them are there again' },
};

/** The error answers of a route, by status, each code with an example. */
export function problemResponses(codes: readonly ProblemCode[], path: string): Record<number, object> {
  const statuses = [...new Set(codes.map((code) => problemKinds[code].status))].sort();
  return Object.fromEntries(
    statuses.map((status) => {
      const ofStatus = codes.filter((code) => problemKinds[code].status === status);
      return [status, problemResponse(ofStatus, path)];
    }),
  );
}

function problemResponse(codes: readonly ProblemCode[], path: string): object {
  const retry = codes.some((code) => problemKinds[code].retryAfter !== undefined);
  return {
    description: codes.map((code) => `\`${code}\`: ${problemKinds[code].meaning}`).join(' '),
    headers: {
      ...answerHeaders,
      ...(codes.includes('rate-limited') ? limitHeaders : {}),
      ...(codes.includes('unauthorized')
        ? { 'www-authenticate': { type: 'string', description: 'how to send a key: Bearer' } }
        : {}),
      ...(retry
        ? { 'retry-after': { type: 'integer', format: 'int32', description: 'seconds to wait before trying again' } }
        : {}),
    },
    content: {
      [PROBLEM_TYPE]: {
        schema: ref('Problem'),
        example: problemBody(new Problem(codes[0], problemKinds[codes[0]].meaning), path, 'req-1'),
      },
    },
  };
}
