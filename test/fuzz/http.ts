import { gunzipSync, inflateSync } from 'node:zlib';
import fc from 'fast-check';
import { type ProblemCode, problemKinds } from '../../src/http/problems.js';
import { complaint, type Documented, documentedAt, problemSchema } from './document.js';
import { type Message, messages, type Request } from './messages.js';
import { type Answer, type Exchange, exchange } from './wire.js';

/** What came of many requests, odd ones and good ones. */
export interface Fuzzed {
  readonly requests: number;
  readonly answers: Readonly<Record<string, number>>;
  /** How connections ended that nobody could know the end of, and all others. */
  readonly ends: Readonly<Record<string, number>>;
  /** The first promises that were broken, with the bytes that broke them. */
  readonly broken: readonly string[];
}

const SENDERS = 8;
/** A request that takes longer hangs: the largest take milliseconds. */
const LIMIT_MS = 15_000;
const MOST_BROKEN = 10;
/** Samples that are made at a time. */
const BATCH = 500;

/** The same seed gives the same requests in the same order. */
export async function fuzzHttp(url: string, runs: number, seed: number): Promise<Fuzzed> {
  const port = Number(new URL(url).port);
  const answers: Record<string, number> = {};
  const ends: Record<string, number> = {};
  const broken: string[] = [];
  let requests = 0;

  const sendOne = async (message: Message): Promise<void> => {
    const methods = message.requests?.map(({ method }) => method);
    const result = await exchange(port, message.writes, methods, LIMIT_MS);
    for (const { status } of result.answers) answers[status] = (answers[status] ?? 0) + 1;
    const end = `${message.requests ? '' : 'unknown '}${result.end}`;
    ends[end] = (ends[end] ?? 0) + 1;
    const fault = faultOf(message, result);
    if (fault) broken.push(`${message.what}: ${fault}\n  ${shown(Buffer.concat(message.writes))}`);
  };

  for (let batch = 0; requests < runs && broken.length < MOST_BROKEN; batch++) {
    const samples = fc.sample(messages, { numRuns: Math.min(BATCH, runs - requests), seed: seed + batch });
    let next = 0;
    const sender = async () => {
      for (let message = samples[next++]; message; message = samples[next++]) {
        requests += message.requests?.length ?? 1;
        await sendOne(message);
      }
    };
    await Promise.all(Array.from({ length: SENDERS }, sender));
    const alive = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(LIMIT_MS) }).catch((error) => error);
    if (alive.status !== 200) {
      broken.push(`after batch ${batch} the service is not ready: ${alive.status ?? alive}`);
      break;
    }
  }
  return { requests, answers, ends, broken };
}

/** Enough to find it again; the seed gives the whole of it. */
function shown(bytes: Buffer): string {
  return JSON.stringify(bytes.toString('latin1', 0, 700));
}

/** Which promise is broken? */
function faultOf({ requests }: Message, { answers, end, rest }: Exchange): string | undefined {
  if (end === 'hung') return `no end within ${LIMIT_MS} ms, after ${answers.length} answers`;
  if (end === 'garbled') return `what was answered is not HTTP, after ${answers.length} answers: ${shown(rest)}`;
  const wasClosed = answers.at(-1)?.headers.connection === 'close';
  if (requests && answers.length < requests.length && !wasClosed)
    return `${answers.length} answers to ${requests.length} requests`;
  for (const [i, answer] of answers.entries()) {
    const fault = faultOfAnswer(requests?.[i], answer);
    if (fault) return fault;
  }
  return undefined;
}

/** What can be wrong with a request before anybody knows which operation it is for. */
const ANYWHERE: readonly ProblemCode[] = [
  'invalid-http',
  'headers-too-large',
  'not-found',
  'method-not-allowed',
  'request-timeout',
];

function faultOfAnswer(request: Request | undefined, { status, headers, body }: Answer): string | undefined {
  const text = unpacked(headers['content-encoding'], body)?.toString();
  if (text === undefined) return `an answer in ${headers['content-encoding']} that cannot be unpacked`;
  const says = (what: string) => `${what}; ${status} ${JSON.stringify(headers)} ${text.slice(0, 500)}`;
  if (status >= 500 && status !== 503 && status !== 504) return says('a failure');
  if (!/^[\x21-\x7e]{1,128}$/.test(headers['x-request-id'] ?? '')) return says('no x-request-id');
  if (headers['server-timing'] === undefined) return says('no server-timing');
  if ((status === 429 || status === 503) && headers['retry-after'] === undefined) return says('no Retry-After');
  if (request?.method === 'HEAD') return undefined;

  const operation = request && documentedAt(request.method, request.path);
  if (status >= 400) {
    if (headers['content-type'] !== 'application/problem+json') return says('not a problem');
    const problem = parsed(text) as { code: ProblemCode; status: number } | undefined;
    const wrong = complaint(problemSchema, problem);
    if (problem === undefined || wrong) return says(`not a problem: ${wrong}`);
    const { code } = problem;
    if (problem.status !== status || problemKinds[code].status !== status)
      return says('another status than its code has');
    if (operation && !ANYWHERE.includes(code) && !codesOf(operation, status).includes(code)) {
      return says('not in the document of its operation');
    }
    if (request?.valid && code !== 'non-finite-result') return says('a good request is refused');
    return undefined;
  }
  if (request?.refused) return says('what must be refused is not');
  if (operation) {
    const [type] = (headers['content-type'] ?? '').split(';');
    const schema = operation.responses[status]?.content?.[type]?.schema;
    if (!schema) return says('not in the document of its operation');
    const wrong = complaint(schema, type === 'application/json' ? parsed(text) : text);
    if (wrong) return says(`not of its schema: ${wrong}`);
  }
  return undefined;
}

/** The codes that an operation's errors of one status can have: each has an example under its name. */
function codesOf({ responses }: Documented, status: number): string[] {
  return Object.keys(responses[status]?.content?.['application/problem+json']?.examples ?? {});
}

function unpacked(encoding: string | undefined, body: Buffer): Buffer | undefined {
  if (encoding === undefined || body.length === 0) return body;
  try {
    return encoding === 'gzip' ? gunzipSync(body) : inflateSync(body);
  } catch {
    return undefined;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
