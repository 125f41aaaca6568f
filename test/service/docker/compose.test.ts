import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { configSchema, finishesAll, loadConfig } from '../../../src/settings/config.js';
import { bytes, imageEnvironment, mostMemory, pathOf, read } from './files.js';

const FILE = 'docker/compose.yaml';

interface Service {
  readonly image: string;
  readonly ports?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly volumes?: readonly string[];
  readonly command?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly stop_grace_period?: string;
  readonly deploy: { readonly resources: { readonly limits: { readonly memory: string; readonly cpus: string } } };
}

/** As compose fills the file in, with this password. */
const filledIn = read(FILE)
  .replace(/\$\{REDIS_PASSWORD:\?[^}]*\}/g, 'secret')
  .replace(/\$\{\w+:-([^}]*)\}/g, '$1')
  .replaceAll('$$', '$');
const services: Record<string, Service> = parse(filledIn, { merge: true }).services;
const entries = Object.entries(services);
const instances = entries.filter(([, { image }]) => image.startsWith('unroll:'));
const { PORT } = imageEnvironment();

const folder = mkdtempSync(join(tmpdir(), 'unroll-compose-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What dclint finds, with the schema of the Compose Specification; of its own rules only what it calls errors. */
function lint(text: string): string {
  const file = join(folder, 'compose.yaml');
  writeFileSync(file, text);
  const { status, stdout, stderr } = spawnSync(pathOf('node_modules/.bin/dclint'), ['--quiet', file], {
    cwd: folder,
    encoding: 'utf8',
  });
  return status === 0 ? '' : stdout + stderr;
}

describe('the compose file', () => {
  it('follows the Compose Specification', () => expect(lint(read(FILE))).toBe(''));

  it.each([
    ['stop_grace_period: 73s', 'stop_grace_perod: 73s'],
    ['cap_drop: [ALL]', 'cap_drop: ALL'],
    ['condition: service_healthy', 'condition: service_is_healthy'],
    ['cpus: "2"', 'cpu: "2"'],
  ])('%s, written as %s, would be found', (right, wrong) => {
    expect(read(FILE)).toContain(right);
    expect(lint(read(FILE).replace(right, wrong))).not.toBe('');
  });

  it.each(entries)('%s is confined, bounded, pinned, and open to this machine only', (_, service) => {
    expect(service).toMatchObject({
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      restart: 'unless-stopped',
      logging: { options: { 'max-size': expect.any(String), 'max-file': expect.any(String) } },
      deploy: {
        resources: { limits: { cpus: expect.any(String), memory: expect.any(String), pids: expect.any(Number) } },
      },
    });
    expect(service.image).toMatch(/:(v?\d+\.\d+\.\d+(-\w+)?(@sha256:[0-9a-f]{64})?|local)$/);
    for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
  });

  it('mounts what is there', () => {
    for (const [, { volumes = [] }] of entries) {
      for (const [source] of volumes.map((volume) => volume.split(':'))) {
        if (source.startsWith('.')) expect(existsSync(pathOf(`docker/${source}`)), source).toBe(true);
      }
    }
  });

  it('starts without no password of Redis, and the instances believe the balancer alone', () => {
    expect(read(FILE).match(/\$\{REDIS_PASSWORD:\?/g)).toHaveLength(2);
    const { networks } = services.balancer as unknown as { networks: { default: { ipv4_address: string } } };
    for (const [, { environment }] of instances) {
      expect(environment?.TRUST_PROXY).toBe(networks.default.ipv4_address);
      expect(environment?.CACHE_URL).toBe('redis://unroll:secret@redis:6379');
    }
  });

  it('gives Prometheus the instances, and Grafana the dashboards where it looks for them', () => {
    const [{ static_configs }] = parse(read('docker/prometheus/prometheus.yml')).scrape_configs;
    expect(static_configs[0].targets).toEqual(instances.map(([name]) => `${name}:${PORT}`));
    const [{ options }] = parse(read('docker/grafana/provisioning/dashboards/unroll.yaml')).providers;
    expect(services.grafana.volumes).toContain(`./grafana/dashboards:${options.path}:ro`);
  });

  it('has two instances, of which only the balancer can be reached', () => {
    expect(instances.map(([name]) => name)).toEqual(['unroll-1', 'unroll-2']);
    const { environment, depends_on, ports, healthcheck } = services.balancer;
    expect(environment).toEqual({
      LISTEN: '*:3000',
      UNROLL_1: `unroll-1:${PORT}`,
      UNROLL_2: `unroll-2:${PORT}`,
      BODY_LIMIT: instances[0][1].environment?.BODY_LIMIT,
    });
    expect(depends_on).toEqual(Object.fromEntries(instances.map(([name]) => [name, { condition: 'service_healthy' }])));
    expect(ports).toEqual(['127.0.0.1:3000:3000']);
    expect(healthcheck?.test.at(-1)).toBe('http://127.0.0.1:3000/health/ready');
    for (const [, { ports: published }] of instances) expect(published).toBeUndefined();
  });

  it.each(instances)('%s has settings of the service, and room and time for what they allow', (_, service) => {
    const { environment = {}, stop_grace_period, deploy } = service;
    for (const name of Object.keys(environment)) expect(Object.keys(configSchema.properties)).toContain(name);
    const config = loadConfig(environment);
    const { BODY_LIMIT, WORK_LIMIT, CACHE_LIMIT, DRAIN_LIMIT } = config;
    expect(finishesAll(config)).toBe(true);
    expect(services.balancer.stop_grace_period).toBe(stop_grace_period);
    expect(stop_grace_period).toBe(`${DRAIN_LIMIT / 1000 + 5}s`);
    const { memory, cpus } = deploy.resources.limits;
    expect(2 * BODY_LIMIT + WORK_LIMIT).toBeLessThanOrEqual(bytes(memory) / 2);
    expect(mostMemory(bytes(memory), Number(cpus), CACHE_LIMIT)).toBeLessThanOrEqual(bytes(memory));
    const said = Number(/stays under ([\d.]+) GiB/.exec(read(FILE))?.[1]);
    expect(said).toBeCloseTo(mostMemory(bytes(memory), Number(cpus), CACHE_LIMIT) / 2 ** 30, 1);
  });

  it('has a Redis with room for what it keeps, the same one as the cluster', () => {
    const { command = [], deploy, image } = services.redis;
    const most = command[command.indexOf('--maxmemory') + 1];
    expect(bytes(most)).toBeLessThanOrEqual(0.75 * bytes(deploy.resources.limits.memory));
    expect(read('docker/kubernetes/redis.yaml')).toContain(`image: ${image}\n`);
    // The policy that docker/README.md names: nothing without an end of its time is thrown out.
    const policy = command[command.indexOf('--maxmemory-policy') + 1];
    expect(read('docker/README.md')).toContain(`\`${policy}\``);
    expect(read('docker/kubernetes/redis.yaml')).toMatch(new RegExp(`- --maxmemory-policy\n *- ${policy}\n`));
  });
});

it('HAProxy gives an instance up within DRAIN_GRACE, and finds a new one sooner than it gives the other up', () => {
  const check = /^ *default-server (.*)$/m.exec(read('docker/haproxy.cfg'))?.[1] ?? '';
  const value = (name: string) => {
    const [, number, unit] = new RegExp(`\\b${name} (\\d+)(ms|s)?`).exec(check) ?? [];
    return Number(number) * (unit === 's' ? 1000 : 1);
  };
  const givenUpAfter = (value('fall') - 1) * value('fastinter');
  expect(value('inter') + givenUpAfter).toBeLessThan(loadConfig({}).DRAIN_GRACE / 1.5);
  expect(value('rise') * value('downinter')).toBeLessThan(givenUpAfter);
});
