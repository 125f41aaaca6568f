import type { IncomingHttpHeaders } from 'node:http';
import { isIP } from 'node:net';
import cors from '@fastify/cors';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import type { Logger } from 'pino';
import type { Config } from '../../settings/config.js';
import { Problem } from '../problems.js';
import { type KeysConfig, openKeys } from './keys.js';
import { originsOf } from './origins.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** The name of the API key that the request came with; undefined where none is asked for. */
    caller: string | undefined;
  }
}

type AccessConfig = KeysConfig & Pick<Config, 'CORS_ORIGINS' | 'TRUST_PROXY'>;

/** Who may use the service, and from which pages. Asked before anything of a request is read but its headers. */
export const accessPlugin = fp(
  async (app: FastifyInstance, { config, logger }: { config: AccessConfig; logger: Logger }) => {
    if (config.TRUST_PROXY) {
      app.addHook('onRequest', ({ raw: { headers } }, _reply, done) => {
        const { [FORWARDED]: given } = headers;
        if (given !== undefined) headers[FORWARDED] = addressesIn(String(given));
        done();
      });
    }
    // Before the keys: a browser asks for leave without sending any.
    if (config.CORS_ORIGINS) await allowPages(app, config.CORS_ORIGINS);

    app.decorateRequest('caller', undefined);
    const keys = await openKeys(config, logger);
    if (keys === undefined) return;
    app.addHook('onClose', async () => keys.close());
    app.addHook('onRequest', (request, _reply, done) => {
      // The route rather than the address, which can be written in many ways.
      const { url: route } = request.routeOptions;
      if (route === undefined || request.method === 'OPTIONS' || isOpen(route)) return done();
      const key = keyOf(request.headers);
      request.caller = key === undefined ? undefined : keys.callerOf(key);
      if (request.caller !== undefined) return done();
      done(unauthorized(key !== undefined));
    });
  },
  { name: 'access' },
);

/**
 * What can be had without a key: probes, and what is as public as this source. Everything else, whatever is added
 * to the service, needs one.
 */
function isOpen(route: string): boolean {
  return /^(\/|\/openapi\.json|\/(docs|problems|health)(\/.*)?)$/.test(route);
}

/** The header that is meant for this service alone goes before the one that a proxy may use for its own ends. An empty key is none. */
function keyOf(headers: IncomingHttpHeaders): string | undefined {
  const own = headers['x-api-key'];
  if (typeof own === 'string' && own !== '') return own;
  return /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
}

function unauthorized(given: boolean): Problem {
  const detail = given
    ? 'the API key of the request is not one that this instance knows'
    : 'the request has no API key: it comes as Authorization: Bearer <key> or as x-api-key: <key>';
  return new Problem('unauthorized', detail, [], {
    'www-authenticate': given ? 'Bearer error="invalid_token"' : 'Bearer',
  });
}

/** What a page of another origin may send and see. */
async function allowPages(app: FastifyInstance, list: string): Promise<void> {
  const origins = originsOf(list);
  await app.register(cors, {
    // Whoever names no origin is no page, and its OPTIONS no preflight.
    origin: (origin, done) => done(null, origin === undefined ? false : origins),
    strictPreflight: false, // the plugin would answer an odd preflight with a plain text
    methods: ['GET', 'HEAD', 'POST', 'DELETE'],
    allowedHeaders: [
      'content-type',
      'content-encoding',
      'authorization',
      'x-api-key',
      'x-request-id',
      'x-deadline-ms',
      'traceparent',
      'tracestate',
    ],
    exposedHeaders: [
      'x-request-id',
      'server-timing',
      'traceresponse',
      'retry-after',
      'ratelimit-limit',
      'ratelimit-remaining',
      'ratelimit-reset',
    ],
    maxAge: 3600,
  });
}

const FORWARDED = 'x-forwarded-for';

/**
 * The header of proxies as Fastify takes it: without ports, which some gateways append, and without whatever stands before
 * something that is no address, since nobody vouches for that. Where nothing is left, the peer's own address counts.
 */
function addressesIn(header: string): string {
  const entries = header.split(',').filter((entry) => entry.trim() !== '');
  const addresses = entries.map((entry) => addressOf(entry.trim()));
  return addresses.slice(addresses.lastIndexOf(undefined) + 1).join(', ');
}

/** Of 192.0.2.1:4711, [2001:db8::1]:4711, or without a port; undefined: it is none. */
function addressOf(text: string): string | undefined {
  const address = text.replace(/^\[(.*)\](:\d+)?$/, '$1').replace(/^([\d.]+):\d+$/, '$1');
  return isIP(address) === 0 ? undefined : address;
}
