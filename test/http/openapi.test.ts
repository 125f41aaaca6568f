import { readFileSync } from 'node:fs';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv, type ValidateFunction } from 'ajv';
import supertest from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { documentText } from '../../openapi/document.js';
import { problemKinds } from '../../src/http/problems.js';
import { operations } from '../../src/operations/operations.js';
import { type Started, start } from './start.js';

interface Content {
  readonly schema: object;
  readonly example?: object;
}
interface Spoken {
  readonly operationId: string;
  readonly security?: object[];
  readonly requestBody: { content: { 'application/json': Content } };
  readonly responses: Record<string, { content: Record<string, Content>; headers?: object }>;
}
interface Document {
  readonly openapi: string;
  readonly paths: Record<string, { get?: Spoken; post?: Spoken }>;
  readonly components: { schemas: Record<string, object>; securitySchemes: object };
}

const committed = readFileSync(new URL('../../openapi/openapi.json', import.meta.url), 'utf8');
const document: Document = JSON.parse(committed);

/** Checks a value against a schema of the document. */
function validator(schema: object): ValidateFunction {
  const ajv = new Ajv({ strict: false, formats: { 'date-time': true, double: true, int32: true, int64: true } });
  ajv.addSchema({ $id: 'document', components: document.components });
  return ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/components', '"document#/components')));
}

function expectValid(schema: object, value: unknown): void {
  const check = validator(schema);
  check(value);
  expect(check.errors ?? []).toEqual([]);
}

/** What the service says of itself, and the committed document cannot. */
const HERE = { url: '/', description: 'this instance' };

let service: Started;
beforeAll(async () => {
  // The examples are computed by the plain kernels; other builds may differ in the last digits.
  service = await start({ kernels: 'scalar' });
});
afterAll(() => service.stop());

