import { afterAll, beforeAll, expect, test } from 'vitest';
import type { KubernetesNode } from '../../src/domain/kubernetes.ts';
import type { PrewarmTask } from '../../src/domain/prewarm-task.ts';
import { parseQuantity } from '../../src/domain/quantity.ts';
import { kubectl, pushTestImage } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, eventsAbout, type Kit, type Pod, PREWARM, unique } from './kit.ts';

/**
 * Nodes that the test plays itself: what a kubelet would write of the node and its pods is written by kubectl, so that
 * every node is caught in the middle of its pull. IPS may run as many warmers as there are of them.
 */
const NAMES = ['cordoned', 'dead', 'full', 'gone', 'pressed'];
const POOL = unique('played');
const name = (node: string) => `${POOL}-${node}`;
const SPEC = { nodeSelector: { pool: POOL } };

let kit: Kit;
let ips: Ips;
let fullNode: Promise<void> | undefined;
let heart: NodeJS.Timeout;
/** What each node says of itself, again and again, lest the node controller takes it for dead. */
const conditions = new Map<string, { ready: string; diskPressure: string }>();

beforeAll(async () => {
  kit = await createKit('nodes');
  ips = await startIps(kit.cluster, { env: { MAX_CONCURRENT_PULLS: String(NAMES.length) } });
  heart = setInterval(() => {
    for (const node of conditions.keys()) writeConditions(node).catch(() => {});
  }, 10_000);
});

afterAll(async () => {
  clearInterval(heart);
  await ips?.stop();
  await kit?.kubectl(['delete', 'nodes', '--selector', `pool=${POOL}`, '--wait=false']);
  await kit?.kubectl(['delete', 'pods', '--all', '--force', '--grace-period=0', '--wait=false']);
  await kit?.remove();
});

/** As the kubelet does: the condition, and the node's heartbeat with it. */
async function setConditions(node: string, ready: string, diskPressure = 'False'): Promise<void> {
  conditions.set(node, { ready, diskPressure });
  await writeConditions(node);
}

async function writeConditions(node: string): Promise<void> {
  const { ready = '', diskPressure = '' } = conditions.get(node) ?? {};
  const now = new Date().toISOString();
  const condition = (type: string, status: string) => ({
    ...{ type, status, reason: 'Played', message: 'by the test' },
    ...{ lastHeartbeatTime: now, lastTransitionTime: now },
  });
  await patchStatus('node', name(node), {
    conditions: [condition('Ready', ready), condition('DiskPressure', diskPressure)],
  });
}

async function patchStatus(kind: string, object: string, status: object): Promise<void> {
  await kit.kubectl(['patch', kind, object, '--subresource=status', '-p', JSON.stringify({ status })]);
}

async function join(nodes: string[]): Promise<void> {
  const room = { cpu: '8', memory: '16Gi', pods: '110' };
  const nodeInfo = {
    ...{ architecture: 'amd64', operatingSystem: 'linux', kubeletVersion: 'v1.36.3', osImage: '' },
    ...{ bootID: '', containerRuntimeVersion: 'containerd://2.4.2', kernelVersion: '', kubeProxyVersion: '' },
    ...{ machineID: '', systemUUID: '' },
  };
  const items = nodes.map((node) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: name(node), labels: { pool: POOL } },
    status: { nodeInfo, allocatable: room, capacity: room },
  }));
  await kit.apply({ apiVersion: 'v1', kind: 'List', items });
  await Promise.all(nodes.map((node) => setConditions(node, 'True')));
  await waitFor('the nodes to lose the taints of their first moment', async () => {
    const all = await kit.list<KubernetesNode>('nodes', ['--selector', `pool=${POOL}`]);
    return all.every(({ metadata, spec }) => !nodes.map(name).includes(metadata.name ?? '') || !spec?.taints);
  });
}

type Warmer = Pod & { spec: { nodeName: string } };

