import { setTimeout as sleep } from 'node:timers/promises';
import type { KubernetesObject, PodSpec, PodTemplate } from '../src/domain/kubernetes.ts';
import { MAX_BATCH, type OpenBatch, type PrewarmTask } from '../src/domain/prewarm-task.ts';
import { warmerJob } from '../src/domain/warmer-job.ts';
import type { KubeClient } from '../src/kube/client.ts';
import { RESOURCES } from '../src/kube/resources.ts';

/** One way to bring images to nodes. */
export type Shape = {
  name: string;
  about: string;
  /** Asks for it; what follows is up to the cluster, and to IPS. */
  begin(run: Run): Promise<void>;
  /** Whether its user is told that every node is warm. */
  done(run: Run): Promise<boolean>;
};

export type Run = {
  client: KubeClient;
  namespace: string;
  pool: string;
  nodes: string[];
  images: string[];
  workerImage: string;
};

type Job = KubernetesObject & {
  spec: object & { template: PodTemplate };
  status?: { conditions?: { type: string; status: string }[] };
};

export const SHAPES: Shape[] = [
  {
    name: 'indexed-50',
    about: 'bare Indexed Jobs of 50 nodes, all at once, their pods pinned by the webhook of IPS',
    begin: (run) => createAll(run, indexedJobs(run)),
    done: allComplete,
  },
  {
    name: 'job-per-node',
    about: 'one Job a node, nodeName in its template',
    begin: (run) =>
      createAll(
        run,
        run.nodes.map((node, index) => jobOfNode(run, node, index)),
      ),
    done: allComplete,
  },
  {
    name: 'ips-default',
    about: 'IPS as shipped: one annotated Deployment',
    begin: (run) => annotated(run, {}),
    done: saysWarm,
  },
  {
    name: 'ips-50',
    about: 'IPS with ips/concurrent-pulls: "50"',
    begin: (run) => annotated(run, { 'ips/concurrent-pulls': '50' }),
    done: saysWarm,
  },
];

/** The Jobs that IPS would make, without IPS: no owner, no task. */
function indexedJobs(run: Run): Job[] {
  const count = Math.ceil(run.nodes.length / MAX_BATCH);
  return Array.from({ length: count }, (_, index) =>
    bareJob(run, `indexed-${index}`, run.nodes.slice(index * MAX_BATCH, (index + 1) * MAX_BATCH)),
  );
}

function bareJob({ namespace, images, workerImage }: Run, name: string, nodes: string[]): Job {
  const spec = { images: images.map((image) => ({ image, pullPolicy: 'IfNotPresent' as const })) };
  const task: PrewarmTask = { metadata: { name: 'none', namespace }, spec };
  const batch: OpenBatch = {
    ...{ jobName: name, round: 1, batch: 1, attempt: 0, nodes, keys: '', startedAt: '' },
    images: images.map((_, index) => index),
  };
  const job = warmerJob(task, batch, { workerImage, workerImageLegacy: '', priorityClassName: '' }) as Job;
  delete job.metadata.ownerReferences;
  return job;
}

function jobOfNode(run: Run, node: string, index: number): Job {
  const { metadata, ...job } = bareJob(run, `node-${index}`, [node]);
  const podSpec: PodSpec = { ...job.spec.template.spec, nodeName: node };
  return {
    ...job,
    metadata: { name: metadata.name ?? '', namespace: run.namespace },
    spec: {
      ...{ backoffLimit: 0, template: { spec: podSpec } },
    },
  };
}

async function createAll({ client, namespace }: Run, jobs: Job[]): Promise<void> {
  const queue = [...jobs];
  const worker = async () => {
    for (let job = queue.shift(); job; job = queue.shift())
      await client.create(RESOURCES.jobs, namespace, job);
  };
  await Promise.all(Array.from({ length: 10 }, worker));
}

async function allComplete({ client, namespace }: Run): Promise<boolean> {
  const { items } = await client.list<Job>(RESOURCES.jobs, namespace, {});
  const complete = (job: Job) =>
    job.status?.conditions?.some(({ type, status }) => type === 'Complete' && status === 'True');
  return items.length > 0 && items.every(complete);
}

async function annotated(
  { client, namespace, pool, images }: Run,
  more: Record<string, string>,
): Promise<void> {
  const labels = { app: 'bench' };
  const containers = images.map((image, index) => ({ name: `c${index}`, image }));
  const object = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'bench', annotations: { 'ips/prewarm': 'true', ...more } },
    spec: {
      replicas: 0,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { nodeSelector: { pool }, containers } },
    },
  };
  await client.create<KubernetesObject>(RESOURCES.deployments, namespace, object);
}

async function saysWarm({ client, namespace, nodes }: Run): Promise<boolean> {
  const { metadata } = await client.get(RESOURCES.deployments, namespace, 'bench');
  return metadata.annotations?.['ips/status'] === `Warm ${nodes.length}/${nodes.length} nodes`;
}

/** The namespace goes, and with it all that the run made; the next run finds the cluster at rest. */
export async function cleanUp({ client, namespace }: Run): Promise<void> {
  await client.remove({ apiVersion: 'v1', plural: 'namespaces' }, undefined, namespace);
  for (;;) {
    const { items } = await client.list({ apiVersion: 'v1', plural: 'namespaces' }, undefined, {});
    if (!items.some(({ metadata }) => metadata.name === namespace)) return;
    await sleep(500);
  }
}
