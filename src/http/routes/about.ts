import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Pool } from '../../compute/pool/pool.js';
import { operations } from '../../operations/operations.js';
import { wantsPage } from '../accept.js';
import { PAGE_POLICY } from '../headers.js';
import { homePage } from '../pages/home.js';
import { problemPage, problemsPage } from '../pages/problems.js';
import { rootOf } from '../pages/root.js';
import { type ProblemCode, problemKinds } from '../problems.js';
import { VERSION } from '../version.js';

/** What the service is, and what its errors mean: pages for browsers, JSON for programs. */
export async function aboutRoutes(app: FastifyInstance, { pool }: { pool: Pool }): Promise<void> {
  const about = (prefix: string) => ({
    name: 'Unroll',
    version: VERSION,
    what: 'Recurrent networks over HTTP, forwards and backwards: send sequence tensors, get activations, predictions and gradients.',
    kernels: pool.tier,
    docs: `${prefix}/docs`,
    openapi: `${prefix}/openapi.json`,
    problems: `${prefix}/problems`,
    health: [`${prefix}/health/live`, `${prefix}/health/ready`],
    metrics: `${prefix}/metrics`,
    operations: operations.map(({ path }) => `POST ${prefix}${path}`),
  });
  const codes = Object.keys(problemKinds) as ProblemCode[];

  const get = (path: string, json: (prefix: string) => object, page: (root: string) => string) => {
    app.get(path, { schema: { hide: true } }, async (request: FastifyRequest, reply: FastifyReply) => {
      if (!wantsPage(request, reply)) return json(request.prefix);
      reply.type('text/html; charset=utf-8').header('content-security-policy', PAGE_POLICY);
      return page(rootOf(request));
    });
  };
  get('/', about, (root) => homePage(root, pool.tier, operations));
  get('/problems', (prefix) => codes.map((code) => describe(code, prefix)), problemsPage);
  for (const code of codes)
    get(
      `/problems/${code}`,
      (prefix) => describe(code, prefix),
      (root) => problemPage(root, code),
    );
}

function describe(code: ProblemCode, prefix: string) {
  const { status, title, meaning } = problemKinds[code];
  return { type: `${prefix}/problems/${code}`, code, status, title, meaning };
}
