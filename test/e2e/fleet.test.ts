import { afterAll, beforeAll, expect, test } from 'vitest';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import { startKwok } from '../cluster/components.ts';
import { addFakeNodes, fakeNode } from '../cluster/fake-nodes.ts';
import { waitFor } from '../cluster/run.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, type Kit, PREWARM, unique } from './kit.ts';

/** Nodes that kwok plays. They never really pull: what is shown here is planning, batches and bookkeeping. */
const COUNT = 60;
const POOL = unique('fleet');
const SPEC = { nodeSelector: { pool: POOL } };

let kit: Kit;
let ips: Ips;
let stopKwok: () => Promise<void>;

beforeAll(async () => {
  kit = await createKit('fleet');
  ips = await startIps(kit.cluster);
  stopKwok = await startKwok(kit.cluster);
  await addFakeNodes(kit.cluster, POOL, COUNT);
});

afterAll(async () => {
  await ips?.stop();
  await kit?.kubectl(['delete', 'nodes', '--selector', `pool=${POOL}`, '--wait=false']);
  await kit?.remove();
  await stopKwok?.();
});

function suspendedJob(name: string): object {
  const spec = { restartPolicy: 'Never', containers: [{ name: 'c', image: 'registry.invalid/none:1' }] };
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name },
    spec: { suspend: true, template: { spec } },
  };
}

/** How many nodes each Job had that was made meanwhile, in the order in which they were made. */
async function jobSizesDuring(work: () => Promise<unknown>): Promise<number[]> {
  const watch = kit.watch('jobs', 'NAME:.metadata.name,NODES:.spec.completions');
  const marker = unique('marker');
  try {
    // Once the watch tells of this Job, it misses none that comes later.
    await kit.apply(suspendedJob(marker));
    await waitFor('the watch to begin', async () => watch.rows().some(([name]) => name === marker));
    await work();
  } finally {
    watch.stop();
  }
  const rows = watch.rows();
  const begin = rows.findIndex(([name]) => name === marker);
  // What was there before may yet tell of its end.
  const others = new Set(rows.slice(0, begin + 1).map(([name]) => name));
  const made = rows.filter(([name]) => !others.has(name));
  return [...new Map(made.map(([name, nodes]) => [name, Number(nodes)])).values()];
}

function sum(numbers: number[]): number {
  return numbers.reduce((before, number) => before + number, 0);
}

test('sixty nodes are warmed in batches, each node once, its pod pinned by the completion index', async () => {
  const sizes = await jobSizesDuring(async () => {
    await kit.apply(
      deployment('fleet', {
        annotations: PREWARM,
        replicas: 0,
        images: ['registry.invalid/fleet:1'],
        spec: SPEC,
      }),
    );
    await kit.status('deployment/fleet', /^Warm 60\/60 nodes$/);
  });
  // It starts with five, and every node that was warmed makes room for one more.
  expect(sizes[0]).toBe(5);
  for (const [index, size] of sizes.entries())
    expect(size).toBeLessThanOrEqual(5 + sum(sizes.slice(0, index)));
  expect(sum(sizes)).toBe(COUNT);
  expect((await kit.tasks())[0]?.status?.width).toBe(50);
  expect(await ips.metric('ips_nodes_processed_total', 'result="warm"')).toBe(COUNT);
  expect(await ips.metric('ips_admission_requests_total', 'result="pinned"')).toBe(COUNT);
  expect(await ips.metric('ips_images_pulled_total')).toBe(COUNT);
  await waitFor('the Jobs and their pods to go', async () => {
    const jobs = await kit.list<KubernetesObject>('jobs');
    const pods = await kit.list('pods');
    return pods.length === 0 && jobs.every(({ metadata }) => metadata.name?.startsWith('marker-'));
  });
});

test('a node that joins is warmed alone', async () => {
  const processed = await ips.metric('ips_nodes_processed_total', 'result="warm"');
  const [before] = await kit.tasks();
  await kit.apply(fakeNode(POOL, COUNT));
  await kit.status('deployment/fleet', /^Warm 61\/61 nodes$/);
  expect(await ips.metric('ips_nodes_processed_total', 'result="warm"')).toBe(processed + 1);
  const [task] = await kit.tasks();
  expect(task?.status).toMatchObject({
    phase: 'Warm',
    round: (before?.status?.round ?? 0) + 1,
    progress: '61/61',
  });
});

test('ips/max-nodes and ips/concurrent-pulls are kept', async () => {
  const annotations = { ...PREWARM, 'ips/max-nodes': '10', 'ips/concurrent-pulls': '4' };
  const sizes = await jobSizesDuring(async () => {
    await kit.apply(
      deployment('few', { annotations, replicas: 0, images: ['registry.invalid/few:1'], spec: SPEC }),
    );
    await kit.status('deployment/few', /^Warm 10\/10 nodes$/);
  });
  expect(Math.max(...sizes)).toBe(4);
  expect(sum(sizes)).toBe(10);
});

test('a hundred pods of one template make one task, which all of them own', async () => {
  const spec = {
    ...{ schedulerName: 'nobody', nodeSelector: { pool: unique('none') } },
    containers: [{ name: 'c', image: 'registry.invalid/burst:1' }],
  };
  const items = Array.from({ length: 100 }, (_, index) => ({
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: `burst-${index}`, annotations: PREWARM }, spec },
  }));
  await kit.apply({ apiVersion: 'v1', kind: 'List', items });
  const burst = await waitFor('each pod to be told', async () => {
    const pods = await kit.list<KubernetesObject>('pods');
    const tasks = pods.flatMap(({ metadata }) =>
      metadata.name?.startsWith('burst-') ? (metadata.annotations?.['ips/task'] ?? []) : [],
    );
    return tasks.length === 100 && new Set(tasks);
  });
  expect(burst.size).toBe(1);
  const [name] = burst;
  const task = (await kit.tasks()).find(({ metadata }) => metadata.name === name);
  expect(task?.metadata.ownerReferences).toHaveLength(100);
});
