import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { numbersFrom, operationCalled, tensorsFor } from '../../values.js';
import { freePort } from '../balancer.js';
import { type Service, startService } from '../process.js';
import { hasRedis } from '../redis.js';
import { read } from './files.js';

const { redis } = parse(read('docker/compose.yaml').replaceAll('$$', '$')).services;
const [{ spec }] = parseAllDocuments(read('docker/kubernetes/redis.yaml')).map((document) => document.toJS());
const [pod] = spec.template.spec.containers;
const starts = [
  {
    where: 'the compose file',
    program: redis.entrypoint,
    parameters: redis.command,
    probe: redis.healthcheck.test.slice(1),
  },
  { where: 'the manifests', program: pod.command, parameters: pod.args, probe: pod.readinessProbe.exec.command },
];

it('the user may do what docker/README.md says, and answer the health check', () => {
  const [, rights] = /ACL SETUSER unroll on >password (.*)/.exec(read('docker/README.md')) ?? [];
  for (const { program } of starts) expect(program[2]).toContain(`>\${REDISCLI_AUTH:?} ${rights} +ping\n`);
});

describe.runIf(hasRedis).each(starts)('Redis as $where starts it', ({ program, parameters, probe }) => {
  const folder = mkdtempSync(join(tmpdir(), 'unroll-redis-'));
  let port: number;
  let child: ChildProcess;
  let service: Service;
  const environment = (password?: string) => {
    const { REDISCLI_AUTH: _, ...others } = process.env;
    return {
      ...others,
      PATH: `${folder}:${process.env.PATH}`,
      ...(password !== undefined && { REDISCLI_AUTH: password }),
    };
  };
  const run = ([name, ...rest]: readonly string[], password?: string) => {
    const { stdout, status } = spawnSync(name, rest, { env: environment(password), encoding: 'utf8' });
    return { said: stdout.trim(), status };
  };

  beforeAll(async () => {
    port = await freePort();
    // Debian's Redis in place of Valkey, on a port of this machine.
    writeFileSync(join(folder, 'valkey-server'), `#!/bin/sh\nexec redis-server "$@" --port ${port} --bind 127.0.0.1\n`);
    writeFileSync(join(folder, 'valkey-cli'), `#!/bin/sh\nexec redis-cli -p ${port} "$@"\n`);
    for (const name of ['valkey-server', 'valkey-cli']) chmodSync(join(folder, name), 0o755);
    const [shell, ...rest] = [...program, ...parameters];
    child = spawn(shell, rest, { cwd: folder, env: environment('secret'), stdio: 'ignore' });
    for (let tries = 0; run(probe, 'secret').said !== 'PONG'; tries++) {
      if (tries === 100) throw new Error('Redis does not start');
      await sleep(100);
    }
    service = await startService({
      WORKERS: '1',
      CACHE_URL: `redis://unroll:secret@127.0.0.1:${port}`,
      RATE_LIMIT: '1000',
    });
  });
  afterAll(async () => {
    await service?.stop();
    const closed = once(child, 'close');
    child.kill('SIGTERM');
    await closed; // it is the server that gets the signal, not a shell
    rmSync(folder, { recursive: true, force: true });
  });

  it('asks for the password, and its health check has it', () => {
    expect(run(['valkey-cli', 'ping']).said).toContain('NOAUTH');
    expect(run(['valkey-cli', 'get', 'a']).said).toContain('NOAUTH');
    expect(run(probe, 'secret')).toEqual({ said: 'PONG', status: 0 });
    expect(run(probe, 'wrong').status).not.toBe(0);
    expect(run(['valkey-cli', '--user', 'unroll', 'flushall'], 'secret').said).toContain('NOPERM');
    expect(run(['valkey-cli', '--user', 'unroll', 'lindex', 'elsewhere', '0'], 'secret').said).toContain('NOPERM');
  });

  it('does not start without one', () => {
    const [shell, ...rest] = [...program, ...parameters];
    expect(spawnSync(shell, rest, { cwd: folder, env: environment(''), timeout: 5000 }).status).toBeGreaterThan(0);
  });

  it('keeps the caches of the service', async () => {
    const dims = { n_x: 2, n_a: 3, n_y: 2, m: 1, T_x: 4, T_da: 4 };
    const choice = { prediction: true, way: 0, extras: false };
    const body = JSON.stringify({
      ...tensorsFor(operationCalled('lstmForward').request, dims, numbersFrom(1), choice),
      caches: 'stored',
    });
    const ask = async (path: string, text: string) => {
      const headers = { 'content-type': 'application/json' };
      const answer = await fetch(service.url + path, { method: 'POST', headers, body: text });
      return { status: answer.status, json: (await answer.json()) as { cache_id: string; a: unknown } };
    };
    const { status, json } = await ask('/v1/lstm/forward', body);
    expect(status).toBe(200);
    const backward = await ask('/v1/lstm/backward', JSON.stringify({ da: json.a, cache_id: json.cache_id }));
    expect(backward.status).toBe(200);
  });
});
