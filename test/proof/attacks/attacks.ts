import { announced, announcedMany, chunked, cutOff } from './announced.js';
import type { Attack } from './attack.js';
import { heads, idle, pipelines } from './connections.js';
import { cacheFlood, mediumFlood, tinyFlood } from './floods.js';
import { noReaders, slowerReaders, slowReaders, smallReaders } from './readers.js';
import { allocation, drippingStop, type Trial, unreadLog } from './trials.js';
import { weights } from './weights.js';
import { batches, longBackward, longMany, longTwo } from './work.js';

const ONE_BY_ONE: Readonly<Record<string, Attack>> = {
  announcedMany,
  cutOff,
  weights,
  heads,
  pipelines,
  idle,
  smallReaders,
  tinyFlood,
  announced,
  chunked,
  longTwo,
  longMany,
  longBackward,
  batches,
  slowReaders,
  slowerReaders,
  noReaders,
  mediumFlood,
  cacheFlood,
};

export const TRIALS: Readonly<Record<string, Trial>> = { drippingStop, unreadLog, allocation };

/** By name, those of one service one after the other. */
export const ATTACKS: Readonly<Record<string, Attack>> = {
  ...TRIALS,
  ...ONE_BY_ONE,
  everything: {
    what: 'all of this at once: the promises hold together',
    service: 'roomy',
    async act(siege) {
      await Promise.all(Object.values(ONE_BY_ONE).map(({ act }) => act(siege)));
    },
  },
};
