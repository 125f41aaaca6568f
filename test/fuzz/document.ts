import { readFileSync } from 'node:fs';
import { Ajv, type ValidateFunction } from 'ajv';
import fc from 'fast-check';

/** What the committed OpenAPI document says: which requests there are, and what may be answered to them. */

interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly enum?: readonly string[];
  readonly minimum?: number;
}

interface Answer {
  readonly description: string;
  readonly content?: Readonly<
    Record<string, { readonly schema?: Schema; readonly examples?: Readonly<Record<string, unknown>> }>
  >;
}

interface Reference {
  readonly $ref: string;
}

interface Spoken {
  readonly requestBody?: { readonly content: { readonly 'application/json': { readonly schema: Schema } } };
  readonly responses: Readonly<Record<string, Answer | Reference>>;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Spoken>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly responses: Readonly<Record<string, Answer>>;
  };
}

const document: Document = JSON.parse(readFileSync(new URL('../../openapi/openapi.json', import.meta.url), 'utf8'));

function referredTo({ $ref }: Reference): Answer {
  return document.components.responses[$ref.split('/').at(-1) as string];
}

/** An operation of the document: a method at a path. */
export interface Documented {
  readonly method: string;
  readonly path: string;
  readonly body: Schema | undefined;
  readonly responses: Readonly<Record<string, Answer>>;
}

export const documented: readonly Documented[] = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, { requestBody, responses }]) => ({
    method: method.toUpperCase(),
    path,
    body: requestBody?.content['application/json'].schema,
    responses: Object.fromEntries(
      Object.entries(responses).map(([status, answer]) => [status, '$ref' in answer ? referredTo(answer) : answer]),
    ),
  })),
);

export function documentedAt(method: string, path: string): Documented | undefined {
  return documented.find((one) => one.method === method && one.path === path);
}

const ajv = new Ajv({ strict: false, formats: { 'date-time': true, double: true, int32: true, int64: true } });
ajv.addSchema({ $id: 'document', components: document.components });
const validators = new Map<Schema, ValidateFunction>();

/** What a schema of the document has against a value; undefined: nothing. */
export function complaint(schema: Schema, value: unknown): string | undefined {
  let validate = validators.get(schema);
  if (!validate) {
    const text = JSON.stringify(schema).replaceAll('"#/components', '"document#/components');
    validate = ajv.compile(JSON.parse(text));
    validators.set(schema, validate);
  }
  return validate(value) ? undefined : ajv.errorsText(validate.errors);
}

export const problemSchema: Schema = { $ref: '#/components/schemas/Problem' };

/** Values that a schema allows. The document tells ranks, not how the shapes belong together: most will not fit. */
export function valuesOf(schema: Schema): fc.Arbitrary<unknown> {
  if (schema.$ref) return valuesOf(document.components.schemas[schema.$ref.split('/').at(-1) as string]);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  switch (schema.type) {
    case 'object': {
      const members: Record<string, fc.Arbitrary<unknown>> = {};
      for (const [name, member] of Object.entries(schema.properties ?? {})) members[name] = valuesOf(member);
      return fc.record(members, { requiredKeys: [...(schema.required ?? [])] });
    }
    case 'array':
      return fc
        .integer({ min: 1, max: 3 })
        .chain((n) => fc.array(valuesOf(schema.items ?? {}), { minLength: n, maxLength: n }));
    case 'integer':
      return fc.integer({ min: schema.minimum ?? 0 });
    case 'number':
      return fc.double({ noNaN: true, noDefaultInfinity: true });
    default:
      return fc.jsonValue();
  }
}
