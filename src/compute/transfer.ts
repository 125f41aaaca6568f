import { MessageChannel } from 'node:worker_threads';

/** The memory of all typed arrays in a value, to be moved to another thread. No other value may use that memory. */
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

/** Memory below this size is not worth the message. */
const LEAST_BYTES = 64 * 1024;

/**
 * Frees the memory of all large typed arrays in a value at once; they are empty from then on. Under load, the garbage
 * collector would otherwise run after every few requests. The memory moves into a message to a closed port, which drops it.
 */
export function discard(value: unknown): void {
  const buffers = buffersIn(value).filter(({ byteLength }) => byteLength >= LEAST_BYTES);
  if (buffers.length > 0) nowhere.postMessage(undefined, buffers);
}
