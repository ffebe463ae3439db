import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createMetrics } from './metrics.ts';

const REFERENCE = readFileSync(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8');

describe('docs/metrics.md', () => {
  it('names every metric of ours, its type and its labels, and no other', () => {
    const rows = REFERENCE.matchAll(/^\| `(ips_\w+)` \| (\w+) \|([^|]*)\|/gm);
    const documented = [...rows].map(([, name, type, labels = '']) => ({
      ...{ name, type },
      labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label),
    }));
    expect(byName(documented)).toEqual(byName(registered()));
  });
});

function registered() {
  // What prom-client knows of a metric beside its samples.
  type Metric = { name: string; labelNames?: string[]; constructor: { name: string } };
  const typeOf = (metric: Metric) => metric.constructor.name.toLowerCase();
  const metrics = createMetrics({ version: '1.2.3' }).registry.getMetricsAsArray() as unknown as Metric[];
  return metrics
    .filter(({ name }) => name.startsWith('ips_'))
    .map((metric) => ({
      ...{ name: metric.name, type: typeOf(metric) },
      labels: (metric.labelNames ?? []).filter((label) => label !== 'le'),
    }));
}

function byName<T extends { name: string | undefined }>(list: T[]): T[] {
  return list.toSorted((a, b) => (a.name ?? '').localeCompare(b.name ?? ''));
}

describe('what is asked for at each scrape', () => {
  it('is told as it is then, and what is over is gone', async () => {
    const { registry, fleet } = createMetrics({ version: '1.2.3' });
    const named = { namespace: 'shop', kind: 'Deployment', name: 'web' };
    const phases = { Pending: 0, Failed: 1 };
    let watches = [{ resource: 'pods', synced: false }];
    let cold = [{ ...named, sinceMs: 1500, warmRatio: 0.5 }];
    fleet.source(() => ({
      watches: [{ resource: 'pods', synced: true }, ...watches],
      fleet: {
        ...{ phases, cold },
        failures: [{ ...named, image: 'app:1', reason: 'not found', nodes: 2 }],
        deadlines: [{ namespace: 'shop', task: 't', atMs: 2500 }],
      },
    }));
    const labels = 'workload_namespace="shop",workload_kind="Deployment",workload="web"';
    const text = await registry.metrics();
    expect(text).toContain('ips_workloads{phase="Failed"} 1');
    expect(text).toContain('ips_watch_synced{resource="pods"} 0');
    expect(text).toContain(`ips_workload_cold_since_timestamp_seconds{${labels}} 1.5`);
    expect(text).toContain(`ips_workload_warm_ratio{${labels}} 0.5`);
    expect(text).toContain(`ips_workload_failed_nodes{${labels},image="app:1",reason="not found"} 2`);
    expect(text).toContain('ips_task_deadline_timestamp_seconds{task_namespace="shop",task="t"} 2.5');
    cold = [];
    watches = [];
    const later = await registry.metrics();
    expect(later).not.toContain('ips_workload_cold_since_timestamp_seconds{');
    expect(later).toContain('ips_watch_synced{resource="pods"} 1');
  });

  it('is computed once for all gauges', async () => {
    const { registry, fleet } = createMetrics({ version: '1.2.3' });
    let times = 0;
    fleet.source(() => {
      times += 1;
      return { watches: [], fleet: undefined };
    });
    await registry.metrics();
    await registry.metrics();
    expect(times).toBe(2);
  });

  it('is nothing, rather than 0, until it is known', async () => {
    const { registry } = createMetrics({ version: '1.2.3' });
    expect(await registry.metrics()).not.toMatch(/^ips_(workloads|watch_synced)\{/m);
  });

  it('has counters at 0 before the first count', async () => {
    const text = await createMetrics({ version: '1.2.3' }).registry.metrics();
    expect(text).toContain('ips_admission_requests_total{result="error"} 0');
    expect(text).toContain('ips_nodes_processed_total{result="failed"} 0');
  });
});
