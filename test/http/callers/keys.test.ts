import crypto from 'node:crypto';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Keys, openKeys } from '../../../src/http/callers/keys.js';
import { ConfigError } from '../../../src/settings/config.js';
import { entry, hashOf } from '../asking.js';

const folder = mkdtempSync(join(tmpdir(), 'unroll-keys-'));
const opened: Keys[] = [];
let log: { msg: string; level: number }[] = [];
afterEach(() => {
  for (const keys of opened.splice(0)) keys.close();
  rmSync(folder, { recursive: true });
  mkdirSync(folder);
  log = [];
});

const logger = pino({}, { write: (line: string) => log.push(JSON.parse(line)) });
/** The service looks at the file twice a second; the tests do not wait for that. */
const LOOK_MS = 20;
async function open(config: { API_KEYS?: string; API_KEYS_FILE?: string }, lookMs = LOOK_MS): Promise<Keys> {
  const keys = await openKeys({ API_KEYS: '', API_KEYS_FILE: '', ...config }, logger, lookMs);
  if (!keys) throw new Error('there are no keys');
  opened.push(keys);
  return keys;
}

function fileOf(content: string, name = 'keys'): string {
  const file = join(folder, name);
  writeFileSync(file, content);
  return file;
}

describe('keys', () => {
  it('are not asked for when none are configured', async () => {
    expect(await openKeys({ API_KEYS: '', API_KEYS_FILE: '' }, logger)).toBeUndefined();
  });

  it('belong to callers; one caller may have several', async () => {
    const keys = await open({ API_KEYS: `${entry('ann', 'one')}, ${entry('bob', 'two')},${entry('ann', 'three')}` });
    expect(['one', 'two', 'three', 'four', ''].map(keys.callerOf)).toEqual(['ann', 'bob', 'ann', undefined, undefined]);
  });

  it('come from the variable and the file together; the file has comments, and any line ends', async () => {
    const lines = ['\uFEFF# who may', '', `${entry('bob', 'two')} # until May`, entry('cy', 'three').toUpperCase()];
    const keys = await open({ API_KEYS: entry('ann', 'one'), API_KEYS_FILE: fileOf(lines.join('\r\n')) });
    expect(['one', 'two', 'three'].map(keys.callerOf)).toEqual(['ann', 'bob', 'CY']);
  });

  it('are the bytes of the header, in UTF-8 or not', async () => {
    const keys = await open({ API_KEYS: entry('ann', 'schlüssel') });
    expect(keys.callerOf(Buffer.from('schlüssel').toString('latin1'))).toBe('ann');
  });

  it.each([
    ['first', 'key-0'],
    ['last', 'key-4'],
    ['nobody’s', 'key-9'],
  ])('%s: a key is compared with all of them, in constant time', async (_, key) => {
    const keys = await open({ API_KEYS: [0, 1, 2, 3, 4].map((i) => entry(`caller-${i}`, `key-${i}`)).join() });
    const compare = vi.spyOn(crypto, 'timingSafeEqual');
    syncBuiltinESMExports(); // the imports by name see it, too
    try {
      keys.callerOf(key);
      expect(compare).toHaveBeenCalledTimes(5);
    } finally {
      compare.mockRestore();
      syncBuiltinESMExports();
    }
  });
});

describe('keys that cannot be used at the start', () => {
  const secret = 'a-key-that-somebody-put-there-by-mistake';

  it.each([
    ['no hash', `ann:${secret}`, 'API_KEYS: entry 1 must be name:hash, where the hash is 64 hexadecimal digits'],
    ['no name', hashOf(secret), 'API_KEYS: entry 1 must be name:hash'],
    ['a short hash', `${entry('ann', 'one')},bob:${hashOf(secret).slice(1)}`, 'API_KEYS: entry 2 must be name:hash'],
    ['a name that cannot be a label', entry('an n', secret), 'API_KEYS: entry 1 must be name:hash'],
    ['two callers with one key', `${entry('ann', secret)},${entry('bob', secret)}`, 'gives bob the key that ann has'],
    ['nothing but commas', ' , ', 'API_KEYS has no key in it'],
    ['no key behind the hash', entry('ann', ''), 'API_KEYS: entry 1 has the hash of an empty text, which is no key'],
    [
      'nor in capitals',
      `${entry('bob', 'one')},ann:${hashOf('').toUpperCase()}`,
      'API_KEYS: entry 2 has the hash of an',
    ],
  ])('%s', async (_, API_KEYS, message) => {
    const refused = openKeys({ API_KEYS, API_KEYS_FILE: '' }, logger);
    await expect(refused).rejects.toThrow(ConfigError);
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.not.toThrow(secret);
    await expect(refused).rejects.not.toThrow(hashOf(secret).slice(1));
    await expect(refused).rejects.not.toThrow('\n');
  });

  it.each([
    ['is empty', '# nobody yet\n', 'API_KEYS_FILE has no key in it'],
    ['is malformed', `\n\n${secret}\n`, 'API_KEYS_FILE: line 3 must be name:hash'],
    ['has the hash of no key', `\n${entry('bob', '')}\n`, 'API_KEYS_FILE: line 2 has the hash of an empty text'],
  ])('a file that %s, whatever the variable has', async (_, content, message) => {
    const refused = openKeys({ API_KEYS: entry('ann', 'one'), API_KEYS_FILE: fileOf(content) }, logger);
    await expect(refused).rejects.toThrow(ConfigError);
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.not.toThrow(secret);
  });

  it('a file that is not there', async () => {
    const refused = openKeys({ API_KEYS: '', API_KEYS_FILE: join(folder, 'none') }, logger);
    await expect(refused).rejects.toThrow(ConfigError);
    await expect(refused).rejects.toThrow(/^API_KEYS_FILE is ".*none", but ENOENT/);
  });

  it('a device or a pipe, which may have no end', async () => {
    const refused = openKeys({ API_KEYS: '', API_KEYS_FILE: '/dev/null' }, logger);
    await expect(refused).rejects.toThrow(/^API_KEYS_FILE is ".*null", but it is no regular file$/);
  });
});

