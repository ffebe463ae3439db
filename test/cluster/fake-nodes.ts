import type { KubernetesNode } from '../../src/domain/kubernetes.ts';
import { type Cluster, kubectl } from './cluster.ts';
import { waitFor } from './run.ts';

/** A node that kwok plays (see `startKwok`), with the label `pool`. Its pods never really pull. */
export function fakeNode(pool: string, index: number, kubeletVersion = 'v1.36.3'): object {
  const name = `${pool}-${index}`;
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      labels: { pool, 'kubernetes.io/hostname': name },
      annotations: { 'kwok.x-k8s.io/node': 'fake' },
    },
    status: {
      nodeInfo: {
        ...{ architecture: 'amd64', operatingSystem: 'linux', kubeletVersion },
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

/** Makes the nodes of a pool and waits until kwok has made them ready. */
export async function addFakeNodes(
  cluster: Cluster,
  pool: string,
  count: number,
  kubeletVersion?: (index: number) => string,
): Promise<void> {
  const items = Array.from({ length: count }, (_, index) => fakeNode(pool, index, kubeletVersion?.(index)));
  await kubectl(cluster, ['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  await waitFor(
    'kwok to make its nodes ready',
    async () => {
      const text = await kubectl(cluster, ['get', 'nodes', '--selector', `pool=${pool}`, '-o', 'json']);
      const nodes = (JSON.parse(text) as { items: KubernetesNode[] }).items;
      return nodes.filter(isReady).length === count;
    },
    { everyMs: 500 },
  );
}

function isReady(node: KubernetesNode): boolean {
  return node.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false;
}
