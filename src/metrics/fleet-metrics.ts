import { Gauge, type Registry } from 'prom-client';

type Workload = { namespace: string; kind: string; name: string };

/** What is asked for at each scrape. */
export type FleetSource = () => {
  watches: { resource: string; synced: boolean }[];
  /** Undefined until all of it is known: 0 workloads would be a lie. */
  fleet:
    | {
        phases: Record<string, number>;
        cold: (Workload & { sinceMs: number; warmRatio: number })[];
        failures: (Workload & { image: string; reason: string; nodes: number })[];
        deadlines: { namespace: string; task: string; atMs: number }[];
      }
    | undefined;
};

/** Not `namespace` alone: that is the label by which Prometheus says where it found IPS. */
const WORKLOAD_LABELS = ['workload_namespace', 'workload_kind', 'workload'];

/**
 * Gauges that are true at the moment of the scrape, since nobody has to remember to set them, and series of workloads
 * that are gone or warm are gone too.
 */
export function createFleetMetrics(registers: Registry[]) {
  let source: FleetSource = () => ({ watches: [], fleet: undefined });
  let told: ReturnType<FleetSource> | undefined;
  type Sample = { labels: Record<string, string>; value: number };

  /** Once a scrape: prom-client collects from all gauges before it goes on with any. */
  function ask(): ReturnType<FleetSource> {
    if (!told)
      queueMicrotask(() => {
        told = undefined;
      });
    told ??= source();
    return told;
  }

  function gauge(name: string, help: string, labelNames: string[], samples: () => Sample[]): void {
    new Gauge({
      ...{ name, help, labelNames, registers },
      collect() {
        this.reset();
        for (const { labels, value } of samples()) this.set(labels, value);
      },
    });
  }

  gauge(
    'ips_watch_synced',
    'Whether the objects of a resource have been listed once: 1 or 0; while a 0 stands IPS does nothing',
    ['resource'],
    () => {
      const { watches } = ask();
      return [...new Set(watches.map((each) => each.resource))].map((resource) => {
        const synced = watches.every((each) => each.resource !== resource || each.synced);
        return { labels: { resource }, value: synced ? 1 : 0 };
      });
    },
  );
  gauge('ips_workloads', 'Workloads that opted in, by phase', ['phase'], () =>
    Object.entries(ask().fleet?.phases ?? {}).map(([phase, value]) => ({ labels: { phase }, value })),
  );
  gauge(
    'ips_workload_cold_since_timestamp_seconds',
    'Since when a workload misses an image on a node that may run it; seconds since 1970; the 200 longest',
    WORKLOAD_LABELS,
    () => cold().map((each) => ({ labels: workload(each), value: each.sinceMs / 1000 })),
  );
  gauge(
    'ips_workload_warm_ratio',
    'Nodes that have every image, of those that may run the workload, 0 to 1; of the workloads that are cold',
    WORKLOAD_LABELS,
    () => cold().map((each) => ({ labels: workload(each), value: each.warmRatio })),
  );
  gauge(
    'ips_workload_failed_nodes',
    'Nodes that an image of a workload did not reach, by reason, until the next try; the 200 largest',
    [...WORKLOAD_LABELS, 'image', 'reason'],
    () =>
      (ask().fleet?.failures ?? []).map((each) => ({
        labels: { ...workload(each), image: each.image, reason: each.reason },
        value: each.nodes,
      })),
  );
  gauge(
    'ips_task_deadline_timestamp_seconds',
    'By when a task that has something to do should have moved; seconds since 1970; the 200 earliest',
    ['task_namespace', 'task'],
    () =>
      (ask().fleet?.deadlines ?? []).map(({ namespace, task, atMs }) => ({
        labels: { task_namespace: namespace, task },
        value: atMs / 1000,
      })),
  );

  const cold = () => ask().fleet?.cold ?? [];
  return {
    /** Who knows. */
    source(next: FleetSource): void {
      source = next;
    },
  };
}

function workload({ namespace, kind, name }: Workload): Record<string, string> {
  return { workload_namespace: namespace, workload_kind: kind, workload: name };
}
