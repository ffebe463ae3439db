import { afterAll, beforeAll, expect, test } from 'vitest';
import type { KubernetesNode } from '../../src/domain/kubernetes.ts';
import { startKwok } from '../cluster/components.ts';
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
  await kit.apply({
    apiVersion: 'v1',
    kind: 'List',
    items: Array.from({ length: COUNT }, (_, index) => fakeNode(index)),
  });
  await waitFor('kwok to make its nodes ready', async () => {
    const nodes = await kit.list<KubernetesNode>('nodes', ['--selector', `pool=${POOL}`]);
    return (
      nodes.filter((node) => node.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True'))
        .length === COUNT
    );
  });
});

afterAll(async () => {
  await ips?.stop();
  await kit?.kubectl(['delete', 'nodes', '--selector', `pool=${POOL}`, '--wait=false']);
  await kit?.remove();
  await stopKwok?.();
});

function fakeNode(index: number): object {
  const name = `${POOL}-${index}`;
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      labels: { pool: POOL, 'kubernetes.io/hostname': name },
      annotations: { 'kwok.x-k8s.io/node': 'fake' },
    },
    status: {
      nodeInfo: {
        ...{ architecture: 'amd64', operatingSystem: 'linux', kubeletVersion: 'v1.36.3' },
        ...{
          bootID: '',
          containerRuntimeVersion: 'containerd://2.4.2',
          kernelVersion: '',
          kubeProxyVersion: '',
          machineID: '',
        },
        ...{ osImage: '', systemUUID: '' },
      },
      allocatable: { cpu: '8', memory: '16Gi', pods: '110' },
      capacity: { cpu: '8', memory: '16Gi', pods: '110' },
    },
  };
}

function suspendedJob(name: string): object {
  const spec = { restartPolicy: 'Never', containers: [{ name: 'c', image: 'registry.invalid/none:1' }] };
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name },
    spec: { suspend: true, template: { spec } },
  };
}

/** How many nodes each Job had that the API server has seen meanwhile. */
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
  const rows = watch.rows().filter(([name]) => !name?.startsWith('marker-'));
  return [...new Map(rows.map(([name, nodes]) => [name, Number(nodes)])).values()];
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
    await kit.status('deployment/fleet', /^Warm 60\/60 nodes$/, 90_000);
  });
  expect(Math.max(...sizes)).toBeLessThanOrEqual(50);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(COUNT);
  expect(await ips.metric('ips_nodes_processed_total', 'result="warm"')).toBe(COUNT);
  expect(await ips.metric('ips_admission_requests_total', 'result="pinned"')).toBe(COUNT);
  expect(await ips.metric('ips_images_pulled_total')).toBe(COUNT);
});

test('a node that joins is warmed alone', async () => {
  const processed = await ips.metric('ips_nodes_processed_total', 'result="warm"');
  const [before] = await kit.tasks();
  await kit.apply(fakeNode(COUNT));
  await kit.status('deployment/fleet', /^Warm 61\/61 nodes$/, 60_000);
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
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(10);
});
