import type { FastifyInstance } from 'fastify';
import type { Pool } from '../../compute/pool.js';
import { operations } from '../../operations/operations.js';
import { problemKinds } from '../problems.js';
import { VERSION } from '../version.js';

/** For a person who finds the service: what it is, and what its errors mean. */
export async function aboutRoutes(app: FastifyInstance, { pool }: { pool: Pool }): Promise<void> {
  app.get('/', { schema: { hide: true } }, async () => ({
    name: 'Unroll',
    version: VERSION,
    what: 'Recurrent networks over HTTP, forwards and backwards: send sequence tensors, get activations, predictions and gradients.',
    kernels: pool.tier,
    docs: '/docs',
    openapi: '/openapi.json',
    problems: '/problems',
    health: ['/health/live', '/health/ready'],
    metrics: '/metrics',
    operations: operations.map(({ path }) => `POST ${path}`),
  }));

  app.get('/problems', { schema: { hide: true } }, async () => Object.keys(problemKinds).map(describe));

  for (const code of Object.keys(problemKinds)) {
    app.get(`/problems/${code}`, { schema: { hide: true } }, async () => describe(code));
  }
}

function describe(code: string) {
  const { status, title, meaning } = problemKinds[code as keyof typeof problemKinds];
  return { type: `/problems/${code}`, code, status, title, meaning };
}
