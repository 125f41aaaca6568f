import type { Attack } from './attack.js';

export const heads: Attack = {
  what: '9,000 connections bring a head of 1,900 tiny headers each, and no body: headers and connections have limits',
  service: 'tight',
  act(siege) {
    const head = siege.head('POST /v1/rnn/forward', `content-length: 1000\r\n${'a:b\r\n'.repeat(1900)}`);
    return siege.keep(9000, (socket) => {
      siege.onAnswers(socket);
      socket.write(head);
    });
  },
};

export const pipelines: Attack = {
  what: '4,000 connections bring 64 requests at once each, and again when they are answered: what waits on a connection has a limit',
  service: 'tight',
  act(siege) {
    const depth = 64;
    const requests = Buffer.concat(Array(depth).fill(siege.head('GET /health/live')));
    return siege.keep(4000, (socket) => {
      let answered = 0;
      siege.onAnswers(socket, () => {
        if (++answered % depth === 0) socket.write(requests);
      });
      socket.write(requests);
    });
  },
};

export const idle: Attack = {
  what: '9,000 connections say nothing: they keep nobody else out',
  service: 'tight',
  act: (siege) => siege.keep(9000, (socket) => siege.onAnswers(socket)),
};
