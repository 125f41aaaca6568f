import { type Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { type ProblemCode, problemKinds } from '../../src/http/problems.js';
import type { Case } from './catalogue.js';

/** How a request ended. */
export interface Ending {
  /**
   * right: the known answer, or the known refusal. refused: 408, 413, 429, 503 or 504, which a service that is under
   * pressure may say. failed: another 5xx. wrong: anything else. broken: no whole answer came.
   */
  readonly kind: 'right' | 'refused' | 'failed' | 'wrong' | 'broken';
  /** 0 where there was no answer. */
  readonly status: number;
  /** The problem's code, or the system's where there was no answer. */
  readonly code: string;
  readonly retryAfter: boolean;
  /** What a person needs to look into it. */
  readonly detail: string;
}

/** What a service may say to any request, by what it has to do beside. */
const UNDER_PRESSURE: ReadonlySet<number> = new Set([408, 413, 429, 503, 504]);

export interface Sending {
  readonly agent: Agent;
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Milliseconds after which a request counts as hung. */
  readonly limit: number;
}

/**
 * Sends a request and compares its answer with the known one while it arrives.
 *
 * A connection that the service closed while it was idle shows only when it is used again; clients then send once more,
 * and so does this one.
 */
export async function send(one: Case, sending: Sending): Promise<Ending> {
  const { ending, onIdleConnection } = await sendOnce(one, sending);
  return ending.kind === 'broken' && onIdleConnection ? (await sendOnce(one, sending)).ending : ending;
}

function sendOnce(one: Case, sending: Sending): Promise<{ ending: Ending; onIdleConnection: boolean }> {
  return new Promise((resolve) => {
    let answered = false;
    const outgoing = open(one, sending);
    const done = (ending: Ending) => {
      clearTimeout(timer);
      resolve({ ending, onIdleConnection: outgoing.reusedSocket && !answered && ending.code === 'ECONNRESET' });
    };
    const broken = (code: string) => done({ kind: 'broken', status: 0, code, retryAfter: false, detail: one.name });
    const timer = setTimeout(() => {
      broken('no answer in time');
      outgoing.destroy();
    }, sending.limit);
    outgoing.once('error', (error: NodeJS.ErrnoException) => broken(error.code ?? error.message));
    outgoing.once('response', (response) => {
      answered = true;
      void judge(one, response).then(done, (error: NodeJS.ErrnoException) => broken(error.code ?? error.message));
    });
    outgoing.end(one.body);
  });
}

/** The request's head; the body is the caller's to send. */
export function open({ method, path, body }: Case, { agent, url, headers }: Omit<Sending, 'limit'>): ClientRequest {
  const ofBody = { 'content-type': 'application/json', 'content-length': body.length };
  return request(url + path, { method, agent, headers: { ...(method === 'POST' && ofBody), ...headers } });
}

async function judge({ name, expected }: Case, response: IncomingMessage): Promise<Ending> {
  const { statusCode: status = 0, headers } = response;
  const retryAfter = headers['retry-after'] !== undefined;
  const ending = (kind: Ending['kind'], code: string, detail: string): Ending => ({
    kind,
    status,
    code,
    retryAfter,
    detail,
  });
  if (status === 200) {
    const known = 'body' in expected ? expected.body : new Uint8Array(0);
    let at = 0;
    let same = 'body' in expected;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      same &&= chunk.equals(known.subarray(at, at + chunk.length));
      at += chunk.length;
    }
    if (same && at === known.length) return ending('right', '200', name);
    return ending('wrong', '200', `${name}: an answer of ${at} bytes is not the known one of ${known.length}`);
  }

  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const { code, errors } = problemIn(text);
  const detail = `${name}: ${status} ${text.slice(0, 300)}`;
  if (code === undefined || problemKinds[code].status !== status) return ending('wrong', `${status}`, detail);
  if (UNDER_PRESSURE.has(status)) return ending('refused', code, detail);
  if (status >= 500) return ending('failed', code, detail);
  const isKnown = 'code' in expected && expected.code === code && expected.errors === JSON.stringify(errors);
  return ending(isKnown ? 'right' : 'wrong', code, detail);
}

function problemIn(text: string): { code?: ProblemCode; errors?: unknown } {
  try {
    const problem = JSON.parse(text);
    return Object.hasOwn(problemKinds, problem.code) ? problem : {};
  } catch {
    return {};
  }
}
