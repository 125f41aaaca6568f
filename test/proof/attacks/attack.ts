import type { Socket } from 'node:net';
import type { Kind } from './services.js';
import type { Siege } from './siege.js';

/** What somebody does who means harm. */
export interface Attack {
  /** What it does, and the promise that it tests. */
  readonly what: string;
  /** Of the service that is attacked. */
  readonly service: Kind;
  /** Could it make the service slower for good? */
  readonly spoils?: boolean;
  /** Begins it in this process; it goes on until the siege is over. */
  act(siege: Siege): Promise<void> | void;
}

/** A connection of an attack: what is done with it from when it is open. */
export type Behaviour = (socket: Socket) => void;
