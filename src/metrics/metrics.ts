import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { createFleetMetrics } from './fleet-metrics.ts';

const PULL_BUCKETS = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];

const ADMISSION_RESULTS = ['labelled', 'unlabelled', 'unchanged', 'pinned', 'denied', 'invalid', 'error'];

export type Metrics = ReturnType<typeof createMetrics>;

/** Every metric that IPS exposes; docs/metrics.md says what each is for. */
export function createMetrics(build: { version: string }) {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const buildInfo = new Gauge({
    name: 'ips_build_info',
    help: 'Always 1; its labels tell what is running',
    labelNames: ['version', 'node_version'],
    registers,
  });
  buildInfo.set({ version: build.version, node_version: process.version }, 1);
  const metrics = {
    registry,
    fleet: createFleetMetrics(registers),
    tasks: new Counter({
      name: 'ips_tasks_total',
      help: 'Rounds of tasks that ended, by phase',
      labelNames: ['status'],
      registers,
    }),
    activeTasks: new Gauge({ name: 'ips_active_tasks', help: 'Tasks that are warming nodes now', registers }),
    taskDuration: new Histogram({
      name: 'ips_task_duration_seconds',
      help: 'From the start of a round to its end, by phase',
      labelNames: ['status'],
      buckets: PULL_BUCKETS,
      registers,
    }),
    nodesProcessed: new Counter({
      name: 'ips_nodes_processed_total',
      help: 'Nodes that a batch ended on, by result: warm or failed',
      labelNames: ['result'],
      registers,
    }),
    batchDuration: new Histogram({
      name: 'ips_batch_execution_duration_seconds',
      help: 'From the planning of a batch to the end of its last node',
      buckets: PULL_BUCKETS,
      registers,
    }),
    jobCreation: new Counter({
      name: 'ips_job_creation_total',
      help: 'Jobs asked for, by result: created, exists or error',
      labelNames: ['result'],
      registers,
    }),
    imagesPulled: new Counter({
      name: 'ips_images_pulled_total',
      help: 'Images brought to nodes, counted once a node',
      registers,
    }),
    pullFailures: new Counter({
      name: 'ips_pull_failures_total',
      help: 'Images that did not reach a node, counted once a node and try, by reason',
      labelNames: ['reason'],
      registers,
    }),
    widthChanges: new Counter({
      name: 'ips_width_changes_total',
      help: 'Times that the width of a task changed after a batch, by direction (wider or narrower) and reason',
      labelNames: ['direction', 'reason'],
      registers,
    }),
    collected: new Counter({
      name: 'ips_collected_nodes_total',
      help: 'Nodes that are left alone for a while because their kubelet removed an image again, counted each time',
      registers,
    }),
    watchErrors: new Counter({
      name: 'ips_watch_errors_total',
      help: 'Lists and watches of the API server that failed and were tried again, by resource',
      labelNames: ['resource'],
      registers,
    }),
    customWorkloads: new Gauge({
      name: 'ips_custom_workloads',
      help: 'Custom resources that count as workloads, 1 by state: watched, absent (no such definition) or forbidden',
      labelNames: ['resource', 'state'],
      registers,
    }),
    coordinationUp: new Gauge({
      name: 'ips_coordination_up',
      help: 'Whether what replicas share their work over works, by part: the address of a Redis server, or lease',
      labelNames: ['part'],
      registers,
    }),
    reconcileErrors: new Counter({
      name: 'ips_reconcile_errors_total',
      help: 'Workloads and tasks whose work failed and is tried again, by kind; conflicts do not count',
      labelNames: ['kind'],
      registers,
    }),
    admissionRequests: new Counter({
      name: 'ips_admission_requests_total',
      help: 'Admission reviews, by what came of them: labelled, unlabelled, unchanged, pinned, denied, invalid or error',
      labelNames: ['result'],
      registers,
    }),
    certificateExpiry: new Gauge({
      name: 'ips_certificate_expiry_timestamp_seconds',
      help: 'When the certificate ends that admission serves (serving), and the CA that lasts longest (ca); seconds since 1970',
      labelNames: ['certificate'],
      registers,
    }),
    admissionDuration: new Histogram({
      name: 'ips_admission_duration_seconds',
      help: 'Time to answer an admission review, without the network',
      buckets: [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 2],
      registers,
    }),
  };
  // A counter that appears with its first count hides that one from `increase`.
  for (const result of ['warm', 'failed']) metrics.nodesProcessed.inc({ result }, 0);
  for (const result of ADMISSION_RESULTS) metrics.admissionRequests.inc({ result }, 0);
  for (const kind of ['workload', 'task']) metrics.reconcileErrors.inc({ kind }, 0);
  return metrics;
}
