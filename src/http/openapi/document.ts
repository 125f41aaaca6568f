import swagger from '@fastify/swagger';
import type { FastifyInstance, FastifySchema } from 'fastify';
import fp from 'fastify-plugin';
import Type, { type TSchema } from 'typebox';
import type { Operation } from '../../operations/operation.js';
import { operations } from '../../operations/operations.js';
import { DEADLINE_HEADER } from '../deadline.js';
import { problemSchemas } from '../problems.js';
import { REQUEST_ID } from '../request-id.js';
import { VERSION } from '../version.js';
import { answerHeaders, computeHeaders, type Document, finished, type ProblemAnswer } from './components.js';
import { groupSchema, ref, tensorSchemas } from './schema.js';
import { sendTagged, type Tagged, tagged } from './tagged.js';

declare module 'fastify' {
  interface FastifySchema {
    /** The errors that the route can answer with. */
    'x-problems'?: readonly ProblemAnswer[];
  }
}

/** The OpenAPI document at /openapi.json. */
export const openapiPlugin = fp(
  async (app: FastifyInstance) => {
    const schemas = new Map<string, TSchema>();
    for (const { answer } of operations) groupSchema(answer, schemas, 'answer');
    for (const { request } of operations) groupSchema(request, schemas, 'request');
    for (const schema of schemas.values()) app.addSchema(schema);
    for (const schema of [...tensorSchemas, ...problemSchemas, healthSchema]) app.addSchema(schema);

    await app.register(swagger, {
      openapi: {
        openapi: '3.0.3',
        info: {
          title: 'Unroll',
          version: VERSION,
          description:
            'Recurrent networks, forwards and backwards. Tensors are nested arrays of numbers; the letters of their shapes are n_x input features, n_a hidden units, n_y outputs, m examples in the batch, T_x time steps. All numbers of a request are of one type, float64 or, with dtype, float32. A member that may be absent may also be null, which means the same. Every error is a problem (RFC 9457); /problems describes each code. Answers and problems may get further members in later versions: clients must pass over those that they do not know.',
          contact: { name: 'The maintainers of Unroll' },
          license: { name: 'MIT', url: 'https://opensource.org/licenses/MIT' },
        },
        servers: [HERE],
        components: { securitySchemes },
        security: keyIfAsked,
        tags: [...new Set(operations.map(({ tag }) => tag)), cachesTag, serviceTag],
      },
      // When somebody asks for the document: to run the examples takes time that a start does not have.
      transformObject: (document) =>
        finished(('openapiObject' in document ? document.openapiObject : {}) as unknown as Document) as object,
      refResolver: {
        buildLocalReference: (json, _baseUri, _fragment, index) => String(json.$id ?? `schema-${index}`),
      },
    });
    let document: string | undefined;
    let here: Tagged | undefined;
    app.get('/openapi.json', { schema: { hide: true } }, async (request, reply) => {
      document ??= JSON.stringify(app.swagger());
      here ??= tagged('application/json', document);
      return sendTagged(request, reply, request.prefix === '' ? here : under(request.prefix, document));
    });
  },
  { name: 'openapi' },
);

/** The document of a service that a proxy offers under a path. */
function under(prefix: string, document: string): Tagged {
  return tagged('application/json', document.replace(SERVER, JSON.stringify({ ...HERE, url: prefix })));
}

/** Where the document comes from. */
const HERE = { url: '/', description: 'this instance' };
const SERVER = JSON.stringify(HERE);

const securitySchemes = {
  bearer: { type: 'http', scheme: 'bearer', description: 'an API key, if this instance asks for one' },
  apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key', description: 'the same in a header of its own' },
} as const;

/** Keys are configured for each instance: the document, which is the same everywhere, cannot say that they are needed. */
const keyIfAsked: Record<string, string[]>[] = [{}, { bearer: [] }, { apiKey: [] }];

export const cachesTag = { name: 'Caches', description: 'what forward operations have stored' };
const serviceTag = { name: 'Service', description: 'the state and the measurements of the instance that answers' };

const healthSchema = Type.Object(
  { status: Type.String({ description: '`live` or `ready`, as the path asks' }) },
  { $id: 'Health', description: 'the state of the instance' },
);

/** What the document says of one operation. */
export function operationSchema(operation: Operation): FastifySchema {
  const { id, tag, summary, description, request, answer } = operation;
  return {
    operationId: id,
    tags: [tag.name],
    summary,
    description,
    headers: requestHeaders,
    body: ref(request.name),
    response: {
      200: {
        description: answer.description,
        headers: { ...answerHeaders, ...computeHeaders },
        content: { 'application/json': { schema: ref(answer.name) } },
      },
    },
    'x-problems': problemsOf(operation),
  };
}

/** What has nothing to do with stored caches answers with no error of theirs. */
function problemsOf({ attachment, deposit }: Operation): ProblemAnswer[] {
  return [
    'BadRequest',
    'Unauthorized',
    ...(attachment ? (['CacheNotFound'] as const) : []),
    'NotAcceptable',
    'RequestTimeout',
    'TooLarge',
    'UnsupportedMediaType',
    'Unprocessable',
    'TooManyRequests',
    'HeadersTooLarge',
    'Internal',
    attachment || deposit ? 'CachesUnavailable' : 'Unavailable',
    'DeadlineExceeded',
  ];
}

/** What the document says of a route of the service itself, which answers without a worker. */
export function serviceSchema({
  problems = [],
  tag = serviceTag,
  content,
  answer,
  ...said
}: {
  readonly operationId: string;
  readonly summary: string;
  readonly description: string;
  /** Where a key is never needed. */
  readonly security?: readonly [];
  readonly tag?: { readonly name: string };
  /** What the answer is. */
  readonly answer: string;
  /** Absent: the answer has no body. */
  readonly content?: Readonly<Record<string, { schema: TSchema }>>;
  /** Beside the errors that any request can get. */
  readonly problems?: readonly ProblemAnswer[];
}): FastifySchema {
  return {
    ...said,
    tags: [tag.name],
    response: {
      [content ? 200 : 204]: {
        description: answer,
        headers: answerHeaders,
        ...(content ? { content } : { type: 'null' }),
      },
    },
    'x-problems': ['Malformed', 'RequestTimeout', 'HeadersTooLarge', 'Internal', ...problems],
  };
}

const requestHeaders = {
  type: 'object',
  properties: {
    [DEADLINE_HEADER]: {
      type: 'integer',
      format: 'int32',
      minimum: 1,
      maximum: 2 ** 31 - 1,
      description:
        'milliseconds in which the answer must be ready, the time in the queue included; absent: as the service is configured, which may allow less',
    },
    'x-request-id': {
      type: 'string',
      pattern: REQUEST_ID.source,
      description: 'an id for the request, which comes back and is in the log; absent: the service makes one',
    },
  },
};
