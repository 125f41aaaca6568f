import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { operations } from '../../../src/operations/operations.js';
import { type Sample, scrape } from '../../http/monitoring/scrape.js';
import { type Started, start } from '../../http/start.js';
import { numbersFrom, tensorsFor } from '../../values.js';
import { canRun, FOLDER, type Prometheus, promtool, promtoolReads, startPrometheus } from './prometheus.js';
import { parseQuery } from './promql.js';

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly type: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly datasource?: object;
  readonly targets?: readonly { readonly expr: string; readonly refId: string; readonly legendFormat: string }[];
}
interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: unknown }[] };
}
interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: Readonly<Record<string, string>>;
}

const docker = new URL('../../../docker/', import.meta.url);
const read = (file: string) => readFileSync(new URL(file, docker), 'utf8');
const dashboards = readdirSync(new URL('grafana/dashboards/', docker)).map((file) => ({
  file,
  dashboard: JSON.parse(read(`grafana/dashboards/${file}`)) as Dashboard,
}));
const rules = (parse(read('prometheus/alerts.yml')) as { groups: { rules: Rule[] }[] }).groups.flatMap((g) => g.rules);

/** What Grafana puts in before it asks. */
const filledIn = (expr: string) => expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*');

/** Every query, with where it stands. */
const panelQueries = dashboards.flatMap(({ file, dashboard }) => {
  return dashboard.panels.flatMap(({ title, targets = [] }) => {
    return targets.map(({ expr, refId, legendFormat }) => ({
      where: `${file}: ${title} ${refId}`,
      expr: filledIn(expr),
      legend: legendFormat,
    }));
  });
});
const queries = [
  ...panelQueries,
  ...rules.map(({ alert, expr }) => ({ where: `alerts.yml: ${alert}`, expr, legend: '' })),
];

/** What Prometheus itself knows, and the labels it gives to what it collects. */
const ITS_OWN = ['up'];
const ITS_LABELS = ['instance', 'job'];

/** Exported, and deliberately in no panel and no alert. */
const UNUSED: readonly (readonly [RegExp, string])[] = [
  [/^process_cpu_(user|system)_seconds_total$/, 'their sum is shown'],
  [
    /^nodejs_eventloop_lag_(seconds|min_seconds|mean_seconds|stddev_seconds|p90_seconds)$/,
    'p50, p99 and max are shown',
  ],
  [
    /^nodejs_heap_s(ize_total|pace_size_(total|used|available))_bytes$|^process_heap_bytes$|^process_virtual_memory_bytes$/,
    'resident memory, used heap and external memory are shown',
  ],
  [/^nodejs_active_(handles|requests|resources)$/, 'for hunting leaks by hand'],
  [/^process_max_fds$/, 'set by the system'],
  [/^nodejs_version_info$/, 'unroll_info has it'],
];

let services: Started[];
let samples: readonly Sample[];

/** One of each operation that is right, one that is wrong, and the rest of the service. */
async function visit({ url }: Started): Promise<void> {
  for (const { path, request } of operations) {
    const dims = { n_x: 2, n_a: 3, n_y: 2, m: 2, T_x: 3, T_da: 3 };
    const choice = { prediction: true, way: 0, extras: false };
    const headers = { 'content-type': 'application/json' };
    for (const body of [JSON.stringify(tensorsFor(request, dims, numbersFrom(1), choice)), '{}']) {
      await (await fetch(url + path, { method: 'POST', headers, body })).arrayBuffer();
    }
  }
  for (const path of ['/', '/health/ready', '/nowhere']) await (await fetch(url + path)).arrayBuffer();
}

beforeAll(async () => {
  services = [await start({ workers: 1 }), await start({ workers: 1 })];
  await Promise.all(services.map(visit));
  samples = await scrape(services[0].url);
});
afterAll(() => Promise.all(services.map((service) => service.stop())));

/** Every value that a label of a metric has. */
const valuesOf = (metric: string, label: string) =>
  samples.filter(({ name }) => name === metric).map(({ labels }) => labels[label] ?? '');
const labelsOf = (metric: string) => [
  ...ITS_LABELS,
  ...samples.filter(({ name }) => name === metric).flatMap(({ labels }) => Object.keys(labels)),
];

it.runIf(canRun('promtool'))('what the service exports passes promtool', async () => {
  const exported = await (await fetch(`${services[0].url}/metrics`)).text();
  expect(promtoolReads(exported, 'check', 'metrics')).toBe('');
});

