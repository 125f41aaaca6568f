import type { Socket } from 'node:net';
import { rnnBody } from '../bodies.js';
import type { Attack } from './attack.js';
import type { Siege } from './siege.js';

const FORWARD = '/v1/rnn/forward';
const STEP_MS = 100;

/** Reads so many bytes a second and no more. */
function readSlowly(siege: Siege, socket: Socket, perSecond: number): void {
  let allowed = 0;
  socket.pause();
  socket.on('data', (chunk) => {
    allowed -= chunk.length;
    if (allowed <= 0) socket.pause();
  });
  const timer = setInterval(() => {
    allowed += (perSecond * STEP_MS) / 1000;
    if (allowed > 0) socket.resume();
  }, STEP_MS);
  socket.once('close', () => {
    clearInterval(timer);
    siege.count('cut off');
  });
}

/** Asks once on each connection. */
const ask =
  (connections: number, body: string, perSecond: number): Attack['act'] =>
  (siege) => {
    const request = siege.post(FORWARD, body);
    return siege.keep(connections, (socket) => {
      readSlowly(siege, socket, perSecond);
      socket.write(request);
    });
  };

/** An answer of 3 million numbers, about 55 MB, to a request of 100 kB. */
const LARGE = rnnBody([1, 100, 1, 30_000], '0.1', '', '0.01');
/** One of 200 KB. */
const SMALL = rnnBody([1, 100, 1, 105], '0.1', '', '0.01');

export const slowReaders: Attack = {
  what: '16 answers of 55 MB are read at 330 KB/s: memory is given back as bytes go out',
  service: 'roomy',
  act: ask(16, LARGE, 330_000),
};

export const slowerReaders: Attack = {
  what: '16 answers of 55 MB are read at 64 KB/s: who is slower than the least rate is cut off',
  service: 'roomy',
  act: ask(16, LARGE, 64_000),
};

export const noReaders: Attack = {
  what: '16 answers of 55 MB are not read at all: a caller has a share of the memory',
  service: 'roomy',
  act: ask(16, LARGE, 0),
};

export const smallReaders: Attack = {
  what: '2,000 answers of 200 KB are not read: many small answers are as one large one',
  service: 'tight',
  act: ask(2000, SMALL, 0),
};
