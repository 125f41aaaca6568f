import type { Attack } from './attack.js';

const MIB = 2 ** 20;
const FORWARD = 'POST /v1/rnn/forward';
/** A byte more than what some servers take for an earnest beginning. */
const SENT = Buffer.alloc(MIB + 1, ' ');

interface Upload {
  readonly connections: number;
  /** What the connections announce, in turn; absent: chunked. */
  readonly announced?: readonly number[];
  /** So many bytes after each pause. */
  readonly bytes: number;
  readonly pauseMs: number;
}

/** Sends 1 MiB of a body at once, and a byte, and the rest of what it may send as slowly as it wants. */
const upload =
  ({ connections, announced, bytes, pauseMs }: Upload): Attack['act'] =>
  (siege) => {
    const piece = Buffer.alloc(bytes, ' ');
    const framed = (data: Buffer) =>
      announced === undefined ? Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, CRLF]) : data;
    const heads = announced?.map((length) => siege.head(FORWARD, `content-length: ${length}\r\n`)) ?? [
      siege.head(FORWARD, 'transfer-encoding: chunked\r\n'),
    ];
    let opened = 0;
    return siege.keep(connections, (socket) => {
      siege.onAnswers(socket);
      socket.write(heads[opened++ % heads.length]);
      socket.write(framed(SENT));
      const timer = setInterval(() => socket.write(framed(piece)), pauseMs);
      socket.once('close', () => clearInterval(timer));
    });
  };

const CRLF = Buffer.from('\r\n');

export const announced: Attack = {
  what: '8 uploads announce 256 MiB, send 1 MiB, then a byte every 10 s: memory is charged for what has arrived',
  service: 'roomy',
  act: upload({ connections: 8, announced: [256 * MIB - 16 * 1024], bytes: 1, pauseMs: 10_000 }),
};

export const announcedMany: Attack = {
  what: '64 uploads announce 40 MiB and less, send 1 MiB, then 1 KB a second: a body has a least rate, and a caller a share of the memory',
  service: 'tight',
  act: upload({ connections: 64, announced: [40, 20, 10, 5, 2.5].map((mib) => mib * MIB), bytes: 1000, pauseMs: 1000 }),
};

export const chunked: Attack = {
  what: '64 uploads in chunks send 1 MiB, then 1 KB a second: an unknown length makes no difference',
  service: 'roomy',
  act: upload({ connections: 64, bytes: 1000, pauseMs: 1000 }),
};

export const cutOff: Attack = {
  what: '6 uploads of 40 MB are cut off at 95 %, over and over: what they held is freed at once',
  service: 'tight',
  act(siege) {
    const length = 40_000_000;
    const head = siege.head(FORWARD, `content-length: ${length}\r\n`);
    const most = Buffer.alloc(0.95 * length, '1');
    return siege.keep(6, (socket) => {
      siege.onAnswers(socket);
      socket.write(head);
      socket.write(most, () => {
        siege.count('cut off');
        socket.destroy();
      });
    });
  },
};
