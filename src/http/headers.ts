import type { FastifyReply } from 'fastify';

/**
 * What every answer tells a browser about itself, beside what it is: that it is data and no page. A table that is
 * made once: @fastify/helmet would put its headers together anew for each request. Strict-Transport-Security is
 * missing on purpose: it belongs to whatever speaks TLS for the service.
 */
export const SECURITY_HEADERS = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
} as const;

const pagePolicy = (styles: string, images: string) =>
  `default-src 'none'; script-src 'self'; style-src ${styles}; img-src ${images}; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** For pages: everything they need comes from here. */
export const PAGE_POLICY = pagePolicy("'self'", "'self'");

/** For /docs: Swagger UI puts styles into elements, and has its icons in its style sheet. */
export const DOCS_POLICY = pagePolicy("'self' 'unsafe-inline'", "'self' data:");

/** The answer depends on this field of its request: for caches in between. */
export function addVary(reply: FastifyReply, field: string): void {
  const others = reply.getHeader('vary');
  reply.header('vary', others === undefined ? field : `${others}, ${field}`);
}