/** The unfinished warmers on the nodes of the test, by node. */
async function warmers(owner: string): Promise<Map<string, Warmer>> {
  const task = (await taskOf(owner))?.metadata.name;
  const pods = await kit.list<Warmer>('pods', ['--selector', `ips/task=${task}`]);
  const open = pods.filter(({ status }) => status.phase === 'Pending');
  return new Map(open.map((pod) => [pod.spec.nodeName.slice(POOL.length + 1), pod]));
}

async function warmersOn(owner: string, nodes: string[]): Promise<Map<string, Warmer>> {
  return waitFor(`warmers of ${owner} on ${nodes.join(', ')}`, async () => {
    const found = await warmers(owner);
    return [...found.keys()].sort().join() === [...nodes].sort().join() && found;
  });
}

async function taskOf(owner: string): Promise<PrewarmTask | undefined> {
  return (await kit.tasks()).find(({ metadata }) => metadata.ownerReferences?.[0]?.name === owner);
}

async function endWarmer(owner: string, node: string, status: object): Promise<void> {
  const pod = (await warmersOn(owner, [...(await warmers(owner)).keys()])).get(node);
  if (!pod) throw new Error(`no warmer on ${node}`);
  await patchStatus('pod', pod.metadata.name ?? '', status);
}

const pulled = { phase: 'Succeeded' };

function played(owner: string, images: string[]): object {
  const annotations = { ...PREWARM, 'ips/retry-limit': '1' };
  return deployment(owner, { annotations, replicas: 0, images, spec: SPEC });
}

const IMAGE = 'registry.invalid/played:1';

test('nodes that die, go, are cordoned, full or under pressure in the middle of a pull end their task, each with its reason', async () => {
  await join(NAMES);
  await kit.apply(played('bad-day', [IMAGE]));
  await warmersOn('bad-day', NAMES);
  // It waits for a token of those that are about to come back.
  fullNode = fillRealNode();
  fullNode.catch(() => {}); // told by the test that waits for it

  conditions.delete('gone');
  await kit.kubectl(['delete', 'node', name('gone'), '--wait=false']);
  await kit.kubectl(['cordon', name('cordoned')]);
  await setConditions('pressed', 'True', 'True');
  await setConditions('dead', 'Unknown');
  // As the kubelet says it (pkg/kubelet/lifecycle/predicate.go and pkg/kubelet/eviction).
  const full = { phase: 'Failed', reason: 'OutOfpods', message: "Node didn't have enough resource: pods" };
  await endWarmer('bad-day', 'full', full);
  const evicted = {
    phase: 'Failed',
    reason: 'Evicted',
    message: 'The node was low on resource: ephemeral-storage.',
  };
  await endWarmer('bad-day', 'pressed', evicted);
  await endWarmer('bad-day', 'cordoned', pulled);

  const reasons = [
    `${IMAGE}: out of pods on ${name('full')}`,
    'not warmed: ',
    `${name('gone')} (node gone)`,
    `${name('dead')} (node is not ready)`,
    `${name('pressed')} (node is under disk pressure)`,
    `${name('cordoned')} (node is cordoned)`,
  ];
  await waitFor('the Deployment to tell every reason', async () => {
    const { metadata } = await kit.get<KubernetesNode>('deployment', 'bad-day');
    const message = metadata.annotations?.['ips/message'] ?? '';
    if (reasons.every((reason) => message.includes(reason))) return true;
    throw new Error(`ips/message is ${message}`);
  });
  const { failures } = (await taskOf('bad-day'))?.status ?? {};
  const told = new Map(failures?.map(({ node, reason }) => [node.slice(POOL.length + 1), reason]));
  expect(Object.fromEntries(told)).toMatchObject({
    dead: 'node is not ready',
    full: 'out of pods',
    gone: 'node gone',
    pressed: 'disk pressure',
  });

  // The second try of the node that was full; all others are out.
  await warmersOn('bad-day', ['full']);
  await endWarmer('bad-day', 'full', pulled);
  await kit.status('deployment/bad-day', /^Warm 1\/1 nodes$/);
  const { 'ips/message': message } = await kit.status('deployment/bad-day', /^Warm/);
  expect(message).toMatch(/^not warmed: /);
  const [last] = (await eventsAbout(kit, 'bad-day')).filter(({ reason }) => reason === 'Prewarmed');
  expect(last?.message).toContain(`${name('dead')} (node is not ready)`);
});

