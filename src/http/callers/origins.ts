import { ConfigError } from '../../settings/config.js';

/** Origins as CORS_ORIGINS lists them: one as a browser sends it, or all below a domain. */
export type Origins = '*' | (string | RegExp)[];

/**
 * Reads a list such as `https://example.org, https://*.example.org:8443`. The wildcard stands for one label or several, so
 * it takes in `https://a.b.example.org:8443`, and not `https://example.org:8443`.
 *
 * @throws ConfigError that names what no browser would send
 */
export function originsOf(list: string): Origins {
  const origins = list.split(',').map((origin) => origin.trim());
  if (!origins.includes('*')) return origins.map(originOf);
  if (origins.length > 1) {
    throw new ConfigError(`CORS_ORIGINS is ${JSON.stringify(list)}, but * allows all origins and stands alone`);
  }
  return '*';
}

/** Stands in for the wildcard, so that what is around it can be read as an address. */
const LABEL = 'label';

function originOf(text: string): string | RegExp {
  const isWild = /^https?:\/\/\*\./.test(text);
  const plain = isWild ? text.replace('*', LABEL) : text;
  const sent = sentFor(plain);
  if (sent !== plain) {
    const hint = sent === undefined ? '' : `; a browser sends ${isWild ? sent.replace(LABEL, '*') : sent}`;
    throw new ConfigError(
      `CORS_ORIGINS has ${JSON.stringify(text)} in it, but an origin is like https://example.org or https://*.example.org${hint}`,
    );
  }
  if (!isWild) return text;
  const [scheme, domain] = text.split('*.');
  return new RegExp(`^${scheme}([a-z0-9_-]+\\.)+${domain.replace(/[.$()+]/g, '\\$&')}$`);
}

/** What a browser sends as the origin of a page at this address; undefined: it can be no page's. */
function sentFor(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined;
  const { protocol, hostname, origin } = new URL(text);
  return /^https?:$/.test(protocol) && !hostname.includes('*') ? origin : undefined;
}
