import { readFileSync } from 'node:fs';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv, type ValidateFunction } from 'ajv';
import supertest from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { documentText } from '../../../openapi/document.js';
import { problemExamples } from '../../../src/http/openapi/problem-examples.js';
import { type ProblemCode, problemKinds } from '../../../src/http/problems.js';
import { operations } from '../../../src/operations/operations.js';
import { type Started, start } from '../start.js';

type JsonObject = Record<string, unknown>;
interface Content {
  readonly schema: object;
  readonly examples: Record<string, { readonly value: JsonObject }>;
}
interface Answer {
  readonly content: Record<string, Content>;
  readonly headers?: object;
}
interface Spoken {
  readonly operationId: string;
  readonly description?: string;
  readonly security?: object[];
  readonly requestBody: { content: { 'application/json': Content } };
  readonly responses: Record<string, Answer | { $ref: string }>;
}
interface Document {
  readonly openapi: string;
  readonly info: object;
  readonly security: object[];
  readonly tags: { name: string; description: string }[];
  readonly paths: Record<string, { get?: Spoken; post?: Spoken }>;
  readonly components: Record<
    'schemas' | 'securitySchemes' | 'responses' | 'parameters' | 'headers' | 'examples',
    Record<string, object>
  >;
}

const committed = readFileSync(new URL('../../../openapi/openapi.json', import.meta.url), 'utf8');
const document: Document = JSON.parse(committed);

const ajv = new Ajv({ strict: false, formats: { 'date-time': true, double: true, int32: true, int64: true } });
ajv.addSchema({ $id: 'document', components: document.components });

/** Checks a value against a schema of the document. */
function validator(schema: object): ValidateFunction {
  return ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/components', '"document#/components')));
}

/** An answer of an operation; most errors are referred to. */
function answerOf(spoken: Spoken | undefined, status: number): Answer {
  const { $ref, ...answer } = (spoken?.responses[status] ?? {}) as Partial<Answer> & { $ref?: string };
  if ($ref !== undefined) return document.components.responses[$ref.split('/').at(-1) as string] as Answer;
  return { content: {}, ...answer };
}

/** An example of an error; those that occur in several answers are referred to. */
function exampleOf(example: object): object {
  return '$ref' in example ? document.components.examples[String(example.$ref).split('/').at(-1) as string] : example;
}

