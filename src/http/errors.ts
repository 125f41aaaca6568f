import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { isAllocationFailure, NO_MEMORY } from '../compute/worker/allocation.js';
import { answerOn, type OnRefusal, refuseOnSocket } from './connections/refuse-on-socket.js';
import { SECURITY_HEADERS } from './headers.js';
import { received } from './monitoring/stages.js';
import { PROBLEM_TYPE, Problem, type ProblemCode, problemBody, problemKinds } from './problems.js';

declare module 'fastify' {
  interface FastifyReply {
    /** What the log says of the problem that is the answer. */
    refusal: { readonly detail: string; readonly pointers?: readonly string[] } | undefined;
  }
}

/** Answers every error as a problem, whoever found it: a route, Fastify, or Node's HTTP parser. */
export const errorsPlugin = fp(
  async (app: FastifyInstance, { onRefusal }: { onRefusal: OnRefusal }) => {
    const methods = new Map<string, Set<string>>();
    app.addHook('onRoute', ({ method, url }) => {
      const path = url.replace(/:\w+$/, '*');
      methods.set(path, new Set([...(methods.get(path) ?? []), ...[method].flat()]));
    });
    app.setErrorHandler(async (error: FastifyError | Problem, request, reply) => {
      if (!(error instanceof Problem && UNREAD.includes(error.code))) await readRest(request, app.isRefusing());
      // Fastify asks a QUERY for its content type, whether or not anything takes it.
      const isQuery = error.code === 'FST_ERR_ROUTE_MISSING_CONTENT_TYPE';
      return sendError(isQuery ? nothingHere(methods, request) : error, request, reply);
    });
    app.setNotFoundHandler(async (request, reply) => {
      await readRest(request, app.isRefusing());
      const allowed = request.method === 'OPTIONS' ? methodsAt(methods, pathOf(request)) : [];
      if (allowed.length > 0) return reply.code(204).header('allow', allowed.join(', ')).send();
      return sendError(nothingHere(methods, request), request, reply);
    });
    app.addHook('onRequest', ({ raw }, _reply, done) => done(oddityOf(raw)));
    app.server.on('connect', (_request: IncomingMessage, socket: Socket) => {
      // From here on the socket is nobody else's; an answer that is being sent still waits to go on.
      socket.on('error', () => socket.destroy());
      socket.on('drain', () => answerOn(socket)?.emit('drain'));
      refuseOnSocket('CONNECT', socket, app.log, onRefusal);
    });
  },
  { name: 'errors' },
);

/** The rest of such a request is not waited for: it came too slowly, or there is too much of it already. */
const UNREAD: readonly ProblemCode[] = ['request-timeout', 'deadline-exceeded', 'headers-too-large'];

/** Header fields that a request may have. Node hands over one more, so that they can be seen to be too many, and drops the rest. */
const MOST_FIELDS = 100;
export const FIELDS_READ = MOST_FIELDS + 1;

