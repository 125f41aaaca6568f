import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { now } from '../compute/outcome.js';

/** Requests that a connection may bring while one of it is answered. What it brings beyond them is not read any more. */
const MOST_WAITING = 64;

/** A connection on which a request is answered. */
interface Line {
  /** What it has brought in the meantime. */
  readonly waiting: (readonly [IncomingMessage, ServerResponse])[];
  /** Is it closed when they are answered? */
  isLast: boolean;
}

const lines = new WeakMap<Socket, Line>();
/** When those came that had to wait. */
const arrivals = new WeakMap<IncomingMessage, number>();

/**
 * Begins the requests of one connection one after the other, each when the one before is answered: Node hands over all
 * that a packet brings at once, which can be thousands. So no connection takes more than its share of the service, and
 * nothing has been done for a request that is not answered because its connection closes.
 */
export function oneByOne(handle: RequestListener): RequestListener {
  function begin(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    response.once('finish', () => {
      const line = lines.get(socket);
      const next = line?.waiting.shift();
      if (next) begin(...next);
      else {
        lines.delete(socket);
        if (line?.isLast) socket.destroySoon(); // the head of its answer may have been sent before that was known
      }
    });
    handle(request, response);
  }

  return (request, response) => {
    const { socket } = request;
    const line = lines.get(socket);
    if (line === undefined) {
      lines.set(socket, { waiting: [], isLast: false });
      begin(request, response);
    } else if (!line.isLast) {
      line.waiting.push([request, response]);
      arrivals.set(request, now());
      if (line.waiting.length < MOST_WAITING) return;
      line.isLast = true;
      socket.pause();
    }
  };
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

/** Nothing that the connection brings from now on is begun: it has been told that it is refused. */
export function ignoreWhatComes(socket: Socket): void {
  lines.set(socket, { waiting: [], isLast: true });
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
  if (last?.complete === false) line.waiting.pop();
  return true;
}
