import { writeSync } from 'node:fs';

/** Where the lines of the log go. Whether or not somebody reads them, nothing ever waits for it. */
export interface Log {
  /** Takes a line, with its end. It is written soon; or dropped, and counted, where too many wait already. */
  write(line: string): void;
  /** Writes what waits, as far as it is taken within a moment: for the end of the process. */
  close(): void;
  /** Lines that were dropped since the start. */
  readonly dropped: number;
}

export interface LogOptions {
  /** Told when what waited has been written, and lines had been dropped: so many since it was told before. */
  onBack(dropped: number): void;
}

/** Lines that are written together: a line at a time costs a tiny request a tenth of its time. A pipe takes so many bytes whole, or none. */
const BATCH_BYTES = 4096;
/** How long a line waits for others, and how long it is until a reader that takes nothing is tried again. */
const FLUSH_MS = 100;
/** What may wait for the reader. */
const WAITING_BYTES = 1024 * 1024;
/** At the end: how long a reader that takes nothing is waited for, one that is slow, and the time between attempts. */
const PATIENCE_MS = 200;
const LONGEST_MS = 1000;
const PAUSE_MS = 5;

/**
 * The log on stdout. Every write is tried, and taken at once or not: one that waits for its reader would hold up the
 * event loop, and one in another thread the end of the process.
 */
export function openLog({ onBack }: LogOptions): Log {
  const fd = process.stdout.fd; // a pipe does not block once this property was read
  /** Whole lines, of which the first one may be written in part. */
  const batches: Buffer[] = [];
  let batch = '';
  let batchBytes = 0;
  let waiting = 0; // bytes
  let dropped = 0;
  let told = 0;
  let isStalled = false;
  let isTimed = false;

  function endBatch(): void {
    if (batch !== '') batches.push(Buffer.from(batch));
    batch = '';
    batchBytes = 0;
  }

  /** Writes until all is written, or no more is taken. */
  function writeAll(): void {
    while (batches.length > 0) {
      const written = tryWrite(fd, batches[0]);
      waiting -= written;
      isStalled = written < batches[0].length;
      if (isStalled) batches[0] = batches[0].subarray(written);
      else batches.shift();
      if (written === 0) return;
    }
    const missing = dropped - told;
    told = dropped;
    if (missing > 0) onBack(missing);
  }

  function flush(): void {
    isTimed = false;
    endBatch();
    writeAll();
    if (waiting > 0) flushLater();
  }

  function flushLater(): void {
    if (!isTimed) setTimeout(flush, FLUSH_MS).unref();
    isTimed = true;
  }

  return {
    write(line) {
      const bytes = Buffer.byteLength(line);
      if (waiting + bytes > WAITING_BYTES) {
        dropped++;
        return;
      }
      waiting += bytes;
      if (batchBytes + bytes > BATCH_BYTES) {
        endBatch();
        if (!isStalled) writeAll();
      }
      batch += line;
      batchBytes += bytes;
      flushLater();
    },
    close() {
      endBatch();
      const start = performance.now();
      let since = start;
      for (let before = waiting; ; before = waiting) {
        writeAll();
        endBatch(); // the line that says what was dropped
        if (waiting === 0) return;
        const now = performance.now();
        if (waiting < before) since = now;
        if (now - since > PATIENCE_MS || now - start > LONGEST_MS) return;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
      }
    },
    get dropped() {
      return dropped;
    },
  };
}

/** The bytes that were taken. Why it were none makes no difference: no reader, a slow one, or a disk that is full. */
function tryWrite(fd: number, bytes: Buffer): number {
  try {
    return writeSync(fd, bytes);
  } catch {
    return 0;
  }
}
