import type { IncomingHttpHeaders } from 'node:http';
import { Ajv } from 'ajv';
import { expect } from 'vitest';
import { PROBLEM_TYPE, type ProblemCode, problemKinds, problemSchemas } from '../../../src/http/problems.js';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

const isProblem = new Ajv({ strict: false, formats: { int32: true, int64: true }, schemas: problemSchemas }).compile({
  $ref: 'Problem#',
});

/** It is what the service answers with this code, by the OpenAPI document and its own table. */
export function expectProblem(
  { status, headers, text }: Answer,
  code: ProblemCode,
  instance: string,
  id: string,
): void {
  const problem = JSON.parse(text);
  expect(isProblem(problem), JSON.stringify(isProblem.errors)).toBe(true);
  const { title } = problemKinds[code];
  expect(problem).toMatchObject({ type: `/problems/${code}`, code, title, status, instance, request_id: id });
  expect(problem.error).toBe(problem.detail);
  expect(status).toBe(problemKinds[code].status);
  expect(headers).toMatchObject({ 'content-type': PROBLEM_TYPE, 'x-request-id': id });
}