/** The codes that an operation says it can answer with. */
function codesOf({ responses }: Spoken): string[] {
  return Object.keys(responses).flatMap((status) => {
    return Object.keys(
      answerOf({ responses } as Spoken, Number(status)).content['application/problem+json']?.examples ?? {},
    );
  });
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
      expect(spoken?.security ?? document.security).toEqual([{}, { bearer: [] }, { apiKey: [] }]);
      expect(answerOf(spoken, 401).headers).toHaveProperty('www-authenticate');
    }
    for (const path of ['/health/live', '/health/ready']) expect(document.paths[path].get?.security).toEqual([]);
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
      'delete /v1/caches/{cache_id} deleteCaches',
      'get /health/live live',
      'get /health/ready ready',
      'get /metrics metrics',
      'post /v1/gru/backward gruBackward',
      'post /v1/gru/cell/backward gruCellBackward',
      'post /v1/gru/cell/forward gruCellForward',
      'post /v1/gru/forward gruForward',
      'post /v1/gru/forward_backward gruForwardBackward',
      'post /v1/lstm/backward lstmBackward',
      'post /v1/lstm/cell/backward lstmCellBackward',
      'post /v1/lstm/cell/forward lstmCellForward',
      'post /v1/lstm/forward lstmForward',
      'post /v1/lstm/forward_backward lstmForwardBackward',
      'post /v1/rnn/backward rnnBackward',
      'post /v1/rnn/cell/backward rnnCellBackward',
      'post /v1/rnn/cell/forward rnnCellForward',
      'post /v1/rnn/forward rnnForward',
      'post /v1/rnn/forward_backward rnnForwardBackward',
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
    expect(numbers).toBeGreaterThan(5);
  });

  it('has six enums, no name that generators take for themselves, and answers that may have further members', () => {
    const { schemas } = document.components;
    const inAnswers = new Set<string>();
    const follow = (part: unknown): void => {
      for (const [, name] of JSON.stringify(part).matchAll(/#\/components\/schemas\/(\w+)/g)) {
        if (inAnswers.has(name)) continue;
        inAnswers.add(name);
        follow(schemas[name]);
      }
    };
    follow(document.components.responses);
    follow(
      Object.values(document.paths).flatMap((methods) => Object.values(methods).map(({ responses }) => responses)),
    );
    for (const [name, schema] of Object.entries(schemas)) {
      expect(name).not.toMatch(/Response$/);
      const isStrict = JSON.stringify(schema).includes('"additionalProperties":false');
      expect(isStrict, name).toBe(!inAnswers.has(name) && !('enum' in schema));
    }
    const enums = Object.entries(schemas).filter(([, schema]) => 'enum' in schema);
    expect(enums.map(([name]) => name).sort()).toEqual([
      'CachesMode',
      'Dtype',
      'LossName',
      'ProblemCode',
      'Reduction',
      'ResetGate',
    ]);
    expect(JSON.stringify(document).match(/"enum":/g)).toHaveLength(6);
  });

  it('says what people and linters look for', () => {
    expect(document.info).toMatchObject({
      contact: { name: expect.any(String) },
      license: { name: 'MIT', url: expect.stringMatching(/^https:/) },
    });
    expect(document.tags.map(({ name }) => name)).toEqual(['RNN', 'LSTM', 'GRU', 'Caches', 'Service']);
    for (const { description } of document.tags) expect(description).not.toBe('');
    const spoken = Object.values(document.paths).flatMap((methods) => Object.values(methods));
    for (const { description } of spoken) expect(description).toMatch(/\.$/);
    expect(document.components.parameters.XDeadlineMs).toMatchObject({
      schema: { type: 'integer', minimum: 1, maximum: 2 ** 31 - 1 },
    });
  });

  it('writes once what repeats, and is no longer than a person can bear', () => {
    const text = JSON.stringify(document);
    for (const section of ['responses', 'parameters', 'headers', 'examples'] as const) {
      for (const name of Object.keys(document.components[section])) {
        expect(text).toContain(`{"$ref":"#/components/${section}/${name}"}`);
      }
    }
    expect(Buffer.byteLength(text)).toBeLessThan(9200 * operations.length);
    const { schemas, ...others } = document.components;
    const names = Object.values(others).flatMap((section) => Object.keys(section));
    expect(new Set([...names, ...Object.keys(schemas)]).size).toBe(names.length + Object.keys(schemas).length);
  });

  it('says for each route which stored caches and keys have to do with it', () => {
    const codes = (path: string) => codesOf(document.paths[path].get as Spoken).sort();
    const everywhere = ['headers-too-large', 'internal', 'invalid-http', 'overloaded', 'request-timeout'];
    expect(codes('/health/live')).toEqual(everywhere);
    expect(codes('/health/ready')).toEqual([...everywhere, 'draining'].sort());
    expect(codes('/metrics')).toEqual([...everywhere, 'unauthorized'].sort());
  });

  it('states also what any request can get, whatever it asks for', async () => {
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`x-${i}`, 'y']));
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const [method, spoken] of Object.entries(methods)) {
        const { status } = await fetch(service.url + path, { method: method.toUpperCase(), headers: many });
        expect([path, status]).toEqual([path, 431]);
        expect(codesOf(spoken)).toContain('headers-too-large');
      }
    }
  });

  it('has a tag, by which a client need not fetch it again', async () => {
    const { headers } = await supertest(service.url).get('/openapi.json');
    expect(headers.etag).toMatch(/^W\/"[\w-]+"$/);
    const ask = (tag: string) => supertest(service.url).get('/openapi.json').set('if-none-match', tag);
    for (const tag of [headers.etag, headers.etag.slice(2), `"a", ${headers.etag}`, '*']) {
      const { status, text, headers: again } = await ask(tag);
      expect([status, text, again.etag], tag).toEqual([304, '', headers.etag]);
    }
    for (const tag of ['"a"', '']) expect((await ask(tag)).status).toBe(200);
  });

  it('names its schemas', () => {
    const names = Object.keys(document.components.schemas);
    expect(names).toEqual(expect.arrayContaining(['LstmParameters', 'LstmForwardRequest', 'LstmCaches', 'Problem']));
    for (const name of names) expect(name).toMatch(/^[A-Z][A-Za-z]+$/);
  });
});

/** The id of caches that are stored, of the numbers that an example has. */
async function storedFor(backward: string): Promise<string> {
  const forward = backward.replace('backward', 'forward');
  const { examples } = (document.paths[forward].post as Spoken).requestBody.content['application/json'];
  return (await supertest(service.url).post(forward).send(examples['caches: stored'].value)).body.cache_id;
}

