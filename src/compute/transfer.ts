import { MessageChannel } from 'node:worker_threads';

/** The memory of all arrays of numbers and bytes in a value, to be moved to another thread. It must be the value's own. */
export function buffersIn(value: unknown): ArrayBuffer[] {
  const found = new Set<ArrayBuffer>();
  const collect = (one: unknown): void => {
    if (typeof one !== 'object' || one === null) return;
    if (ArrayBuffer.isView(one)) found.add(one.buffer as ArrayBuffer);
    else for (const inner of Object.values(one)) collect(inner);
  };
  collect(value);
  return [...found];
}

const { port1: nowhere } = new MessageChannel();
nowhere.close();

/** Less is not worth the message. */
const LEAST_BYTES = 64 * 1024;

/**
 * Frees the memory of all arrays in a value at once; they are empty from then on. Left to the garbage collector, the
 * bodies and answers of a service under load make it run after every few requests. A message to a port that is closed
 * takes its memory along and is dropped.
 */
export function discard(value: unknown): void {
  const buffers = buffersIn(value).filter(({ byteLength }) => byteLength >= LEAST_BYTES);
  if (buffers.length > 0) nowhere.postMessage(undefined, buffers);
}