test('nodes that come back or join are warmed, one that was cordoned and is warm is not asked twice', async () => {
  await kit.kubectl(['uncordon', name('cordoned')]);
  await kit.status('deployment/bad-day', /^Warm 2\/2 nodes$/);
  expect([...(await warmers('bad-day')).keys()]).toEqual([]);

  await setConditions('pressed', 'True');
  await setConditions('dead', 'True');
  await join(['joined']);
  const back = ['dead', 'joined', 'pressed'];
  for (const node of back) {
    await waitFor(`a warmer on ${node}`, async () => (await warmers('bad-day')).has(node));
    await endWarmer('bad-day', node, pulled);
  }
  await kit.status('deployment/bad-day', /^Warm 5\/5 nodes$/);
  const { metadata } = await kit.get<KubernetesNode>('deployment', 'bad-day');
  expect(metadata.annotations?.['ips/message'] ?? '').not.toMatch(/not ready|cordoned|pressure/);
});

test('a real kubelet without room for a warmer says so, and its node is warmed once it has room', async () => {
  expect(fullNode).toBeDefined();
  await fullNode;
});

test('the pull tokens of that day came back: the next task gets all of them', async () => {
  const nodes = ['cordoned', 'dead', 'full', 'joined', 'pressed'];
  for (const node of nodes) await setConditions(node, 'True');
  await kit.apply(played('next-day', ['registry.invalid/next:1']));
  await warmersOn('next-day', nodes);
  for (const node of nodes) await endWarmer('next-day', node, pulled);
  await kit.status('deployment/next-day', /^Warm 5\/5 nodes$/);
});

/** All the while: a real kubelet without room for a warmer, whose node has room later. */
async function fillRealNode(): Promise<void> {
  const zone = { nodeSelector: { pool: 'web', 'topology.kubernetes.io/zone': 'zone-b' } };
  const node = JSON.parse(await kubectl(kit.cluster, ['get', 'node', 'node-b', '-o', 'json'])) as {
    status: { allocatable: { cpu: string } };
  };
  const processors = parseQuantity(node.status.allocatable.cpu) ?? Number.NaN;
  const image = await pushTestImage(kit.cluster, `${unique('room')}:1`, 1_000_000);
  // All but 5m, less than a warmer asks for.
  const cpu = `${Math.round(processors * 1000) - 5}m`;
  const pause = `${kit.cluster.registry.host}/pause:3.10`;
  const containers = [{ name: 'c', image: pause, resources: { requests: { cpu } } }];
  await kit.apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'hog' },
    spec: { nodeName: 'node-b', terminationGracePeriodSeconds: 0, containers },
  });
  await kit.kubectl(['wait', '--for=condition=Ready', 'pod/hog', '--timeout=60s']);
  await kit.apply(deployment('roomy', { annotations: PREWARM, replicas: 0, images: [image], spec: zone }));
  await waitFor('the Deployment to tell that the node is full', async () => {
    const { metadata } = await kit.get<KubernetesNode>('deployment', 'roomy');
    return metadata.annotations?.['ips/message'] === `${image}: out of cpu on node-b`;
  });
  await kit.kubectl(['delete', 'pod', 'hog']);
  await kit.status('deployment/roomy', /^Warm 1\/1 nodes$/);
  expect(await kit.nodesWith(image)).toEqual(['node-b']);
}
