import { readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';
import { DOCS_POLICY, PAGE_POLICY } from '../headers.js';
import { sendTagged, type Tagged, tagged } from '../openapi/tagged.js';
import { docsPage } from '../pages/docs.js';
import { rootOf } from '../pages/root.js';

/** Where `npm run build` puts the files of the pages, from src/http/routes and from dist/http/routes alike. */
const FOLDER = new URL('../../../dist/http/pages/static/', import.meta.url);

const FILES: Readonly<Record<string, string>> = {
  'mark.svg': 'image/svg+xml',
  'style.css': 'text/css',
  'home.js': 'text/javascript',
  'docs.css': 'text/css',
  'docs.js': 'text/javascript',
  'swagger-ui.css': 'text/css',
  'swagger-ui-bundle.js': 'text/javascript',
};

/** A page at /docs to try the operations in, and the files of all pages. */
export async function docsRoutes(app: FastifyInstance): Promise<void> {
  app.get('/docs', { schema: { hide: true } }, async (request, reply) => {
    reply.type('text/html; charset=utf-8').header('content-security-policy', DOCS_POLICY);
    return docsPage(rootOf(request));
  });
  // The addresses in the page start from /docs.
  app.get('/docs/', { schema: { hide: true } }, async (_request, reply) => reply.redirect('../docs', 308));

  for (const [file, type] of Object.entries(FILES)) {
    let content: Tagged | undefined;
    app.get(`/docs/static/${file}`, { schema: { hide: true } }, async (request, reply) => {
      content ??= tagged(type, readFileSync(new URL(file, FOLDER)));
      return sendTagged(request, reply.header('content-security-policy', PAGE_POLICY), content);
    });
  }
}
