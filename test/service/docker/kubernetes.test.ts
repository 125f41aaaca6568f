import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { configSchema, finishesAll, loadConfig } from '../../../src/settings/config.js';
import { bytes, imageEnvironment, mostMemory, pathOf, read } from './files.js';
import { canRun, promtool } from './prometheus.js';

const FOLDER = 'docker/kubernetes';
const load = createRequire(import.meta.url);

// biome-ignore lint/suspicious/noExplicitAny: the compiler checks the manifests below, as what they are
type Manifest = any;

/** The manifests of a folder, which has a kustomization. */
const filesIn = (folder: string) =>
  readdirSync(pathOf(folder)).filter((file) => file.endsWith('.yaml') && file !== 'kustomization.yaml');
const manifestsIn = (folder: string): Manifest[] =>
  filesIn(folder).flatMap((file) => parseAllDocuments(read(`${folder}/${file}`)).map((document) => document.toJS()));

const MONITORING = `${FOLDER}/monitoring`;
const files = filesIn(FOLDER);
const manifests = [...manifestsIn(FOLDER), ...manifestsIn(MONITORING)];
const find = (kind: string, name = 'unroll'): Manifest =>
  manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);

const folder = mkdtempSync(join(tmpdir(), 'unroll-kubernetes-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
symlinkSync(pathOf('node_modules'), join(folder, 'node_modules'));

/** Kubernetes' own kinds are in one package, those of Prometheus Operator in another. */
const modelsOf = ({ apiVersion }: Manifest) =>
  `${apiVersion.startsWith('monitoring.') ? '@kubernetes-models/prometheus-operator' : 'kubernetes-models'}/${apiVersion}`;

/**
 * What is wrong with manifests. Two checks with the models that are made from the schemas of their kinds: the compiler finds
 * what has no place there (the validation lets it pass), the validation finds malformed texts, such as a quantity.
 */
function faults(given: readonly Manifest[]): string {
  const lines = given.map((manifest, i) => {
    const type = `import('${modelsOf(manifest)}').I${manifest.kind}`;
    return `export const manifest${i}: ${type} = ${JSON.stringify(manifest, null, 1)};`;
  });
  writeFileSync(join(folder, 'manifests.ts'), lines.join('\n'));
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--types', ''];
  const { stdout } = spawnSync(pathOf('node_modules/.bin/tsc'), [...options, 'manifests.ts'], {
    cwd: folder,
    encoding: 'utf8',
  });
  const found = [stdout];
  for (const manifest of given) {
    const models = load(modelsOf(manifest));
    try {
      new models[manifest.kind](manifest).validate();
    } catch (error) {
      found.push((error as Error).message);
    }
  }
  return found.join('');
}

/** A copy of the deployment with something changed in its container. */
function changed(change: (container: Manifest, spec: Manifest) => void): Manifest {
  const copy = structuredClone(find('Deployment'));
  change(copy.spec.template.spec.containers[0], copy.spec.template.spec);
  return copy;
}

/** The same of the monitor's endpoint, and of the first alert. */
function changedMonitor(more: object): Manifest {
  const copy = structuredClone(find('PodMonitor'));
  Object.assign(copy.spec.podMetricsEndpoints[0], more);
  return copy;
}
function changedRule(more: object): Manifest {
  const copy = structuredClone(find('PrometheusRule'));
  Object.assign(copy.spec.groups[0].rules[0], more);
  return copy;
}

describe('the manifests', () => {
  it('follow the schemas of Kubernetes and of Prometheus Operator', () => {
    expect(manifests.length).toBeGreaterThan(9);
    expect(faults(manifests)).toBe('');
  });

  it.each([
    [
      'a misspelt field',
      changed((container) => Object.assign(container, { imagePullPolice: 'Always' })),
      'imagePullPolice',
    ],
    [
      'a misspelt field deep inside',
      changed((container) => Object.assign(container.securityContext, { readOnlyRootFileSystem: true })),
      'readOnlyRootFileSystem',
    ],
    [
      'a wrong type',
      changed((container) => Object.assign(container.ports[0], { containerPort: '3000' })),
      'containerPort',
    ],
    ['a wrong value', changed((container) => Object.assign(container, { imagePullPolicy: 'Sometimes' })), 'Sometimes'],
    ['a missing field', changed((container) => delete container.name), 'name'],
    ['a misspelt field of a PodMonitor', changedMonitor({ relabelConfigs: [] }), 'relabelConfigs'],
    ['a wrong value of a PodMonitor', changedMonitor({ scheme: 'gopher' }), 'gopher'],
    ['a wrong type in a PrometheusRule', changedRule({ for: 60 }), 'for'],
    ['a missing field of a PrometheusRule', changedRule({ expr: undefined }), 'expr'],
    [
      'a quantity that is none',
      changed((container) => Object.assign(container.resources.limits, { memory: '4 GB' })),
      'limits/memory',
    ],
  ])('%s would be found', (_, manifest, said) => {
    expect(faults([manifest])).toContain(said);
  });

  it('are all in the kustomization but the example, which holds a secret', () => {
    const { resources, images, namespace } = parse(read(`${FOLDER}/kustomization.yaml`));
    expect([...resources, 'api-keys.example.yaml'].sort()).toEqual(files.sort());
    expect(parse(read(`${MONITORING}/kustomization.yaml`))).toMatchObject({
      resources: filesIn(MONITORING),
      namespace,
    });
    expect(images[0].newTag).toBe(JSON.parse(read('package.json')).version);
    for (const { kind, metadata } of manifests) if (kind !== 'Namespace') expect(metadata.namespace).toBe(namespace);
  });
});

const deployments = manifests.filter(({ kind }) => kind === 'Deployment');
const { template } = find('Deployment').spec;
const [container] = template.spec.containers;
const settings: Record<string, string> = find('ConfigMap').data;

describe('the settings', () => {
  it('are settings of the service, those that are commented out, too', () => {
    const named = [...read(`${FOLDER}/settings.yaml`).matchAll(/^ {2}(?:# )?([A-Z][A-Z_]+):/gm)].map(
      ([, name]) => name,
    );
    expect(named.length).toBeGreaterThan(4);
    for (const name of named) expect(Object.keys(configSchema.properties)).toContain(name);
    expect(finishesAll(loadConfig(settings))).toBe(true);
    expect(container.envFrom).toEqual([{ configMapRef: { name: 'unroll' } }]);
  });

  it('give a pod 5 s more than DRAIN_LIMIT before it is killed', () => {
    expect(template.spec.terminationGracePeriodSeconds).toBe(loadConfig(settings).DRAIN_LIMIT / 1000 + 5);
  });

  it('allow one of the largest requests in the half of the memory that is for requests', () => {
    const { BODY_LIMIT, WORK_LIMIT, CACHE_LIMIT } = loadConfig(settings);
    const memory = bytes(container.resources.limits.memory);
    expect(2 * BODY_LIMIT + WORK_LIMIT).toBeLessThanOrEqual(memory / 2);
    expect(mostMemory(memory, Number(container.resources.limits.cpu), CACHE_LIMIT)).toBeLessThanOrEqual(memory);
  });

  it('name the Redis that is there, which has room for what it keeps', () => {
    const service = find('Service', 'unroll-redis');
    const [redis] = find('Deployment', 'unroll-redis').spec.template.spec.containers;
    const address = `${service.metadata.name}:${service.spec.ports[0].port}`;
    const secret = { secretKeyRef: { name: 'unroll-redis', key: 'password' } };
    expect(container.env).toEqual([
      { name: 'REDIS_PASSWORD', valueFrom: secret },
      { name: 'CACHE_URL', value: `redis://unroll:$(REDIS_PASSWORD)@${address}` },
    ]);
    expect(redis.env).toEqual([{ name: 'REDISCLI_AUTH', valueFrom: secret }]);
    const { secretGenerator } = parse(read(`${FOLDER}/kustomization.yaml`));
    expect(secretGenerator).toEqual([{ name: 'unroll-redis', envs: ['redis.env'] }]);
    const most = redis.args[redis.args.indexOf('--maxmemory') + 1];
    expect(bytes(most)).toBeLessThanOrEqual(0.75 * bytes(redis.resources.limits.memory));
  });

  it('name the file of keys where it is mounted', () => {
    const { metadata, stringData } = find('Secret', 'unroll-api-keys');
    const [volume] = template.spec.volumes;
    expect(volume.secret.secretName).toBe(metadata.name);
    const [mount] = container.volumeMounts;
    expect(mount.name).toBe(volume.name);
    const [file] = Object.keys(stringData);
    expect(read(`${FOLDER}/settings.yaml`)).toContain(`# API_KEYS_FILE: ${mount.mountPath}/${file}\n`);
    expect(stringData[file]).toMatch(/^(#.*\n)*\w+:[0-9a-f]{64}\n$/);
  });
});

it('the ingress opens every path but /metrics, and takes what the service takes', () => {
  const { metadata, spec } = find('Ingress');
  const [{ http }] = spec.rules;
  const isOpen = (path: string) =>
    http.paths.some((one: Manifest) =>
      one.pathType === 'Exact' ? path === one.path : path === one.path || path.startsWith(`${one.path}/`),
    );
  for (const path of Object.keys(JSON.parse(read('openapi/openapi.json')).paths)) {
    expect({ path, isOpen: isOpen(path) }).toEqual({ path, isOpen: path !== '/metrics' });
  }
  for (const path of ['/docs/static/index.html', '/openapi.json']) expect(isOpen(path)).toBe(true);
  for (const path of ['/metrics/', '/metricsa']) expect(isOpen(path)).toBe(false);
  for (const { backend } of http.paths) {
    expect(backend.service).toEqual({ name: find('Service').metadata.name, port: { name: 'http' } });
  }
  const said = (name: string) => metadata.annotations[`nginx.ingress.kubernetes.io/${name}`];
  const { BODY_LIMIT, DEADLINE_LIMIT, REQUEST_TIMEOUT } = loadConfig(settings);
  expect(said('proxy-body-size')).toBe(`${BODY_LIMIT / 2 ** 20}m`);
  expect(Number(said('proxy-read-timeout'))).toBeGreaterThan(DEADLINE_LIMIT / 1000);
  expect(Number(said('proxy-send-timeout'))).toBeGreaterThan(REQUEST_TIMEOUT / 1000);
  expect(said('proxy-request-buffering')).toBe('off');
  expect(said('proxy-max-temp-file-size')).toBe('0');
  // What a pod that goes has refused is asked of another one, once, as nginx.conf.template does.
  const nextUpstream = /proxy_next_upstream ([^;]+);/.exec(read('docker/nginx.conf.template'))?.[1];
  expect(said('proxy-next-upstream')).toBe(nextUpstream);
  expect(said('proxy-next-upstream-tries')).toBe('2');
});

/** Pods as the discovery of Kubernetes describes them: one that runs, one that has ended, and another port of one that runs. */
const podsSeen = [
  ['unroll-1', 'http', 'Running'],
  ['unroll-2', 'http', 'Failed'],
  ['unroll-3', 'sidecar', 'Running'],
].map(([name, port, phase]) => ({
  targets: ['10.0.0.1:3000'],
  labels: {
    __meta_kubernetes_pod_name: name,
    __meta_kubernetes_pod_container_port_name: port,
    __meta_kubernetes_pod_phase: phase,
  },
}));

/** Job and instance of whatever would be asked for /metrics. */
function namesFound(file: string, job: string): { job: string; instance: string }[] {
  const found = JSON.parse(promtool('check', 'service-discovery', '--timeout=1s', file, job));
  return (found as { labels: Record<string, string> }[])
    .filter(({ labels }) => labels.__metrics_path__ === '/metrics')
    .map(({ labels: { job, instance } }) => ({ job, instance }));
}

describe('ports, paths and names', () => {
  it('are those of the image', () => {
    expect(container.ports).toEqual([{ name: 'http', containerPort: Number(imageEnvironment().PORT) }]);
    const { containerPort } = container.ports[0];
    expect(String(containerPort)).toBe(/^EXPOSE (\d+)$/m.exec(read('Dockerfile'))?.[1]);
    expect(`${template.spec.securityContext.runAsUser}:${template.spec.securityContext.runAsGroup}`).toBe(
      /^USER (.*)$/m.exec(read('Dockerfile'))?.[1],
    );
  });

  it('probe paths that exist, on the port that is open', () => {
    const { paths } = JSON.parse(read('openapi/openapi.json'));
    const probes = [container.startupProbe, container.readinessProbe, container.livenessProbe];
    for (const { httpGet } of probes) {
      expect(paths[httpGet.path].get).toBeDefined();
      expect(httpGet.port).toBe('http');
    }
    // An instance that stops must not be killed for it.
    expect(container.livenessProbe.httpGet.path).toBe('/health/live');
    expect(container.readinessProbe.httpGet.path).toBe('/health/ready');
  });

  it.each(deployments.map((deployment) => [deployment.metadata.name, deployment]))(
    '%s: what selects its pods finds them, on a port that they have',
    (name, deployment) => {
      const { labels } = deployment.spec.template.metadata;
      const { ports } = deployment.spec.template.spec.containers[0];
      const policy = find('NetworkPolicy', name);
      const service = find('Service', name);
      expect(labels).toMatchObject(deployment.spec.selector.matchLabels);
      expect(labels).toMatchObject(service.spec.selector);
      expect(labels).toMatchObject(policy.spec.podSelector.matchLabels);
      expect(service.spec.ports[0].targetPort).toBe(ports[0].name);
      expect(policy.spec.ingress[0].ports[0].port).toBe(ports[0].name);
    },
  );

  it('the autoscaler, the disruption budget and the spread are for the deployment', () => {
    const { scaleTargetRef, minReplicas } = find('HorizontalPodAutoscaler').spec;
    expect(scaleTargetRef).toEqual({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      name: find('Deployment').metadata.name,
    });
    expect(minReplicas).toBeGreaterThanOrEqual(2);
    expect(find('Deployment').spec.replicas).toBeUndefined();
    expect(find('Deployment').spec.strategy.rollingUpdate.maxUnavailable).toBe(0);
    expect(find('PodDisruptionBudget').spec.selector.matchLabels).toEqual(template.metadata.labels);
    for (const { labelSelector } of template.spec.topologySpreadConstraints) {
      expect(labelSelector.matchLabels).toEqual(template.metadata.labels);
    }
  });

  it('Prometheus finds the pods by their labels and port, and may ask them', () => {
    const { scrape_configs } = parse(read('docker/prometheus/kubernetes.yml'));
    const [{ job_name, kubernetes_sd_configs, relabel_configs, metrics_path = '/metrics' }] = scrape_configs;
    expect(job_name).toBe(parse(read('docker/prometheus/prometheus.yml')).scrape_configs[0].job_name);
    expect(JSON.parse(read('openapi/openapi.json')).paths[metrics_path].get).toBeDefined();
    const { metadata } = find('Deployment');
    const [name] = Object.entries(template.metadata.labels);
    expect(kubernetes_sd_configs).toEqual([
      {
        role: 'pod',
        namespaces: { names: [metadata.namespace] },
        selectors: [{ role: 'pod', label: name.join('=') }],
      },
    ]);
    expect(relabel_configs[0]).toEqual({
      source_labels: ['__meta_kubernetes_pod_container_port_name'],
      regex: container.ports[0].name,
      action: 'keep',
    });
    const [{ from }] = find('NetworkPolicy').spec.ingress;
    const monitoring = { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } };
    expect(from).toContainEqual(monitoring);
    // One way to be found is enough, and annotations can carry no key.
    expect(template.metadata.annotations).toBeUndefined();
  });

  it.runIf(canRun('promtool'))('Prometheus names running pods as the cluster does, and may have a key', () => {
    const key = join(folder, 'key');
    writeFileSync(key, 'secret');
    const withKey = read('docker/prometheus/kubernetes.yml')
      .replace('# authorization:', 'authorization:')
      .replace(/credentials_file: \S+/, `credentials_file: ${key}`);
    const config = parse(withKey);
    const [job] = config.scrape_configs;
    expect(job.authorization).toEqual({ credentials_file: key });
    // Debian's Prometheus is built without the discovery of Kubernetes: what that would find is written down instead.
    delete job.kubernetes_sd_configs;
    job.static_configs = podsSeen;
    const file = join(folder, 'prometheus.yml');
    writeFileSync(file, stringify(config));
    writeFileSync(join(folder, 'alerts.yml'), read('docker/prometheus/alerts.yml'));
    expect(promtool('check', 'config', file)).toContain('SUCCESS');
    expect(namesFound(file, job.job_name)).toEqual([{ job: 'unroll', instance: 'unroll-1' }]);
  });

  it('a PodMonitor finds the same pods, under the same names', () => {
    const { metadata, spec } = find('PodMonitor');
    expect(spec.selector.matchLabels).toEqual(template.metadata.labels);
    expect(metadata.namespace).toBe(find('Deployment').metadata.namespace);
    const [endpoint] = spec.podMetricsEndpoints;
    expect(endpoint.port).toBe(container.ports[0].name);
    expect(JSON.parse(read('openapi/openapi.json')).paths[endpoint.path].get).toBeDefined();
    const withKey = parse(read(`${MONITORING}/pod-monitor.yaml`).replace('# authorization:', 'authorization:'));
    expect(withKey.spec.podMetricsEndpoints[0].authorization.credentials.key).toBeDefined();
    expect(faults([withKey])).toBe('');
  });

  it.runIf(canRun('promtool'))('Prometheus names what the PodMonitor finds as alerts and dashboard know it', () => {
    const { metadata, spec } = find('PodMonitor');
    const [{ relabelings }] = spec.podMetricsEndpoints;
    const named = relabelings.map(({ sourceLabels, targetLabel, ...rest }: Manifest) => ({
      ...rest,
      ...(sourceLabels && { source_labels: sourceLabels }),
      ...(targetLabel && { target_label: targetLabel }),
    }));
    const job_name = `podMonitor/${metadata.namespace}/${metadata.name}/0`;
    const job = {
      job_name,
      // What the operator puts before the relabelings of a monitor.
      relabel_configs: [
        { source_labels: ['__meta_kubernetes_pod_container_port_name'], regex: 'http', action: 'keep' },
        { target_label: 'job', replacement: `${metadata.namespace}/${metadata.name}` },
        ...named,
      ],
      static_configs: podsSeen,
    };
    const file = join(folder, 'operator.yml');
    writeFileSync(file, stringify({ scrape_configs: [job] }));
    expect(namesFound(file, job_name)).toEqual([{ job: 'unroll', instance: 'unroll-1' }]);
  });

  it('the PrometheusRule is alerts.yml, word for word', () => {
    const alerts = read('docker/prometheus/alerts.yml');
    const indented = alerts.slice(alerts.indexOf('groups:')).replace(/^(?=.)/gm, '  ');
    expect(read(`${MONITORING}/prometheus-rule.yaml`).split('\nspec:\n')[1]).toBe(indented);
    expect(find('PrometheusRule').spec).toEqual(parse(alerts));
  });

  it('the service may reach Redis, and Redis lets it', () => {
    const [, redis] = find('NetworkPolicy').spec.egress;
    const [pod] = find('Deployment', 'unroll-redis').spec.template.spec.containers;
    expect(redis.to[0].podSelector.matchLabels).toEqual({ 'app.kubernetes.io/name': 'unroll-redis' });
    expect(redis.ports[0].port).toBe(pod.ports[0].containerPort);
    const [{ from }] = find('NetworkPolicy', 'unroll-redis').spec.ingress;
    expect(from[0].podSelector.matchLabels).toEqual(template.metadata.labels);
  });

  it('the service may ask for names, of pods and of the cache on the node, and another Redis has its place', () => {
    const policy = find('NetworkPolicy');
    const [names] = policy.spec.egress;
    expect(names.ports.map(({ port }: Manifest) => port)).toEqual([53, 53]);
    expect(names.to[0].podSelector.matchLabels).toEqual({ 'k8s-app': 'kube-dns' });
    expect(names.to[1]).toEqual({ ipBlock: { cidr: '169.254.20.10/32' } });
    const elsewhere = parse(read(`${FOLDER}/network-policy.yaml`).replace(/^( +)# ((?:- to:| ).*)$/gm, '$1$2'));
    expect(elsewhere.spec.egress).toHaveLength(policy.spec.egress.length + 1);
    expect(elsewhere.spec.egress[2]).toEqual({
      to: [{ ipBlock: { cidr: '192.0.2.10/32' } }],
      ports: [{ port: 6380, protocol: 'TCP' }],
    });
    expect(faults([elsewhere])).toBe('');
  });
});

it.each(deployments.map((deployment) => [deployment.metadata.name, deployment.spec.template.spec]))(
  '%s keeps to the restricted profile, writes nothing and has no account',
  (_, spec) => {
    expect(spec.automountServiceAccountToken).toBe(false);
    expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(spec.securityContext.runAsUser).toBeGreaterThan(0);
    for (const { securityContext, resources } of spec.containers) {
      expect(securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      expect(resources.limits.memory).toBe(resources.requests.memory);
    }
  },
);
