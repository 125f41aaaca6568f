import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** What `npm run build` has made. */
export const WORKER = new URL('../dist/compute/worker/worker.js', import.meta.url);

const folder = mkdtempSync(join(tmpdir(), 'unroll-worker-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
let count = 0;

/**
 * The file of a worker that is the real one, except that `code` runs first for each message. It sees `name` (requests, block
 * or piece), `task`, and, if the message holds requests, `operations`, their names.
 */
export function workerThat(code: string): URL {
  const file = join(folder, `worker-${count++}.mjs`);
  const text = `
    import { parentPort } from 'node:worker_threads';
    const on = parentPort.on.bind(parentPort);
    parentPort.on = (event, listener) => on(event, (message) => {
      const { name, task } = message;
      const operations = name === 'requests' ? task.map(({ operation }) => operation) : [];
      ${code};
      listener(message);
    });
    await import('${WORKER.href}');`;
  writeFileSync(file, text);
  return pathToFileURL(file);
}