/** But for what is another one each time. */
function withoutId(answer: string): string {
  return answer.replace(/("cache_(id|expires_at)"):"[^"]+"/g, '$1');
}

describe.each(operations.map(({ id, path }) => ({ id, path })))('$id in the document', ({ path }) => {
  const spoken = () => document.paths[path].post as Spoken;

  it('has examples that fit its schema and run, with the answers that are printed beside them', async () => {
    const { schema, examples } = spoken().requestBody.content['application/json'];
    const said = answerOf(spoken(), 200).content['application/json'];
    const names = Object.keys(examples);
    expect(names).toEqual(expect.arrayContaining([expect.stringMatching(/^from (inputs|cache)$/), 'dtype: float32']));
    expect(Object.keys(said.examples).length).toBeGreaterThan(0);
    for (const name of Object.keys(said.examples)) expect(names).toContain(name);
    for (const [name, { value }] of Object.entries(examples)) {
      expectValid(schema, value);
      const sent = 'cache_id' in value ? { ...value, cache_id: await storedFor(path) } : value;
      const answer = await supertest(service.url).post(path).send(sent);
      expect(answer.status, name).toBe(200);
      expectValid(said.schema, answer.body);
      // Byte by byte. Of the whole numbers, which the service writes as 1.0, only 0.0 is in the examples.
      const printed = said.examples[name] && JSON.stringify(said.examples[name].value);
      if (printed) expect(withoutId(answer.text).replace(/\b0\.0\b/g, '0')).toBe(withoutId(printed));
    }
  });

  it('states the errors that it can answer with, each with an example, and no others', async () => {
    const everywhere = Object.entries(problemKinds).flatMap(([code, { operation }]) => (operation ? [code] : []));
    const caches =
      path.includes('/cell/') || path.endsWith('forward_backward')
        ? []
        : ['cache-unavailable', ...(path.endsWith('/backward') ? ['cache-not-found'] : [])];
    const expected = everywhere.filter((code) => !code.startsWith('cache-'));
    expect(codesOf(spoken()).sort()).toEqual([...expected, ...caches, 'invalid-http', 'headers-too-large'].sort());
    for (const status of Object.keys(spoken().responses).map(Number)) {
      const { content, headers } = answerOf(spoken(), status);
      expect(headers).toHaveProperty('x-request-id');
      if (status === 200) continue;
      const { schema, examples } = content['application/problem+json'];
      for (const code of Object.keys(examples)) {
        const { value } = exampleOf(examples[code]) as { value: { code: string; status: number } };
        expectValid(schema, value);
        expect(value).toEqual(problemExamples[code as ProblemCode]);
        expect([value.code, value.status]).toEqual([code, status]);
      }
    }
    const refused = await supertest(service.url).post(path).send({ x: 1 });
    expectValid(answerOf(spoken(), 400).content['application/problem+json'].schema, refused.body);
  });

  it('says of each member of a request that may be absent that it may be null, too', () => {
    const nullable: string[] = [];
    const optional: string[] = [];
    const follow = (name: string): void => {
      const { properties, required } = document.components.schemas[name] as {
        properties: Record<string, { type?: string; nullable?: boolean; $ref?: string; allOf?: [{ $ref: string }] }>;
        required: string[];
      };
      for (const [member, { type, nullable: isNullable, $ref, allOf }] of Object.entries(properties)) {
        if (type !== undefined && isNullable) nullable.push(`${name}/${member}`);
        if (!required.includes(member)) optional.push(`${name}/${member}`);
        const part = ($ref ?? allOf?.[0].$ref)?.split('/').at(-1) as string;
        if (part !== undefined && 'properties' in document.components.schemas[part]) follow(part);
      }
    };
    const { schema } = spoken().requestBody.content['application/json'] as { schema: { $ref: string } };
    follow(schema.$ref.split('/').at(-1) as string);
    expect(nullable).toEqual(optional);
    expect(optional).toEqual(expect.arrayContaining([expect.stringMatching(/dtype$/), expect.stringMatching(/by$/)]));
  });

  it('has schemas that refuse what the service refuses', () => {
    const { schema, examples } = spoken().requestBody.content['application/json'];
    const [{ value: example }] = Object.values(examples);
    const check = validator(schema);
    expect(check(example)).toBe(true);
    expect(check({ ...example, Waax: [[1]] })).toBe(false);
    expect(check({ ...example, dtype: 'float16' })).toBe(false);
    expect(check({})).toBe(false);
  });
});
