import { once } from 'node:events';
import type { IncomingHttpHeaders } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer } from './problem.js';

export interface Upload {
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Bytes that the head announces; undefined: the body comes in chunks. */
  readonly announced?: number;
  /** Bytes of a piece, and milliseconds between two of them; 0: as fast as they are taken. */
  readonly piece?: number;
  readonly every?: number;
  /** Bytes that are sent; the client then waits, with chunks after the last one. */
  readonly sent?: number;
  /** Address that the client has. */
  readonly from?: string;
}

export interface Uploaded extends Answer {
  /** What was sent by then. */
  readonly sent: number;
  /** Milliseconds until the answer was there, or the connection closed. */
  readonly ms: number;
}

/** A socket that has sent the head of a POST. */
export async function begin(url: string, upload: Upload): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), localAddress: upload.from });
  socket.on('error', () => {});
  await once(socket, 'connect');
  const { path = '/v1/lstm/forward', headers = {}, announced } = upload;
  const length = announced === undefined ? 'transfer-encoding: chunked' : `content-length: ${announced}`;
  const others = Object.entries({ 'content-type': 'application/json', ...headers }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  socket.write(`POST ${path} HTTP/1.1\r\n${['host: a', length, ...others].join('\r\n')}\r\n\r\n`);
  return socket;
}

/** A client that sends a body until it has its answer, or the connection closes; status 0: it got none. */
export async function upload(url: string, given: Upload): Promise<Uploaded> {
  const { announced, piece = 65_536, every = 0, sent: most = announced ?? Number.POSITIVE_INFINITY } = given;
  const start = performance.now();
  const socket = await begin(url, given);
  const answer = readAnswer(socket);
  let isOver = false;
  const over = answer.then(() => (isOver = true));
  let sent = 0;
  while (!isOver && socket.writable && sent < most) {
    const size = Math.min(piece, most - sent);
    const bytes = Buffer.alloc(size, ' ');
    sent += size;
    const taken = socket.write(
      announced === undefined
        ? Buffer.concat([Buffer.from(`${size.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
        : bytes,
    );
    if (!taken) await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), over]);
    if (every > 0) await Promise.race([sleep(every), over]);
    else await sleep(0);
  }
  if (announced === undefined && sent === most && socket.writable) socket.write('0\r\n\r\n');
  const found = await answer;
  const ms = performance.now() - start;
  socket.destroy();
  return { ...found, sent, ms };
}

/** The first final answer on a connection, whole; status 0 where it is cut off before. */
export async function readAnswer(socket: Socket): Promise<Answer> {
  let text = '';
  return new Promise((resolve) => {
    const look = (): void => {
      const answer = parse(text);
      if (answer) resolve(answer);
    };
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      look();
    });
    socket.once('close', () => resolve({ status: 0, headers: {}, text }));
  });
}

function parse(all: string): Answer | undefined {
  const text = all.replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/i, '');
  const [, head = ''] = /^(HTTP\/1\.[01] [\s\S]*?)\r\n\r\n/.exec(text) ?? [];
  if (head === '') return undefined;
  const [first, ...lines] = head.split('\r\n');
  const headers: IncomingHttpHeaders = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  );
  const body = text.slice(head.length + 4);
  const length = Number(headers['content-length'] ?? Number.NaN);
  if (!(body.length >= length)) return undefined;
  return { status: Number(first.split(' ')[1]), headers, text: body.slice(0, length) };
}
