import { afterAll, beforeAll, expect, test } from 'vitest';
import type { KubernetesNode, KubernetesObject, PodSpec } from '../../src/domain/kubernetes.ts';
import { pushTestImage } from '../cluster/cluster.ts';
import { startKwok } from '../cluster/components.ts';
import { addFakeNodes } from '../cluster/fake-nodes.ts';
import { waitFor } from '../cluster/run.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, type Kit, type Pod, PREWARM, unique, WEB_NODES } from './kit.ts';

/**
 * Which nodes come first, and which are left out. The judge of the order is the cluster's own scheduler: pods of the
 * same workload have to run where IPS brought the images. Most nodes are kwok's, whose status the test writes.
 */
const ZONE = 'topology.kubernetes.io/zone';
const SPREAD = unique('spread');
const DISKS = unique('disks');
const GB = 1_000_000_000;

let kit: Kit;
let ips: Ips;
let stopKwok: () => Promise<void>;
/** Where warmers were: every one that the API server told of. */
let warmers: ReturnType<Kit['watch']>;

beforeAll(async () => {
  kit = await createKit('choice');
  ips = await startIps(kit.cluster);
  stopKwok = await startKwok(kit.cluster);
  await Promise.all([addFakeNodes(kit.cluster, SPREAD, 9), addFakeNodes(kit.cluster, DISKS, 3)]);
  for (const [zone, indexes] of Object.entries({ a: [0, 1, 2, 3], b: [4, 5, 6], c: [7, 8] }))
    await kit.kubectl(['label', 'nodes', ...indexes.map((each) => `${SPREAD}-${each}`), `${ZONE}=${zone}`]);
  await kit.kubectl(['label', 'nodes', ...[1, 6, 8].map((each) => `${SPREAD}-${each}`), 'disk=ssd']);
  await kit.kubectl(['taint', 'nodes', `${SPREAD}-7`, `${SPREAD}-8`, 'spot=yes:PreferNoSchedule']);
  warmers = kit.watch('pods', 'TASK:.metadata.labels.ips/task,NODE:.spec.nodeName,NAME:.metadata.name');
});

afterAll(async () => {
  warmers?.stop();
  await ips?.stop();
  for (const pool of [SPREAD, DISKS])
    await kit?.kubectl(['delete', 'nodes', '--selector', `pool=${pool}`, '--wait=false']);
  await kit?.remove();
  await stopKwok?.();
});

/** The names of the warmers that a workload's task had so far on a node, or on any. */
async function warmersOf(name: string, node?: string): Promise<Map<string, string>> {
  const { metadata } = await kit.get<KubernetesObject>('deployment', name);
  const task = metadata.annotations?.['ips/task'];
  const rows = warmers
    .rows()
    .filter(([of, on]) => of === task && on?.includes('-') && (!node || on === node));
  return new Map(rows.map(([, on = '', pod = '']) => [pod, on]));
}

/** The nodes to which images were brought for a workload. */
async function chosenFor(name: string): Promise<string[]> {
  return [...new Set((await warmersOf(name)).values())].sort();
}

/** The nodes on which the scheduler starts so many pods of it. */
async function scheduledFor(name: string, replicas: number): Promise<string[]> {
  await kit.kubectl(['scale', 'deployment', name, `--replicas=${replicas}`]);
  const pods = await waitFor(`${replicas} pods of ${name} to be scheduled`, async () => {
    const all = await kit.list<Pod>('pods', ['--selector', `app=${name}`]);
    return all.length === replicas && all.every(({ spec }) => spec.nodeName) && all;
  });
  await kit.kubectl(['delete', 'deployment', name, '--cascade=foreground', '--timeout=60s']);
  return pods.map(({ spec }) => spec.nodeName ?? '').sort();
}

function limited(name: string, images: string[], maxNodes: string, spec: object): object {
  const annotations = { ...PREWARM, 'ips/max-nodes': maxNodes };
  return deployment(name, { annotations, replicas: 0, images, spec: spec as PodSpec });
}

function prefer(key: string, value: string): object {
  const preference = { matchExpressions: [{ key, operator: 'In', values: [value] }] };
  const terms = [{ weight: 100, preference }];
  return { affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: terms } } };
}

function spread(name: string, whenUnsatisfiable: string): object {
  const labelSelector = { matchLabels: { app: name } };
  return { topologySpreadConstraints: [{ topologyKey: ZONE, maxSkew: 1, whenUnsatisfiable, labelSelector }] };
}

test('one node is the one that a workload prefers, where its pod starts with the image there', async () => {
  const image = await pushTestImage(kit.cluster, `${unique('preferred')}:1`, 1_000_000);
  await kit.apply(limited('preferring', [image], '1', { ...WEB_NODES, ...prefer(ZONE, 'zone-b') }));
  await kit.status('deployment/preferring', /^Warm 1\/1 nodes$/);
  expect(await kit.nodesWith(image)).toEqual(['node-b']);
  expect(await scheduledFor('preferring', 1)).toEqual(['node-b']);
});

type Ordered = { name: string; what: string; spec: object; by?: string[]; kinds: string };

