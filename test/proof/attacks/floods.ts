import { rnnBody } from '../bodies.js';
import type { Attack } from './attack.js';

const FORWARD = '/v1/rnn/forward';

export const tinyFlood: Attack = {
  what: 'as many tiny requests of one caller as 200 connections bring: it gets its share of the queue',
  service: 'tight',
  act: (siege) => siege.repeat(200, siege.post(FORWARD, rnnBody([3, 5, 4, 4], '0.5'))),
};

export const mediumFlood: Attack = {
  what: 'as many medium requests of one caller as 64 connections bring: it gets its share of the workers',
  service: 'roomy',
  act: (siege) => siege.repeat(64, siege.post(FORWARD, rnnBody([24, 48, 32, 32], '0.1234'))),
};

export const cacheFlood: Attack = {
  what: 'stored caches of one caller without end: those of others stay',
  service: 'roomy',
  act: (siege) => siege.repeat(8, siege.post(FORWARD, rnnBody([24, 48, 16, 32], '0.1234', ',"caches":"stored"'))),
};
