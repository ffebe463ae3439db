import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerImage, KubernetesNode } from '../../src/domain/kubernetes.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { RESOURCES } from '../../src/kube/resources.ts';
import { atOnce } from './at-once.ts';

/** Nodes as large as those of a cluster in use, about 11 kB of JSON each; kwok keeps them alive. */

export const POOL = 'scale';
/** The kubelet lists the 50 largest; these are on every node. */
const COMMON_IMAGES = 40;
const IMAGES_ON_NODE = 50;
/** Of which the nodes have the others. */
const OTHER_IMAGES = 400;

export function nodeName(index: number): string {
  return `${POOL}-${index}`;
}

/** By tag, of those that every node has. */
export function commonImage(index: number): string {
  return tagOf(index % COMMON_IMAGES);
}

function tagOf(image: number): string {
  return `registry.example.com/team-${image % 12}/service-${image}:v1.${image}.0`;
}

function imageOf(image: number): ContainerImage {
  const digest = createHash('sha256').update(String(image)).digest('hex');
  const names = [`${tagOf(image).replace(/:.*/, '')}@sha256:${digest}`, tagOf(image)];
  return { names, sizeBytes: 40_000_000 + image * 1_234_567 };
}

function node(index: number): KubernetesNode {
  const name = nodeName(index);
  const others = Array.from(
    { length: IMAGES_ON_NODE - COMMON_IMAGES },
    (_, at) => COMMON_IMAGES + ((index * 7 + at * 31) % OTHER_IMAGES),
  );
  const images = [...Array.from({ length: COMMON_IMAGES }, (_, at) => at), ...new Set(others)].map(imageOf);
  const zone = `zone-${index % 3}`;
  const resources = { cpu: '16', memory: '64Gi', pods: '110', 'ephemeral-storage': '500Gi' };
  const time = new Date().toISOString().replace(/\.\d+Z/, 'Z');
  const condition = (type: string, status: string) => ({
    ...{ type, status, reason: `Kubelet${type}`, message: `kubelet says ${type} is ${status}` },
    ...{ lastHeartbeatTime: time, lastTransitionTime: time },
  });
  const object = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      labels: {
        ...{ pool: POOL, 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux' },
        ...{ 'kubernetes.io/arch': 'amd64', 'beta.kubernetes.io/os': 'linux' },
        ...{ 'beta.kubernetes.io/arch': 'amd64', 'topology.kubernetes.io/zone': zone },
        ...{ 'topology.kubernetes.io/region': 'region-1', 'node.kubernetes.io/instance-type': 'm.4xlarge' },
        ...{ 'node.example.com/group': `group-${index % 8}`, 'node.example.com/rack': `rack-${index % 97}` },
      },
      annotations: {
        'kwok.x-k8s.io/node': 'fake',
        'node.alpha.kubernetes.io/ttl': '0',
        'csi.volume.kubernetes.io/nodeid': JSON.stringify({ 'disk.csi.example.com': name }),
      },
    },
    status: {
      ...{ phase: 'Running', allocatable: resources, capacity: resources, images },
      conditions: [
        ...['MemoryPressure', 'DiskPressure', 'PIDPressure'].map((type) => condition(type, 'False')),
        condition('Ready', 'True'),
      ],
      addresses: [{ type: 'Hostname', address: name }],
      nodeInfo: {
        ...{ architecture: 'amd64', operatingSystem: 'linux', kubeletVersion: 'v1.36.3' },
        ...{ containerRuntimeVersion: 'containerd://2.4.2', kernelVersion: '6.1.0', kubeProxyVersion: '' },
        ...{ machineID: '', bootID: '', osImage: 'Debian GNU/Linux 12', systemUUID: '' },
      },
    },
  };
  return object;
}

/** Makes them ready and untainted: the node controller would take off at most 20 taints a second. */
export async function addNodes(
  client: KubeClient,
  count: number,
  say: (line: string) => void,
): Promise<void> {
  let made = 0;
  await atOnce(
    16,
    Array.from({ length: count }, (_, index) => index),
    async (index) => {
      await client.create(RESOURCES.nodes, undefined, node(index));
      await client.mergePatch(RESOURCES.nodes, undefined, nodeName(index), { spec: { taints: null } });
      made += 1;
      if (made % 500 === 0) say(`${made} of ${count} nodes`);
    },
  );
}

const CHANGES = { times: 12, everyMs: 5_000, nodes: 50 };

/**
 * For a minute, every five seconds, 50 nodes tell that they have an image no longer, and another in its place, as
 * kubelets do all day. No workload uses either.
 */
export async function changeImages(client: KubeClient, count: number): Promise<void> {
  for (let time = 0; time < CHANGES.times; time += 1) {
    const nextMs = performance.now() + CHANGES.everyMs;
    const indexes = Array.from({ length: CHANGES.nodes }, (_, at) => (time * CHANGES.nodes + at) % count);
    await atOnce(16, indexes, async (index) => {
      const found = await client.get<KubernetesNode>(RESOURCES.nodes, undefined, nodeName(index));
      // The last is one that not every node has.
      const kept = found.status?.images?.slice(0, -1) ?? [];
      const images = [...kept, imageOf(COMMON_IMAGES + OTHER_IMAGES + time)];
      await client.replaceStatus(RESOURCES.nodes, { ...found, status: { ...found.status, images } });
    });
    await sleep(Math.max(0, nextMs - performance.now()));
  }
}
