import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent, get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/**
 * The delay of a service's event loop, seen from outside: how long its answer to /health/live takes, asked for every
 * 10 ms, whether the last one has come or not, by a process that does nothing else.
 */
const EVERY_MS = 10;

const file = fileURLToPath(import.meta.url);

/** Milliseconds of each answer while something else is done. */
export async function probeDuring(url: string, work: () => Promise<unknown>): Promise<number[]> {
  const child = fork(file, [`${url}/health/live`]);
  await once(child, 'message');
  await work();
  child.send('stop');
  const [delays] = await once(child, 'message');
  child.disconnect();
  return delays;
}

if (process.argv[1] === file) await probe(process.argv[2]);

async function probe(url: string): Promise<void> {
  const agent = new Agent({ keepAlive: true });
  const ask = async (): Promise<number> => {
    const start = performance.now();
    await new Promise((resolve, reject) => {
      get(url, { agent }, (response) => response.resume().once('end', resolve)).once('error', reject);
    });
    return performance.now() - start;
  };
  // What is compiled with the first ones, and the connection, are not the service's delay.
  for (let i = 0; i < 10; i++) await ask();

  const stopped = new AbortController();
  process.once('message', () => stopped.abort());
  process.send?.('ready');
  const delays: Promise<number>[] = [];
  while (!stopped.signal.aborted) {
    delays.push(ask());
    await sleep(EVERY_MS);
  }
  process.send?.(await Promise.all(delays));
  agent.destroy();
}
