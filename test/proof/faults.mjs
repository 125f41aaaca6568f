/**
 * Loaded into the service by `--import`, which it knows nothing of: in the main thread it ends workers on demand, in the
 * workers it lets a request do harm whose body holds CHAOS_MARK and a fault's name. See breakable.ts.
 */
import { syncBuiltinESMExports } from 'node:module';
import { createServer } from 'node:net';
import workerThreads, { isMainThread } from 'node:worker_threads';

const { CHAOS_SOCKET = '', CHAOS_MARK = '' } = process.env;

/** Where the service gives workers no limit of their own, an endless heap shall not take the machine's memory. */
const HEAP = { maxOldGenerationSizeMb: 256 };

function watchWorkers() {
  const threads = new Set();
  workerThreads.Worker = class extends workerThreads.Worker {
    constructor(file, options) {
      super(file, { ...options, resourceLimits: { ...HEAP, ...options?.resourceLimits } });
      this.once('online', () => threads.add(this));
      this.once('exit', () => threads.delete(this));
    }
  };
  syncBuiltinESMExports();

  const commands = {
    threads: () => threads.size,
    kill() {
      const all = [...threads];
      const one = all[Math.floor(Math.random() * all.length)];
      threads.delete(one);
      void one?.terminate();
      return one?.threadId ?? 0;
    },
  };
  createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (command) => socket.write(`${commands[command.toString()]()}\n`));
  })
    .listen(CHAOS_SOCKET)
    .unref();
}

const faults = {
  throw() {
    throw new Error('a fault on purpose');
  },
  exit: () => process.exit(1),
  hang() {
    for (;;);
  },
  oom() {
    for (let all = []; ; ) all.push(new Array(1e5).fill(all.length));
  },
  // After the request, outside of all that could catch it.
  crash: () => setImmediate(faults.throw),
};

/** The workers look for a word in every body that they are handed: by then the request is theirs. */
function plantFaults() {
  const { includes } = Buffer.prototype;
  const mark = Buffer.from(CHAOS_MARK);
  Buffer.prototype.includes = function (...asked) {
    const at = this.length > 1000 ? -1 : this.indexOf(mark);
    if (at >= 0) faults[/^\w+/.exec(this.toString('latin1', at + mark.length))[0]]();
    return includes.apply(this, asked);
  };
}

if (isMainThread) watchWorkers();
else plantFaults();