/** By RFC 9110 (7.2) and RFC 3986 (3.2.2): a name or an address, and perhaps a port. It may be empty. */
const HOST = /^([\w.~!$&'()*+;=%-]*|\[[\da-z:.]+\])(:\d*)?$/i;

/** What Node's parser takes, and the service does not. */
function oddityOf({ headers, httpVersion, rawHeaders }: IncomingMessage): Problem | undefined {
  const close = { connection: 'close' };
  if (rawHeaders.length > 2 * MOST_FIELDS) {
    return new Problem('headers-too-large', `the request has more than ${MOST_FIELDS} header fields`, [], close);
  }
  const hosts = hostsIn(rawHeaders);
  if (hosts > 1) return new Problem('invalid-http', `the request has ${hosts} Host headers`, [], close);
  const coding = headers['transfer-encoding'];
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
    return new Problem(
      'invalid-http',
      `the request has Transfer-Encoding ${coding.slice(0, 100)}, but the service knows chunked alone`,
      [],
      close,
    );
  }
  if (!HOST.test(headers.host ?? '')) {
    return new Problem(
      'invalid-http',
      `the request has Host ${headers.host?.slice(0, 100)}, which is no host`,
      [],
      close,
    );
  }
  if (httpVersion === '1.1') {
    if (hosts === 0) return new Problem('invalid-http', 'the request has no Host header');
  } else if (coding !== undefined) {
    // RFC 9112 (6.1): whoever is in between may see its end somewhere else.
    return new Problem(
      'invalid-http',
      `the request has a Transfer-Encoding, which is not of HTTP/${httpVersion}`,
      [],
      close,
    );
  }
  return undefined;
}

/** Node itself keeps the first one. */
function hostsIn(names: readonly string[]): number {
  let count = 0;
  for (let i = 0; i < names.length; i += 2) if (names[i].length === 4 && names[i].toLowerCase() === 'host') count++;
  return count;
}

/** Sends an error. One that nobody expected becomes `internal`, and its stack goes to the log alone. */
function sendError(error: FastifyError | Problem, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const problem = error instanceof Problem ? error : fromFramework(error, request);
  if (problem.code === 'internal') request.log.error({ err: error }, 'request failed');
  reply.problem = problem.code;
  reply.refusal = refusalOf(problem);
  if (request.receiveFrom > 0) reply.stages ??= received(request);
  const { status } = problemKinds[problem.code];
  const body = problemBody(problem, pathOf(request), request.id, request.prefix);
  // As bytes: Fastify would add a charset to the type of a text, which this type does not have.
  return reply
    .code(status)
    .headers(problem.headers)
    .header('content-type', PROBLEM_TYPE)
    .send(Buffer.from(JSON.stringify(body)));
}

/** Characters of a detail, and pointers, that are logged. */
const LOGGED_CHARACTERS = 500;
const LOGGED_POINTERS = 10;

/** What the log says of a refusal beside its code: enough to tell its caller what is wrong. */
function refusalOf({ message, faults }: Problem): FastifyReply['refusal'] {
  const detail = message.slice(0, LOGGED_CHARACTERS);
  if (faults.length === 0) return { detail };
  return {
    detail,
    pointers: faults.slice(0, LOGGED_POINTERS).map(({ pointer }) => pointer.slice(0, LOGGED_CHARACTERS)),
  };
}

/** A path that cannot be decoded is refused before any hook has run: the headers of every answer are set here. */
export function refuseBadPath(
  error: FastifyError,
  request: FastifyRequest,
  reply: FastifyReply,
  onRefusal: OnRefusal,
): void {
  reply.headers({ 'x-request-id': request.id, 'server-timing': 'total;dur=0', ...SECURITY_HEADERS });
  sendError(error, request, reply);
  request.log.info(
    { address: request.ip, status: reply.statusCode, code: reply.problem, ...reply.refusal },
    'request refused',
  );
  if (reply.problem) onRefusal(reply.problem);
}

/** What Fastify and Node refuse by themselves. */
function fromFramework(error: FastifyError, { headers }: FastifyRequest): Problem {
  if (isAllocationFailure(error)) return new Problem('overloaded', NO_MEMORY);
  switch (error.code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new Problem(
        'unsupported-media-type',
        `the body has ${typeIn(headers)}, but must be application/json in UTF-8`,
      );
    case 'FST_ERR_BAD_URL':
      return new Problem('invalid-http', 'the path is not a valid URL path');
    case 'ECONNRESET':
      return new Problem('invalid-http', 'the connection closed before the body was complete');
    default:
      if (error.statusCode === 403 || error.statusCode === 404 || error.statusCode === 414) {
        return new Problem('not-found', 'there is nothing at this path; the paths are listed at /openapi.json');
      }
      if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
        return new Problem('invalid-http', 'the request is not one the service understands');
      }
      return new Problem('internal', 'the service failed; the request_id finds the reason in its log');
  }
}

function typeIn({ 'content-type': type }: IncomingHttpHeaders): string {
  return type === undefined ? 'no Content-Type' : `Content-Type ${type.slice(0, 100)}`;
}

function nothingHere(methods: Methods, request: FastifyRequest): Problem {
  const path = pathOf(request);
  const allowed = methodsAt(methods, path);
  if (allowed.length === 0) {
    return new Problem('not-found', `there is nothing at ${path}; the paths are listed at /openapi.json`);
  }
  const allow = allowed.join(', ');
  return new Problem('method-not-allowed', `${path} takes ${allow}, not ${request.method}`, [], { allow });
}

/** The methods that are taken, by path. */
type Methods = ReadonlyMap<string, ReadonlySet<string>>;

/** The methods of a path; none: there is nothing. `*` stands for the service as a whole. */
function methodsAt(methods: Methods, path: string): string[] {
  // The last part of a path may be an id.
  const urls = path === '*' ? [...methods.keys()] : [path, path.replace(/[^/]+$/, '*')];
  const taken = ['GET', 'HEAD', 'POST', 'DELETE'].filter((method) => urls.some((url) => methods.get(url)?.has(method)));
  return taken.length === 0 ? [] : [...taken, 'OPTIONS'];
}

/** Without the query, and without the name and password that an absolute address can have in it. */
export function pathOf(request: FastifyRequest): string {
  return request.url
    .replace(/^https?:\/\/[^/?]*/i, '')
    .split('?', 1)[0]
    .slice(0, 256);
}

/** How long a refused body is read on: most clients look for an answer only when they have sent everything. */
const REST_MS = 10_000;

/** Reads the rest of a body and forgets it. A client that waits to be told to continue sends none. A service that stops does not wait for it. */
async function readRest(request: FastifyRequest, isRefusing: boolean): Promise<void> {
  const { raw } = request;
  if (isRefusing || raw.complete || raw.destroyed || raw.headers.expect !== undefined) return;
  const hasBody = raw.headers['content-length'] !== undefined || raw.headers['transfer-encoding'] !== undefined;
  if (hasBody) request.receiveFrom ||= performance.now();
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, REST_MS);
    request.hurry = resolve;
    raw.once('close', resolve).once('end', resolve).resume();
    raw.once('close', () => clearTimeout(timer)).once('end', () => clearTimeout(timer));
  });
  request.receiveTo = performance.now();
}