describe('every query', () => {
  it('is there', () => {
    expect(panelQueries.length).toBeGreaterThan(40);
    expect(rules.length).toBeGreaterThan(10);
  });

  it.each(queries)('$where reads what the service exports', ({ expr, legend }) => {
    const { selectors, grouping } = parseQuery(expr);
    expect(selectors).not.toEqual([]);
    for (const { metric, matchers } of selectors) {
      if (ITS_OWN.includes(metric)) continue;
      expect(samples.map(({ name }) => name)).toContain(metric);
      for (const { label, operator, value } of matchers) {
        expect(labelsOf(metric), `${metric}{${label}}`).toContain(label);
        if (ITS_LABELS.includes(label)) continue;
        // What is looked for, or left out, must be something that can be.
        const pattern = operator.endsWith('~') ? new RegExp(`^(?:${value})$`) : undefined;
        const found = valuesOf(metric, label).filter((one) => (pattern ? pattern.test(one) : one === value));
        expect(found, `${metric}{${label}${operator}"${value}"}`).not.toEqual([]);
      }
    }
    const known = selectors.flatMap(({ metric }) => labelsOf(metric));
    for (const label of grouping) expect(known).toContain(label);
    for (const [, label] of legend.matchAll(/\{\{(\w+)\}\}/g)) {
      expect(grouping.length > 0 ? grouping : known).toContain(label);
    }
  });

  it('and every metric that is exported belong together', () => {
    const wholeOf = (name: string) => name.replace(/_(bucket|sum|count)$/, ''); // of a histogram
    const read = queries.flatMap(({ expr }) => parseQuery(expr).selectors.map(({ metric }) => wholeOf(metric)));
    const used = new Set(read);
    const names = [...new Set(samples.map(({ name }) => wholeOf(name)))];
    const forgotten = names.filter((name) => !used.has(name) && !UNUSED.some(([pattern]) => pattern.test(name)));
    expect(forgotten).toEqual([]);
    // Nothing stays on the list that is no longer exported.
    for (const [pattern] of UNUSED) expect(names.filter((name) => pattern.test(name))).not.toEqual([]);
  });

  it('that is wrong is found', () => {
    expect(() => parseQuery('rate(unroll_requests_total[5m)')).toThrow('not PromQL');
    expect(parseQuery('sum by (a) (rate(b{c=~"d"}[5m]))')).toEqual({
      selectors: [{ metric: 'b', matchers: [{ label: 'c', operator: '=~', value: 'd' }] }],
      grouping: ['a'],
    });
  });
});

describe.each(dashboards)('$file', ({ dashboard: { panels, templating } }) => {
  it('has panels side by side, each with an id of its own and the data source that is chosen', () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const taken = new Set<string>();
    for (const { title, gridPos, type, datasource } of panels) {
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(taken, `${title} covers another panel`).not.toContain(`${x} ${y}`);
          taken.add(`${x} ${y}`);
        }
      }
      // biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana's own
      if (type !== 'row') expect(datasource).toEqual({ type: 'prometheus', uid: '${datasource}' });
    }
  });

  it('uses variables that it has', () => {
    const names = templating.list.map(({ name }) => name);
    for (const [, name] of JSON.stringify(panels).matchAll(/\$\{?([a-z]\w*)/g)) expect(names).toContain(name);
  });
});

describe('alerts', () => {
  it('say what is wrong, with labels that their expression leaves', () => {
    for (const { expr, annotations } of rules) {
      expect(Object.keys(annotations)).toEqual(['summary', 'description']);
      const { grouping } = parseQuery(expr);
      for (const [, label] of JSON.stringify(annotations).matchAll(/\$labels\.(\w+)/g)) {
        expect(grouping.length > 0 ? grouping : ITS_LABELS).toContain(label);
      }
    }
  });

  it.runIf(canRun('promtool'))('and the configuration pass promtool, and fire when they must', () => {
    expect(promtool('check', 'config', fileURLToPath(new URL('prometheus.yml', FOLDER)))).toContain('SUCCESS');
    expect(promtool('check', 'rules', fileURLToPath(new URL('alerts.yml', FOLDER)))).toContain('SUCCESS');
    expect(promtool('test', 'rules', fileURLToPath(new URL('alerts.test.yml', import.meta.url)))).toContain('SUCCESS');
  });
});

describe.runIf(canRun('prometheus'))('Prometheus, looking at two instances', () => {
  let prometheus: Prometheus;
  beforeAll(async () => {
    prometheus = await startPrometheus(services.map(({ url }) => new URL(url).host));
    // Rates need two looks at least, and something in between.
    for (let tries = 0; tries < 100; tries++) {
      await Promise.all(services.map(visit));
      if ((await rowsOf('min(count_over_time(up[1m])) > 4 and sum(up) == 2')).length > 0) return;
      await sleep(300);
    }
    throw new Error('Prometheus has not seen both instances');
  });
  afterAll(() => prometheus?.stop());

  const rowsOf = async (query: string) => {
    const { result } = (await prometheus.ask(`query?query=${encodeURIComponent(query)}`)) as { result: object[] };
    return result;
  };

  it.each(panelQueries)('$where has something to show', async ({ expr }) => {
    expect(await rowsOf(expr)).not.toEqual([]);
  });

  it('evaluates every alert', async () => {
    const { groups } = (await prometheus.ask('rules')) as {
      groups: { rules: { name: string; health: string; lastError?: string }[] }[];
    };
    const evaluated = groups.flatMap((group) => group.rules);
    expect(evaluated.map(({ name }) => name)).toEqual(rules.map(({ alert }) => alert));
    for (const rule of evaluated) expect(rule).toMatchObject({ health: 'ok' });
  });

  it('counts what was asked', async () => {
    const [{ value }] = (await rowsOf('sum by (code) (unroll_requests_total{code="invalid-request"})')) as {
      value: [number, string];
    }[];
    expect(Number(value[1])).toBeGreaterThanOrEqual(2 * operations.length);
  });
});