test.each<Ordered>([
  { name: 'usual', what: 'a workload that says nothing', spec: {}, kinds: 'a a a b b b' },
  {
    name: 'fast',
    what: 'one that prefers a disk',
    spec: prefer('disk', 'ssd'),
    by: ['disk', ZONE],
    kinds: 'ssd-a ssd-b',
  },
  {
    name: 'strict',
    what: 'one that has to be spread, and would rather be in one zone',
    spec: { ...spread('strict', 'DoNotSchedule'), ...prefer(ZONE, 'a') },
    kinds: 'a a b b c',
  },
  {
    name: 'even',
    what: 'one that is spread where it can be, and tolerates taints',
    spec: { ...spread('even', 'ScheduleAnyway'), tolerations: [{ operator: 'Exists' }] },
    kinds: 'a a b b c c',
  },
])('the scheduler puts $what where IPS brought the images', async ({ name, spec, by = [ZONE], kinds }) => {
  const all = await kit.list<KubernetesNode>('nodes', ['--selector', `pool=${SPREAD}`]);
  // Of nodes that are the same, the scheduler takes any.
  const kindsOf = (nodes: string[]) => {
    const chosen = all.filter(({ metadata }) => nodes.includes(metadata.name ?? ''));
    const values = chosen.map(({ metadata: { labels } }) => by.map((key) => labels?.[key]).join('-'));
    return values.sort().join(' ');
  };
  const count = kinds.split(' ').length;
  const object = limited(name, ['registry.invalid/app:1'], String(count), {
    ...{ nodeSelector: { pool: SPREAD } },
    ...spec,
  });
  // One fills more than half of a node: each pod goes to another.
  const requests = { cpu: '5' };
  const { template } = (object as { spec: { template: { spec: { containers: object[] } } } }).spec;
  template.spec.containers = template.spec.containers.map((each) => ({ ...each, resources: { requests } }));
  await kit.apply(object);
  await kit.status(`deployment/${name}`, new RegExp(`^Warm ${count}/${count} nodes$`));
  expect(kindsOf(await chosenFor(name))).toBe(kinds);
  expect(kindsOf(await scheduledFor(name, count))).toBe(kinds);
});

/** As a kubelet writes it: the largest first. */
async function writeImages(node: string, images: Record<string, number>, heartbeat?: Date): Promise<void> {
  const list = Object.entries(images).map(([each, sizeBytes]) => ({ names: [each], sizeBytes }));
  const lastHeartbeatTime = heartbeat?.toISOString();
  const conditions = heartbeat
    ? [{ type: 'Ready', status: 'True', reason: 'Played', lastHeartbeatTime }]
    : [];
  const status = {
    images: list.sort((a, b) => b.sizeBytes - a.sizeBytes),
    capacity: { 'ephemeral-storage': '40G' },
    ...(heartbeat ? { conditions } : {}),
  };
  await kit.kubectl(['patch', 'node', node, '--subresource=status', '-p', JSON.stringify({ status })]);
}

const ON_DISKS = { nodeSelector: { pool: DISKS } };
const [FULL, HOLDS, CUT] = [0, 1, 2].map((index) => `${DISKS}-${index}`) as [string, string, string];

test('a node without room is left out with the figures, and warmed once it has room', async () => {
  const image = 'registry.invalid/large:1';
  await writeImages(HOLDS, { [image]: 4.2 * GB });
  await writeImages(FULL, { 'registry.invalid/other:1': 31 * GB });
  await kit.apply(
    deployment('large', { annotations: PREWARM, replicas: 0, images: [image], spec: ON_DISKS }),
  );
  const figures = '1 image of 4.2 GB and 31 GB there would pass 80 % of 40 GB ephemeral storage';
  const told = await kit.status('deployment/large', /^Warm 2\/2 nodes$/);
  expect(told['ips/message']).toBe(`not warmed: ${FULL} (no room: ${figures})`);
  expect(await chosenFor('large'), 'the other has it').toEqual([CUT]);

  await writeImages(FULL, { 'registry.invalid/other:1': 27 * GB });
  const { 'ips/message': message } = await kit.status('deployment/large', /^Warm 3\/3 nodes$/);
  expect(message ?? '').toBe('');
  expect(await chosenFor('large')).toEqual([FULL, CUT].sort());
});

test('an image that was collected is noticed on a node that lists the 50 largest', async () => {
  const image = 'registry.invalid/collected:1';
  const others = Object.fromEntries(
    Array.from({ length: 50 }, (_, index) => [`registry.invalid/small-${index}:1`, 1_000_000 + index]),
  );
  await writeImages(CUT, others);
  await kit.apply(
    deployment('collected', { annotations: PREWARM, replicas: 0, images: [image], spec: ON_DISKS }),
  );
  await kit.status('deployment/collected', /^Warm 3\/3 nodes$/);
  expect((await warmersOf('collected', CUT)).size, 'its list may have left it out').toBe(1);

  // Now it is known to be larger than what is listed, and that list is newer than the pull.
  await writeImages(HOLDS, { [image]: 2 * GB });
  await waitFor('another warmer on the node that lost it', async () => {
    await writeImages(
      CUT,
      { ...others, 'registry.invalid/small-50:1': 999_999 },
      new Date(Date.now() + 92_000),
    );
    return (await warmersOf('collected', CUT)).size > 1;
  });
  await kit.status('deployment/collected', /^Warm 3\/3 nodes$/);
});
