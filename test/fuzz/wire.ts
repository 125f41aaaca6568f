import { connect } from 'node:net';

/** An answer as it came over the wire. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export interface Exchange {
  readonly answers: readonly Answer[];
  /** How it ended: as many answers as were waited for, a close by the service, bytes that are no answer, or none of it in time. */
  readonly end: 'answered' | 'closed' | 'garbled' | 'hung';
  /** What came behind the last whole answer. */
  readonly rest: Buffer;
}

/**
 * Writes bytes to a connection of its own, piece after piece, and reads answers until there are as many as there are
 * methods. Without methods the client says that it has no more to send, and reads until the service closes.
 */
export function exchange(
  port: number,
  writes: readonly Uint8Array[],
  methods: readonly string[] | undefined,
  limit: number,
): Promise<Exchange> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    const answers: Answer[] = [];
    let unread: Buffer = Buffer.alloc(0);
    let isDone = false;
    const done = (end: Exchange['end']) => {
      if (isDone) return;
      isDone = true;
      clearTimeout(timer);
      socket.resetAndDestroy(); // a port that waits to be used again would soon be missed
      resolve({ answers, end, rest: unread });
    };
    const timer = setTimeout(() => done('hung'), limit);
    const read = (isLast: boolean): void => {
      const { end, rest } = readAnswers(unread, answers, methods, isLast);
      unread = rest;
      if (end) done(end);
    };
    socket.on('data', (chunk) => {
      unread = Buffer.concat([unread, chunk]);
      read(false);
    });
    socket.once('end', () => read(true));
    socket.once('error', () => read(true));
    socket.once('close', () => read(true));
    for (const piece of writes) socket.write(piece);
    if (!methods) socket.end();
  });
}

/** Takes all whole answers out of the bytes; `end`, if that was all, or cannot go on. */
function readAnswers(
  bytes: Buffer,
  answers: Answer[],
  methods: readonly string[] | undefined,
  isLast: boolean,
): { end?: Exchange['end']; rest: Buffer } {
  let rest = bytes;
  while (rest.length > 0) {
    const parsed = parseAnswer(rest, methods?.[answers.length], isLast);
    if (parsed === 'garbled') return { end: 'garbled', rest };
    if (parsed === undefined) break;
    rest = rest.subarray(parsed.end);
    if (parsed.answer.status >= 200) answers.push(parsed.answer); // not 100 Continue
    if (methods && answers.length === methods.length) return { end: rest.length > 0 ? 'garbled' : 'answered', rest };
  }
  if (!isLast) return { rest };
  return { end: rest.length > 0 ? 'garbled' : 'closed', rest };
}

/** The first answer in these bytes and the offset behind it; undefined: it is not all there yet. */
function parseAnswer(bytes: Buffer, method: string | undefined, isLast: boolean) {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) return bytes.length > 64 * 1024 || isLast ? ('garbled' as const) : undefined;
  const [statusLine, ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3}) [\w '-]+$/.exec(statusLine)?.[1]);
  if (!(status >= 100)) return 'garbled';
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const [, name, value] = /^([\w-]+): ?([\x20-\x7e]*)$/.exec(line) ?? [];
    if (name === undefined) return 'garbled';
    headers[name.toLowerCase()] = value;
  }
  const start = headEnd + 4;
  const framed = bodyAt(bytes, start, status, method, headers, isLast);
  return framed && { answer: { status, headers, body: framed.body }, end: framed.end };
}

function bodyAt(
  bytes: Buffer,
  start: number,
  status: number,
  method: string | undefined,
  headers: Readonly<Record<string, string>>,
  isLast: boolean,
): { body: Buffer; end: number } | undefined {
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304)
    return { body: Buffer.alloc(0), end: start };
  if (headers['transfer-encoding'] === 'chunked') return chunksAt(bytes, start);
  if (headers['content-length'] === undefined)
    return isLast ? { body: bytes.subarray(start), end: bytes.length } : undefined;
  const end = start + Number(headers['content-length']);
  return end <= bytes.length ? { body: bytes.subarray(start, end), end } : undefined;
}

function chunksAt(bytes: Buffer, start: number): { body: Buffer; end: number } | undefined {
  const chunks: Buffer[] = [];
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return undefined;
    const length = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    const from = lineEnd + 2;
    if (from + length + 2 > bytes.length) return undefined;
    chunks.push(bytes.subarray(from, from + length));
    at = from + length + 2;
    if (length === 0) return { body: Buffer.concat(chunks), end: at };
  }
}
