import type { KubernetesNode, NodeInfo, Taint } from './kubernetes.ts';
import { parseQuantity } from './quantity.ts';

/**
 * What plans ask of every node, worked out once, when the node is told: to read it out of the objects of thousands of
 * nodes, all over the memory, takes longer than to decide by it.
 */
export type NodeFacts = {
  /** The same object for all nodes that tell the same. */
  nodeInfo: NodeInfo | undefined;
  /** In bytes; undefined where the node tells of no disk. */
  diskBytes: number | undefined;
  imageBytes: number;
  /** What images leave of `MOST_OF_DISK`; 0 where the node tells of no disk. */
  freeBytes: number;
  /** See `resourcesScore`. */
  resourcesScore: number;
  preferNoSchedule: readonly Taint[];
  labels: Record<string, string>;
  zone: string | undefined;
  hasHostname: boolean;
};

export const HOSTNAME_LABEL = 'kubernetes.io/hostname';
export const ZONE_LABEL = 'topology.kubernetes.io/zone';

/** The kubelet begins to remove images at 85 %, and goes on until 80 % (its image garbage collection). */
export const MOST_OF_DISK = 0.8;
const EPHEMERAL_STORAGE = 'ephemeral-storage';

const NONE: readonly Taint[] = [];
const MAX_SCORE = 100;
const MAX_REMEMBERED = 1_000;

/** What the scheduler assumes of a container that requests nothing (pkg/scheduler/util/pod_resources.go). */
const ASSUMED_REQUESTS = [
  ['cpu', 0.1],
  ['memory', 200 * 2 ** 20],
] as const;

const facts = new WeakMap<KubernetesNode, NodeFacts>();
const nodeInfos = new Map<string, NodeInfo>();

export function factsOf(node: KubernetesNode): NodeFacts {
  const known = facts.get(node);
  if (known) return known;
  const { capacity, allocatable, images = [], nodeInfo } = node.status ?? {};
  const labels = node.metadata.labels ?? {};
  const diskBytes = parseQuantity(capacity?.[EPHEMERAL_STORAGE] ?? allocatable?.[EPHEMERAL_STORAGE]);
  const imageBytes = images.reduce((sum, { sizeBytes = 0 }) => sum + sizeBytes, 0);
  const shunned = node.spec?.taints?.filter(({ effect }) => effect === 'PreferNoSchedule') ?? [];
  const found: NodeFacts = {
    nodeInfo: nodeInfo && shared(nodeInfo),
    ...{ diskBytes, imageBytes },
    freeBytes: Math.max(0, MOST_OF_DISK * (diskBytes ?? 0) - imageBytes),
    resourcesScore: resourcesScore(allocatable),
    preferNoSchedule: shunned.length > 0 ? shunned : NONE,
    labels,
    zone: Object.hasOwn(labels, ZONE_LABEL) ? labels[ZONE_LABEL] : undefined,
    hasHostname: Object.hasOwn(labels, HOSTNAME_LABEL),
  };
  facts.set(node, found);
  return found;
}

function shared(nodeInfo: NodeInfo): NodeInfo {
  const text = JSON.stringify(nodeInfo);
  const known = nodeInfos.get(text);
  if (known) return known;
  if (nodeInfos.size >= MAX_REMEMBERED) nodeInfos.clear();
  nodeInfos.set(text, nodeInfo);
  return nodeInfo;
}

/** Plugin NodeResourcesFit, `LeastAllocated`, of a node with nothing but one pod of the workload: large ones first. */
function resourcesScore(allocatable: Record<string, string> = {}): number {
  let [sum, told] = [0, 0];
  for (const [resource, requested] of ASSUMED_REQUESTS) {
    const there = parseQuantity(allocatable[resource]) ?? 0;
    if (there <= 0 || MAX_SCORE * there === Number.POSITIVE_INFINITY) continue;
    sum += Math.trunc((MAX_SCORE * Math.max(0, there - requested)) / there);
    told += 1;
  }
  return told > 0 ? Math.trunc(sum / told) : 0;
}
