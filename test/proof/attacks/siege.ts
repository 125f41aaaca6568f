import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Behaviour } from './attack.js';

/** Whom an attack is aimed at, and what this process does of it. */
export interface Target {
  readonly port: number;
  /** Where the attacker's connections come from. */
  readonly address: string;
  /** Header lines that say who it is. */
  readonly headers: string;
  /** Processes that attack together, and which of them this one is. */
  readonly crews: number;
  readonly crew: number;
}

/** After so long a connection that ended is opened again. */
const PAUSE_MS = 100;
/** Connections that are opened at once; then the service may take them. */
const BURST = 100;
const BURST_PAUSE_MS = 5;

/** An attack while it goes on in one process. Connections are bare, so that the attacker takes little of the machine. */
export class Siege {
  readonly target: Target;
  readonly signal: AbortSignal;
  /** How often each thing was answered, by code of the problem or status, and how connections ended otherwise. */
  readonly answers: Record<string, number> = {};
  readonly #sockets = new Set<Socket>();

  constructor(target: Target, signal: AbortSignal) {
    this.target = target;
    this.signal = signal;
    signal.addEventListener('abort', () => {
      for (const socket of this.#sockets) socket.resetAndDestroy();
    });
  }

  count(what: string): void {
    if (this.signal.aborted) return; // then it is us who end everything
    this.answers[what] = (this.answers[what] ?? 0) + 1;
  }

  /** This process's part of so many. */
  share(count: number): number {
    const { crew, crews } = this.target;
    return Math.floor((count * (crew + 1)) / crews) - Math.floor((count * crew) / crews);
  }

  /** Keeps so many connections, all processes together, and opens another one for each that ends. */
  async keep(count: number, behave: Behaviour): Promise<void> {
    for (let i = 0; i < this.share(count) && !this.signal.aborted; i++) {
      this.#open(behave);
      if (i % BURST === BURST - 1) await sleep(BURST_PAUSE_MS);
    }
  }

  #open(behave: Behaviour): void {
    if (this.signal.aborted) return;
    const { port, address } = this.target;
    const socket = connect({ port, host: '127.0.0.1', localAddress: address, noDelay: true });
    this.#sockets.add(socket);
    socket.once('connect', () => behave(socket));
    socket.once('error', (error: NodeJS.ErrnoException) => this.count(error.code ?? error.message));
    socket.once('close', () => {
      this.#sockets.delete(socket);
      setTimeout(() => this.#open(behave), PAUSE_MS).unref();
    });
  }

  /** A whole POST request in JSON. */
  post(path: string, body: string, more = ''): Buffer {
    const bytes = Buffer.from(body);
    return Buffer.concat([this.head(`POST ${path}`, `content-length: ${bytes.length}\r\n${more}`), bytes]);
  }

  /** The head of a request, such as `GET /`. */
  head(line: string, more = ''): Buffer {
    return Buffer.from(
      `${line} HTTP/1.1\r\nhost: unroll\r\ncontent-type: application/json\r\n${this.target.headers}${more}\r\n`,
    );
  }

  /** Sends it over so many connections, over each again as soon as it is answered; in turn where there are several. */
  repeat(connections: number, ...requests: readonly Buffer[]): Promise<void> {
    let sent = 0;
    return this.keep(connections, (socket) => {
      const send = () => socket.write(requests[sent++ % requests.length]);
      this.onAnswers(socket, send);
      send();
    });
  }

  /** Reads answers, counts them, and forgets them. */
  onAnswers(socket: Socket, then: () => void = () => {}): void {
    let left = 0;
    let head = '';
    let what = '';
    const end = () => {
      this.count(what);
      if (!this.signal.aborted && socket.writable) then();
    };
    socket.on('data', (chunk: Buffer) => {
      for (let at = 0; at < chunk.length; ) {
        if (left > 0) {
          const taken = Math.min(left, chunk.length - at);
          if (what !== '200') what = /"code":"([\w-]+)"/.exec(chunk.toString('latin1', at, at + taken))?.[1] ?? what;
          left -= taken;
          at += taken;
          if (left === 0) end();
          continue;
        }
        const rest = chunk.toString('latin1', at, at + MOST_HEAD);
        const headEnd = (head + rest).indexOf('\r\n\r\n');
        if (headEnd < 0) {
          head += rest;
          return;
        }
        at += headEnd + 4 - head.length;
        const whole = (head + rest).slice(0, headEnd);
        head = '';
        what = whole.slice(9, 12);
        left = Number(/\r\ncontent-length: (\d+)/i.exec(whole)?.[1] ?? 0);
        if (left === 0 && what >= '200') end();
      }
    });
  }
}

const MOST_HEAD = 4096;
