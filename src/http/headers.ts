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

/** For /docs, the only page: everything it needs comes from here. Its scripts put styles into elements. */
export const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