describe('a file that changes', () => {
  const LIMIT = { timeout: 20_000, interval: 5 };
  const errors = () => log.filter(({ level }) => level === 50);

  it('counts without a restart', async () => {
    const file = fileOf(entry('ann', 'one'));
    const keys = await open({ API_KEYS_FILE: file });
    writeFileSync(file, entry('ann', 'two'));
    await vi.waitFor(() => expect(keys.callerOf('two')).toBe('ann'), LIMIT);
    expect(keys.callerOf('one')).toBeUndefined();
    expect(log).toMatchObject([{ msg: 'API_KEYS_FILE has changed, and counts', callers: ['ann'] }]);
  });

  it('counts where a link up the path is swapped, as Kubernetes does', async () => {
    // keys → ..data/keys, ..data → a folder named after the time: so a mounted secret looks.
    for (const [version, key] of [
      ['1', 'one'],
      ['2', 'two'],
    ]) {
      mkdirSync(join(folder, `..${version}`));
      writeFileSync(join(folder, `..${version}`, 'keys'), entry('ann', key));
    }
    symlinkSync('..1', join(folder, '..data'));
    symlinkSync('..data/keys', join(folder, 'keys'));
    const keys = await open({ API_KEYS_FILE: join(folder, 'keys') });
    expect(keys.callerOf('one')).toBe('ann');
    symlinkSync('..2', join(folder, '..data_tmp'));
    renameSync(join(folder, '..data_tmp'), join(folder, '..data'));
    rmSync(join(folder, '..1'), { recursive: true });
    await vi.waitFor(() => expect(keys.callerOf('two')).toBe('ann'), LIMIT);
    expect(errors()).toEqual([]);
  });

  it.each([
    ['malformed', (file: string) => writeFileSync(file, 'a-key-by-mistake'), 'line 1 must be name:hash'],
    ['empty', (file: string) => writeFileSync(file, ''), 'API_KEYS_FILE has no key in it'],
    ['gone', (file: string) => rmSync(file), 'ENOENT'],
  ])('to %s leaves the keys of before, and is told once', async (_, spoil, reason) => {
    const file = fileOf(entry('ann', 'one'));
    const keys = await open({ API_KEYS_FILE: file });
    spoil(file);
    await vi.waitFor(() => expect(errors()).toHaveLength(1), LIMIT);
    await sleep(10 * LOOK_MS);
    expect(errors()).toMatchObject([{ reason: expect.stringContaining(reason) }]);
    expect(JSON.stringify(log)).not.toContain('a-key-by-mistake');
    expect(keys.callerOf('one')).toBe('ann');

    writeFileSync(file, entry('ann', 'two'));
    await vi.waitFor(() => expect(keys.callerOf('two')).toBe('ann'), LIMIT);
    expect(errors()).toHaveLength(1);
  });

  it.each([
    ['folder', (file: string) => mkdirSync(file), 'EISDIR'],
    ['device', (file: string) => symlinkSync('/dev/null', file), 'it is no regular file'],
  ])('may become a %s and a file again', async (_, make, reason) => {
    const file = fileOf(entry('ann', 'one'));
    const keys = await open({ API_KEYS_FILE: file });
    rmSync(file);
    make(file);
    await vi.waitFor(() => expect(errors()).toMatchObject([{ reason: expect.stringContaining(reason) }]), LIMIT);
    expect(keys.callerOf('one')).toBe('ann');
    rmSync(file, { recursive: true });
    renameSync(fileOf(entry('ann', 'two'), 'next'), file);
    await vi.waitFor(() => expect(keys.callerOf('two')).toBe('ann'), LIMIT);
  });

  it('may have thousands of keys, of which the log names a few', async () => {
    const file = fileOf(entry('ann', 'one'));
    const keys = await open({ API_KEYS_FILE: file });
    writeFileSync(file, Array.from({ length: 10_000 }, (_, i) => entry(`caller-${i}`, `key-${i}`)).join('\n'));
    await vi.waitFor(() => expect(keys.callerOf('key-9999')).toBe('caller-9999'), LIMIT);
    expect(log).toMatchObject([{ keys: 10_000, callers: expect.arrayContaining(['caller-0', 'caller-99']) }]);
    expect(JSON.stringify(log).length).toBeLessThan(5000);
  });

  it('while it is being written does not count by halves', async () => {
    const file = fileOf(entry('ann', 'one'));
    const keys = await open({ API_KEYS_FILE: file }, 5 * LOOK_MS);
    // Each of these is a file that could be used; none stays for two looks.
    for (let i = 0; i < 20; i++) {
      writeFileSync(file, `${entry(`passing-${i}`, 'half')}\n`);
      await sleep(LOOK_MS);
      expect(keys.callerOf('one')).toBe('ann');
      expect(keys.callerOf('half')).toBeUndefined();
    }
    writeFileSync(file, `${entry('ann', 'one')}\n${entry('bob', 'two')}`);
    await vi.waitFor(() => expect(keys.callerOf('two')).toBe('bob'), LIMIT);
  });

  it('is looked at no more when the service has closed', async () => {
    const file = fileOf(entry('ann', 'one'));
    const keys = await open({ API_KEYS_FILE: file });
    keys.close();
    writeFileSync(file, entry('ann', 'two'));
    await sleep(10 * LOOK_MS);
    expect(keys.callerOf('one')).toBe('ann');
    expect(log).toEqual([]);
  });
});
