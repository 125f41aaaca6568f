import { randomUUID } from 'node:crypto';
import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { SECURITY_HEADERS } from '../headers.js';
import { PROBLEM_TYPE, Problem, type ProblemCode, problemBody, problemKinds } from '../problems.js';
import { closeGently, closeWhenAnswered, throwAwayTheRest } from './pipelining.js';

/** Told of what is refused before it is a request of any route. */
export type OnRefusal = (code: ProblemCode) => void;

/** What is not even HTTP never becomes a request: the answer is written to the socket. */
export function refuseMalformedHttp(logger: Logger, onRefusal: OnRefusal) {
  return (error: Error & { code?: string }, socket: Socket): void => {
    if (error.code === 'ECONNRESET') socket.destroy();
    else refuseOnSocket(error.code, socket, logger, onRefusal);
  };
}

/** Of a connection on which a request is answered, the answer goes first, and is the last one: nothing is written in between. */
export function refuseOnSocket(
  code: string | undefined,
  socket: Socket,
  logger: Pick<Logger, 'info'>,
  onRefusal: OnRefusal,
): void {
  if (!socket.writable) {
    throwAwayTheRest(socket); // it is refused already, or has had its last answer
    return;
  }
  if (answerOn(socket)?.req.complete && closeWhenAnswered(socket)) return;
  const problem = malformed(code);
  const { status } = problemKinds[problem.code];
  const id = randomUUID();
  const body = JSON.stringify(problemBody(problem, '', id));
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `content-type: ${PROBLEM_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${id}`,
    'server-timing: total;dur=0',
    ...Object.entries({ ...problem.headers, ...SECURITY_HEADERS }).map(([name, value]) => `${name}: ${value}`),
    'connection: close',
  ];
  socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
  closeGently(socket);
  const { remoteAddress: address } = socket;
  logger.info({ reqId: id, address, status, code, detail: problem.message }, 'request refused');
  onRefusal(problem.code);
}

/** The answer whose turn it is; Node itself looks there before it writes to a socket. */
export function answerOn(socket: Socket): ServerResponse | null | undefined {
  return (socket as { _httpMessage?: ServerResponse | null })._httpMessage;
}

function malformed(code: string | undefined): Problem {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return new Problem('request-timeout', 'the request was not complete in time');
  if (code === 'HPE_HEADER_OVERFLOW') return new Problem('headers-too-large', 'the header fields are too long');
  if (code === 'TOO_MANY_CONNECTIONS') {
    return new Problem('overloaded', 'there are as many connections as there may be (CONNECTION_LIMIT)');
  }
  if (code === 'TOO_MANY_CONNECTIONS_OF_ADDRESS') {
    return new Problem('overloaded', 'this address has as many connections as it may have (ADDRESS_LIMIT)');
  }
  if (code === 'CONNECT') return new Problem('invalid-http', 'CONNECT is for proxies, and the service is none');
  return new Problem('invalid-http', 'what was sent is not an HTTP/1.1 request');
}
