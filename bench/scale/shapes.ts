import { setTimeout as sleep } from 'node:timers/promises';
import type { KubernetesObject, PodSpec, PodTemplate } from '../../src/domain/kubernetes.ts';
import { MAX_BATCH, type OpenBatch, type PrewarmTask } from '../../src/domain/prewarm-task.ts';
import { warmerJob } from '../../src/domain/warmer-job.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { RESOURCES } from '../../src/kube/resources.ts';
import { atOnce } from './at-once.ts';
import { BY_HAND, NODES_BY_HAND } from './by-hand.ts';
import { deployment, warmIn } from './workloads.ts';

/** Workloads that come together and want the same images: one task. */
export const SHARING = 20;

/** One way to bring images to nodes. */
export type Shape = {
  name: string;
  about: string;
  /** Asks for it; what follows is up to the cluster, and to IPS. */
  begin(run: Run): Promise<void>;
  /** Whether its user is told that every node is warm. */
  done(run: Run): Promise<boolean>;
  /** Nodes that it is tried on at most, where it is slow by nature; `--comparisons` says otherwise. */
  mostNodes?: number;
};

export type Run = {
  client: KubeClient;
  namespace: string;
  nodes: string[];
  images: string[];
  workerImage: string;
};

type Job = KubernetesObject & {
  spec: object & { template: PodTemplate };
  status?: { conditions?: { type: string; status: string }[] };
};

export const BARE = 'indexed-50';
export const IPS_50 = 'ips-50';
export const IPS_DEFAULT = 'ips-default';
export const JOB_PER_NODE = 'job-per-node';

export const SHAPES: Shape[] = [
  {
    name: BARE,
    about: 'bare Indexed Jobs of 50 nodes, all at once, their pods pinned by a policy of the API server',
    begin: (run) => createAll(run, indexedJobs(run)),
    done: allComplete,
  },
  {
    name: IPS_50,
    about: `IPS: ${SHARING} Deployments of the same images, with ips/concurrent-pulls: "50"`,
    begin: (run) => annotated(run, { 'ips/concurrent-pulls': '50' }),
    done: saysWarm,
  },
  {
    name: IPS_DEFAULT,
    about: `IPS as shipped: ${SHARING} Deployments of the same images`,
    begin: (run) => annotated(run, {}),
    done: saysWarm,
    mostNodes: 300,
  },
  {
    name: JOB_PER_NODE,
    about: 'one Job a node, nodeName in its template',
    begin: (run) =>
      createAll(
        run,
        run.nodes.map((node, index) => jobOfNode(run, node, `node-${index}`)),
      ),
    done: allComplete,
    mostNodes: 1000,
  },
  {
    name: 'job-per-node-and-image',
    about: 'one Job a node and image, nodeName in its template',
    begin: (run) =>
      createAll(
        run,
        run.nodes.flatMap((node, index) =>
          run.images.map((image, at) => jobOfNode({ ...run, images: [image] }, node, `node-${index}-${at}`)),
        ),
      ),
    done: allComplete,
    mostNodes: 300,
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
  job.metadata = { name: batch.jobName, namespace };
  job.spec.template.metadata = {
    labels: { [BY_HAND]: 'true' },
    annotations: { [NODES_BY_HAND]: nodes.join() },
  };
  return job;
}

function jobOfNode(run: Run, node: string, name: string): Job {
  const job = bareJob(run, name, [node]);
  const podSpec: PodSpec = { ...job.spec.template.spec, nodeName: node };
  return {
    ...job,
    spec: {
      ...{ backoffLimit: 0, template: { spec: podSpec } },
    },
  };
}

async function createAll({ client, namespace }: Run, jobs: Job[]): Promise<void> {
  await atOnce(10, jobs, (job) => client.create(RESOURCES.jobs, namespace, job));
}

async function allComplete({ client, namespace }: Run): Promise<boolean> {
  const complete = (job: Job) =>
    job.status?.conditions?.some(({ type, status }) => type === 'Complete' && status === 'True');
  let next: string | undefined;
  let found = 0;
  do {
    const page = await client.list<Job>(RESOURCES.jobs, namespace, { limit: 200, continue: next });
    found += page.items.length;
    if (!page.items.every(complete)) return false;
    next = page.continue;
  } while (next);
  return found > 0;
}

async function annotated({ client, namespace, images }: Run, more: Record<string, string>): Promise<void> {
  const indexes = Array.from({ length: SHARING }, (_, index) => index);
  await atOnce(5, indexes, (index) => {
    const object = deployment(`sharing-${index}`, images, { 'ips/prewarm': 'true', ...more });
    return client.create<KubernetesObject>(RESOURCES.deployments, namespace, object);
  });
}

async function saysWarm({ client, namespace, nodes }: Run): Promise<boolean> {
  return (await warmIn(client, namespace, nodes.length)) === SHARING;
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
