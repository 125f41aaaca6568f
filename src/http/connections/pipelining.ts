import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { now } from '../../compute/messages.js';
import type { Turns } from './turns.js';

/** Requests that a connection may bring while one of it is answered. What it brings beyond them is not read any more. */
const MOST_WAITING = 16;
/** While so many wait on all connections together, one that brings more than the one being answered is closed after it. */
const MOST_WAITING_IN_ALL = 4096;

/** A connection on which a request is answered. */
interface Line {
  /** What it has brought in the meantime. */
  readonly waiting: (readonly [IncomingMessage, ServerResponse])[];
  /** Is it closed when they are answered? */
  isLast: boolean;
  /** Forgets those that wait, when the connection closes; undefined: none has waited. */
  forget: (() => void) | undefined;
}

const lines = new WeakMap<Socket, Line>();
/** Those that wait on all of them. */
let waitingInAll = 0;
/** When those came that had to wait. */
const arrivals = new WeakMap<IncomingMessage, number>();

/**
 * Begins the requests of one connection one after the other, each when the one before is answered: Node hands over all
 * that a packet brings at once, which can be thousands. So no connection takes more than its share of the service, and
 * nothing has been done for a request that is not answered because its connection closes. Connections take turns.
 */
export function answerOneByOne(server: Server, handle: RequestListener, turns: Turns): void {
  function begin(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    if (socket.destroyed) return;
    response.once('finish', () => {
      const line = lines.get(socket);
      const next = line?.waiting.shift();
      if (next) {
        waitingInAll--;
        if (turns.mayBegin()) begin(...next);
        else turns.wait(`more of ${standingOf(next[0])}`, () => begin(...next));
      } else {
        lines.delete(socket);
        if (line?.forget) socket.off('close', line.forget);
        if (line?.isLast) closeGently(socket); // the head of its answer may have been sent before that was known
      }
    });
    handle(request, response);
  }

  server.on('connection', (socket: Socket) => {
    stopReadingWhereLast(socket);
    socket.destroySoon = () => closeGently(socket); // which is what Node calls behind the last answer
  });
  server.on('request', (request, response) => {
    const { socket } = request;
    const line = lines.get(socket);
    if (line === undefined) {
      lines.set(socket, { waiting: [], isLast: false, forget: undefined });
      if (turns.mayBegin()) begin(request, response);
      else {
        arrivals.set(request, now());
        turns.wait(standingOf(request), () => begin(request, response));
      }
    } else if (!line.isLast) {
      if (waitingInAll < MOST_WAITING_IN_ALL) {
        addTo(line, request, response);
        if (line.waiting.length < MOST_WAITING) return;
      }
      line.isLast = true;
      socket.pause();
    }
  });
}

/** How long a client may take to close a connection that the service has closed on its side. */
const LINGER_MS = 1000;

/**
 * Closes a connection once what was written to it has been sent. What it still brings is read and thrown away for a
 * moment: closed with bytes that nobody read, it would be reset, and the client could lose answers that it has not read.
 */
export function closeGently(socket: Socket): void {
  lines.get(socket)?.forget?.();
  lines.set(socket, { waiting: [], isLast: true, forget: undefined }); // so that nothing is begun of what it still brings
  socket.end();
  throwAwayTheRest(socket);
  setTimeout(() => socket.destroy(), LINGER_MS).unref(); // for a client that keeps its half of the connection
}

/** Reads what still comes on a connection, to no end. */
export function throwAwayTheRest(socket: Socket): void {
  socket.push(''); // ends the reading that the parser has stopped: the stream would wait for it
  socket.resume();
}

/** What Node keeps of a connection and does not document. */
type Parsed = Socket & { parser: { onIncoming(request: IncomingMessage, keepAlive: boolean): number } };
/** What its parser is told to stop for. */
const TUNNEL = 2;

/**
 * Of a connection that takes no more requests, the parser leaves the rest of the packet alone: as it does behind a
 * CONNECT, where what follows is no HTTP. Each request that it took would cost as much again when the connection closes.
 */
function stopReadingWhereLast(socket: Socket): void {
  const { parser } = socket as Parsed;
  const { onIncoming } = parser;
  parser.onIncoming = (request, keepAlive) => {
    if (!lines.get(socket)?.isLast) return onIncoming(request, keepAlive);
    Object.assign(request, { method: 'CONNECT', upgrade: true });
    return TUNNEL;
  };
}

/** Whose turn it is: that of an address, and what asks for the health is not behind its other requests. */
function standingOf({ socket, url = '' }: IncomingMessage): string {
  return url.startsWith('/health/') ? `${socket.remoteAddress} for health` : `${socket.remoteAddress}`;
}

function addTo(line: Line, request: IncomingMessage, response: ServerResponse): void {
  if (line.forget === undefined) {
    line.forget = () => {
      waitingInAll -= line.waiting.length;
      line.waiting.length = 0;
    };
    request.socket.once('close', line.forget);
  }
  line.waiting.push([request, response]);
  waitingInAll++;
  arrivals.set(request, now());
}

/** When a request that is being begun had come, in milliseconds since the epoch. */
export function arrivalOf(request: IncomingMessage): number {
  return arrivals.get(request) ?? now();
}

/** Will a connection be used for another request: one that it has brought already, or one that may come? */
export function isFollowed(socket: Socket): 'surely' | 'maybe' | 'never' {
  const { waiting = [], isLast = false } = lines.get(socket) ?? {};
  if (waiting.length > 0) return 'surely';
  return isLast ? 'never' : 'maybe';
}

/** Has it brought a request that is not answered yet? */
export function isBusy(socket: Socket): boolean {
  return lines.has(socket);
}

/** Are requests read of it that it may yet bring? */
export function takesMore(socket: Socket): boolean {
  return !lines.get(socket)?.isLast;
}

/**
 * What the connection has brought whole is still answered; then it is closed.
 *
 * @return false where there is nothing to answer
 */
export function closeWhenAnswered(socket: Socket): boolean {
  const line = lines.get(socket);
  if (line === undefined) return false;
  line.isLast = true;
  const [last] = line.waiting.at(-1) ?? [];
  if (last?.complete === false) {
    line.waiting.pop();
    waitingInAll--;
  }
  return true;
}
