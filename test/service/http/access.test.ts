import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { entry, hashOf, PATH, post, raw } from '../../http/asking.js';
import { type Service, startService } from '../process.js';

const MAIN = fileURLToPath(new URL('../../../dist/main.js', import.meta.url));

it('keys in a file are written in one line if they cannot be used, and the process does not start', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'unroll-access-'));
  writeFileSync(join(folder, 'bad'), 'the-key-itself');
  const refused = startService({ API_KEYS_FILE: join(folder, 'bad') });
  await expect(refused).rejects.toThrow(
    /: unroll cannot start: API_KEYS_FILE: line 1 must be name:hash, where the hash is 64 hexadecimal digits$/,
  );
  rmSync(folder, { recursive: true });
});

describe('a caller without a key', () => {
  let service: Service;
  beforeAll(async () => {
    service = await startService({ WORKERS: '1', API_KEYS: entry('ann', 'ann-key') });
  });
  afterAll(() => service.stop());
  const rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${service.pid}/status`, 'utf8'))?.[1]) / 1024;

  it('holds no memory, however much it sends', async () => {
    const head = `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`;
    const chunk = Buffer.from(`100000\r\n${' '.repeat(0x100000)}\r\n`);
    let sent = 0;
    const answers: string[] = [];
    const before = rss();
    let most = 0;
    const flood = (i: number) =>
      new Promise<void>((resolve) => {
        const socket = connect(Number(new URL(service.url).port), '127.0.0.1', () => {
          socket.write(head);
          push();
        });
        let left = 64;
        const push = () => {
          while (left-- > 0) {
            sent++;
            if (!socket.write(chunk)) {
              socket.once('drain', push);
              return;
            }
          }
          socket.write('0\r\n\r\n');
        };
        socket.on('error', () => resolve());
        socket.on('data', (data) => {
          answers[i] = (answers[i] ?? '') + data;
          socket.end();
        });
        socket.on('close', () => resolve());
      });
    const timer = setInterval(() => {
      most = Math.max(most, rss());
    }, 20);
    await Promise.all(Array.from({ length: 8 }, (_, i) => flood(i)));
    clearInterval(timer);
    expect(sent).toBe(8 * 64); // half a gigabyte
    for (const answer of answers) expect(answer).toMatch(/^HTTP\/1.1 401 /);
    expect(answers).toHaveLength(8);
    console.info(`512 MiB without a key: resident memory ${before.toFixed(0)} MiB before, at most ${most.toFixed(0)}`);
    expect(most - before).toBeLessThan(150);
  });
});

it('the log has no key, wherever it was sent', async () => {
  const key = 'ann-key-5e7d';
  const secrets = ['ann-key-5e7d', 'wrong-key-81ff', 'in-query-c0de', 'in-cookie-ba5e', 'in-userinfo-f00d'];
  const child = spawn(process.execPath, [MAIN], {
    env: {
      ...process.env,
      PORT: '0',
      WORKERS: '1',
      LOG_LEVEL: 'trace',
      RATE_LIMIT: '7',
      CORS_ORIGINS: '*',
      API_KEYS: entry('ann', key),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const killWithParent = () => child.kill('SIGKILL');
  process.once('exit', killWithParent);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      text += chunk;
    });
  }
  await vi.waitFor(() => expect(text).toContain('listening at'), { timeout: 30_000, interval: 20 });
  const url = /http:[^"]+/.exec(text)?.[0] ?? '';

  const answers: string[] = [];
  const keep = async (answer: Response) => {
    answers.push(JSON.stringify([...answer.headers]) + (await answer.text()));
    return answer.status;
  };
  const cookie = { cookie: 'session=in-cookie-ba5e' };
  expect(await keep(await post(url, { 'x-api-key': key, ...cookie }))).toBe(200);
  expect(await keep(await post(url, { authorization: `Bearer ${key}` }, `${PATH}?api_key=in-query-c0de`))).toBe(200);
  expect(await keep(await post(url, { authorization: 'Bearer wrong-key-81ff' }))).toBe(401);
  expect(await keep(await post(url, { 'x-api-key': 'wrong-key-81ff' }, `${PATH}?key=in-query-c0de`))).toBe(401);
  expect(await keep(await fetch(`${url}/nowhere?key=in-query-c0de`, { headers: cookie }))).toBe(404);
  expect(await keep(await fetch(`${url}/%ZZ?key=in-query-c0de`, { headers: { 'x-api-key': key } }))).toBe(400);
  for (let i = 0; i < 6; i++) await keep(await post(url, { 'x-api-key': key }));
  const head = `host: a\r\nx-api-key: ${key}\r\nauthorization: Bearer ${key}\r\ncookie: in-cookie-ba5e\r\nconnection: close\r\n`;
  for (const start of [
    `GET http://ann:in-userinfo-f00d@host/nowhere?key=in-query-c0de HTTP/1.1\r\n${head}\r\n`,
    `GET / HTTP/1.1\r\n${head}broken header\r\n\r\n`,
    `GET / HTTP/1.1\r\n${head}long: ${'y'.repeat(20_000)}\r\n\r\n`,
    `CONNECT a:80 HTTP/1.1\r\n${head}\r\n`,
    `POST ${PATH} HTTP/1.1\r\n${head}content-type: application/json\r\ncontent-length: 3\r\n\r\n{"x`,
  ]) {
    answers.push(await raw(url, start));
  }
  child.kill('SIGTERM');
  await new Promise((resolve) => child.once('close', resolve));
  process.off('exit', killWithParent);

  expect(text).toContain('"url":"/nowhere"');
  expect(text).toContain('"caller":"ann"');
  expect(text).toContain('"status":429');
  expect(text).toContain('"status":431');
  for (const secret of secrets) {
    expect(text).not.toContain(secret);
    expect(answers.join('\n')).not.toContain(secret);
  }
  expect(text).not.toContain(hashOf(key));
  // Nor does any answer tell where the service lies or how it is made.
  expect(answers.join('\n')).not.toMatch(/node_modules|\/src\/|\/dist\/|\.js:\d+| {4}at /);
});