describe('the OpenAPI document', () => {
  it('that is committed is the one the service gives out (npm run openapi writes it anew)', async () => {
    expect(committed).toBe(await documentText());
    expect((await supertest(service.url).get('/openapi.json')).body).toEqual({ ...document, servers: [HERE] });
  });

  it('is the same whatever is configured, and says that keys may be asked for', async () => {
    const settings = {
      API_KEYS: `ann:${'0'.repeat(64)}`,
      RATE_LIMIT: 1,
      CORS_ORIGINS: '*',
      TRUST_PROXY: '127.0.0.1',
    };
    const guarded = await start({ workers: 1, kernels: 'scalar', settings });
    expect((await supertest(guarded.url).get('/openapi.json')).body).toEqual({ ...document, servers: [HERE] });
    await guarded.stop();
    const { securitySchemes } = document.components;
    expect(securitySchemes).toMatchObject({
      bearer: { type: 'http', scheme: 'bearer' },
      apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key' },
    });
    for (const spoken of [...operations.map(({ path }) => document.paths[path].post), document.paths['/metrics'].get]) {
      expect(spoken?.security).toEqual([{}, { bearer: [] }, { apiKey: [] }]);
      expect(spoken?.responses[401].headers).toHaveProperty('www-authenticate');
    }
  });

  it('is valid OpenAPI 3.0.3', async () => {
    expect(document.openapi).toBe('3.0.3');
    const { valid, errors } = await new Validator().validate(JSON.parse(committed));
    expect(errors ?? []).toEqual([]);
    expect(valid).toBe(true);
  });

  it('keeps its operationIds for ever', () => {
    const ids = Object.entries(document.paths).flatMap(([path, methods]) => {
      return Object.entries(methods).map(([method, { operationId }]) => `${method} ${path} ${operationId}`);
    });
    expect(ids.sort()).toEqual([
      'get /health/live live',
      'get /health/ready ready',
      'get /metrics metrics',
      'post /v1/lstm/backward lstmBackward',
      'post /v1/lstm/cell/backward lstmCellBackward',
      'post /v1/lstm/cell/forward lstmCellForward',
      'post /v1/lstm/forward lstmForward',
      'post /v1/rnn/backward rnnBackward',
      'post /v1/rnn/cell/backward rnnCellBackward',
      'post /v1/rnn/cell/forward rnnCellForward',
      'post /v1/rnn/forward rnnForward',
    ]);
  });

  it('gives every number a format, and nothing a default', () => {
    const formats: Record<string, string[]> = { number: ['double'], integer: ['int32', 'int64'] };
    const wrong: string[] = [];
    let numbers = 0;
    const check = (part: unknown, where: string): void => {
      if (typeof part !== 'object' || part === null) return;
      const { type, format } = part as { type?: unknown; format?: string };
      if (typeof type === 'string' && formats[type]) {
        numbers++;
        if (!formats[type].includes(String(format))) wrong.push(`${where}: ${type}, ${format}`);
      }
      if ('default' in part) wrong.push(`${where}: default`);
      for (const [name, member] of Object.entries(part)) {
        if (name !== 'example' && name !== 'examples') check(member, `${where}/${name}`);
      }
    };
    check(document, '');
    expect(wrong).toEqual([]);
    expect(numbers).toBeGreaterThan(50);
  });

  it('has three enums, no name that generators take for themselves, and answers that may have further members', () => {
    const { schemas } = document.components;
    const inAnswers = new Set<string>();
    const follow = (part: unknown): void => {
      for (const [, name] of JSON.stringify(part).matchAll(/#\/components\/schemas\/(\w+)/g)) {
        if (inAnswers.has(name)) continue;
        inAnswers.add(name);
        follow(schemas[name]);
      }
    };
    follow(Object.values(document.paths).map(({ get, post }) => (post ?? get)?.responses));
    for (const [name, schema] of Object.entries(schemas)) {
      expect(name).not.toMatch(/Response$/);
      const isStrict = JSON.stringify(schema).includes('"additionalProperties":false');
      expect(isStrict, name).toBe(!inAnswers.has(name) && !('enum' in schema));
    }
    const enums = Object.entries(schemas).filter(([, schema]) => 'enum' in schema);
    expect(enums.map(([name]) => name).sort()).toEqual(['CachesMode', 'Dtype', 'ProblemCode']);
    expect(JSON.stringify(document).match(/"enum":/g)).toHaveLength(3);
  });

  it('names its schemas', () => {
    const names = Object.keys(document.components.schemas);
    expect(names).toEqual(expect.arrayContaining(['LstmParameters', 'LstmForwardRequest', 'LstmCaches', 'Problem']));
    for (const name of names) expect(name).toMatch(/^[A-Z][A-Za-z]+$/);
  });
});

describe.each(operations.map(({ id, path }) => ({ id, path })))('$id in the document', ({ path }) => {
  const spoken = () => document.paths[path].post as Spoken;

  it('has an example that fits its schema, runs, and gets the answer that is printed beside it', async () => {
    const { schema, example } = spoken().requestBody.content['application/json'];
    expectValid(schema, example);
    const answer = await supertest(service.url).post(path).send(example);
    expect(answer.status).toBe(200);
    const said = spoken().responses[200].content['application/json'];
    expectValid(said.schema, answer.body);
    expect(answer.body).toEqual(said.example);
  });

  it('tells every status it can answer with, and that errors are problems', async () => {
    const statuses = Object.values(problemKinds).filter(({ operation }) => operation);
    const expected = new Set(['200', ...statuses.map(({ status }) => String(status))]);
    expect(new Set(Object.keys(spoken().responses))).toEqual(expected);
    for (const [status, { content, headers }] of Object.entries(spoken().responses)) {
      expect(headers).toHaveProperty('x-request-id');
      if (status === '200') continue;
      const { schema, example } = content['application/problem+json'];
      expectValid(schema, example);
    }
    const refused = await supertest(service.url).post(path).send({ x: 1 });
    expectValid(spoken().responses[400].content['application/problem+json'].schema, refused.body);
  });

  it('has schemas that refuse what the service refuses', () => {
    const { schema, example } = spoken().requestBody.content['application/json'];
    const check = validator(schema);
    expect(check({ ...example, Waax: [[1]] })).toBe(false);
    expect(check({ ...example, dtype: 'float16' })).toBe(false);
    expect(check({})).toBe(false);
  });
});
