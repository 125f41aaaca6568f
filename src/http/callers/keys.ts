import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import type { Logger } from 'pino';
import { type Config, ConfigError } from '../../settings/config.js';

export type KeysConfig = Pick<Config, 'API_KEYS' | 'API_KEYS_FILE'>;

/** The API keys that the service takes. Of a key it knows the hash alone. */
export interface Keys {
  /** Whose key this is; undefined: nobody's. Takes as long for a wrong key as for a right one. */
  callerOf(key: string): string | undefined;
  /** Stops looking at the file. */
  close(): void;
}

interface Entry {
  readonly caller: string;
  readonly hash: Buffer;
}

/**
 * How often the file is looked at, in milliseconds. Looking at its content, rather than being told of changes, works wherever the
 * file lies: Kubernetes, for one, swaps a symbolic link some way up its path.
 */
const LOOK_MS = 500;

/** Names in one line of the log, which many thousands would fill. */
const CALLERS_LOGGED = 100;

/**
 * The keys of API_KEYS and API_KEYS_FILE together; undefined if neither is set. The file is looked at again and
 * again; when it cannot be read or understood, the keys of before stay, and the log says why.
 *
 * @param lookMs milliseconds from one look at the file to the next
 * @throws ConfigError if they cannot be used at the start
 */
export async function openKeys(
  { API_KEYS, API_KEYS_FILE }: KeysConfig,
  logger: Logger,
  lookMs = LOOK_MS,
): Promise<Keys | undefined> {
  const fixed = API_KEYS.split(',').map((text, i) => ({ text, place: `API_KEYS: entry ${i + 1}` }));
  if (API_KEYS_FILE === '') {
    if (API_KEYS === '') return undefined;
    const entries = parse(fixed, 'API_KEYS');
    return { callerOf: (key) => callerOf(entries, key), close: () => {} };
  }

  const parseFile = (content: string) => {
    const lines = content.split('\n').map((line, i) => ({
      text: line.replace(/#.*/, ''),
      place: `API_KEYS_FILE: line ${i + 1}`,
    }));
    const ofFile = parse(lines, 'API_KEYS_FILE'); // a file that has become empty is a mistake, whatever API_KEYS holds
    return API_KEYS === '' ? ofFile : parse([...fixed, ...lines], 'API_KEYS_FILE');
  };
  const content = await contentOf(API_KEYS_FILE).catch((error: Error) => {
    throw new ConfigError(`API_KEYS_FILE is ${JSON.stringify(API_KEYS_FILE)}, but ${error.message}`);
  });
  let entries = parseFile(content);
  const close = watch(API_KEYS_FILE, content, lookMs, {
    changed(found) {
      entries = parseFile(found);
      const callers = callersOf(entries);
      logger.info(
        { keys: entries.length, callers: callers.slice(0, CALLERS_LOGGED) },
        'API_KEYS_FILE has changed, and counts',
      );
    },
    failed: (reason) => logger.error({ reason }, 'API_KEYS_FILE cannot be used, the keys of before stay'),
  });
  return { callerOf: (key) => callerOf(entries, key), close };
}

/** Of a pipe there is no end, and whoever reads it waits for good. */
async function contentOf(file: string): Promise<string> {
  const is = await stat(file);
  if (!is.isFile() && !is.isDirectory()) throw new Error('it is no regular file');
  return readFile(file, 'utf8');
}

interface Watcher {
  /** The file has another content. May throw if it cannot be used; a content is told once. */
  changed(content: string): void;
  /** The file cannot be read or used. Told once for the same reason. */
  failed(reason: string): void;
}

/** Looks at a file until the function that is returned is called. */
function watch(file: string, content: string, lookMs: number, { changed, failed }: Watcher): () => void {
  let told = content;
  let seen = content;
  let failure = '';
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  async function look(): Promise<void> {
    try {
      const found = await contentOf(file);
      const settled = found === seen; // a file that is being written differs from look to look
      seen = found;
      failure = '';
      if (!settled || found === told || closed) return;
      told = found;
      changed(found);
    } catch (error) {
      const { message } = error as Error;
      if (message !== failure) failed(message);
      failure = message;
    }
  }

  function lookLater(): void {
    if (closed) return;
    timer = setTimeout(() => void look().finally(lookLater), lookMs).unref();
  }

  lookLater();
  return () => {
    closed = true;
    clearTimeout(timer);
  };
}

/** A name can stand in a log line, a metric's label and a Redis key as it is. */
const ENTRY = /^([A-Za-z0-9][\w.-]{0,63}):([0-9a-fA-F]{64})$/;

/** What comes out where a hash was made of a key that was not there. */
const HASH_OF_NOTHING = createHash('sha256').digest('hex');

/**
 * Reads entries `name:hash`; empty ones are passed over. A caller may have several keys, so that they can be changed
 * one after the other. What is wrong is told by its place alone: it could be a key.
 */
function parse(entries: readonly { text: string; place: string }[], source: string): Entry[] {
  const callers = new Map<string, string>();
  for (const { text, place } of entries) {
    if (text.trim() === '') continue;
    const [, caller, digits] = ENTRY.exec(text.trim()) ?? [];
    if (caller === undefined) {
      throw new ConfigError(`${place} must be name:hash, where the hash is 64 hexadecimal digits`);
    }
    const hash = digits.toLowerCase();
    if (hash === HASH_OF_NOTHING) throw new ConfigError(`${place} has the hash of an empty text, which is no key`);
    const other = callers.get(hash) ?? caller;
    if (other !== caller) throw new ConfigError(`${place} gives ${caller} the key that ${other} has`);
    callers.set(hash, caller);
  }
  if (callers.size === 0) throw new ConfigError(`${source} has no key in it`);
  return [...callers].map(([hash, caller]) => ({ caller, hash: Buffer.from(hash, 'hex') }));
}

/** Compares with every entry, wherever the right one stands. */
function callerOf(entries: readonly Entry[], key: string): string | undefined {
  const hash = createHash('sha256').update(key, 'latin1').digest(); // Node reads a header's bytes as Latin-1
  let caller: string | undefined;
  for (const entry of entries) {
    if (timingSafeEqual(entry.hash, hash)) caller = entry.caller;
  }
  return caller;
}

function callersOf(entries: readonly Entry[]): string[] {
  return [...new Set(entries.map(({ caller }) => caller))];
}
