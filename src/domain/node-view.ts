import { canonicalName, imagePresence, indexNodeImages, type NodeImages } from './image-presence.ts';
import type { KubernetesNode, KubernetesObject } from './kubernetes.ts';
import { type NodeMatcher, nodeReadiness } from './node-matching.ts';
import { pullStrategy, type StrategyOptions } from './node-strategy.ts';
import type { PresenceOf } from './task-progress.ts';

const CONDITIONS = ['Ready', 'DiskPressure'];

/** Keeps of a node what IPS uses. */
export function trimNode(object: KubernetesObject): KubernetesNode {
  const { metadata, spec, status } = object as KubernetesNode;
  const { name, uid, resourceVersion, deletionTimestamp, labels } = metadata;
  const { kubeletVersion, containerRuntimeVersion, operatingSystem, architecture } = status?.nodeInfo ?? {};
  const { allocatable } = status ?? {};
  return JSON.parse(
    JSON.stringify({
      metadata: { name, uid, resourceVersion, deletionTimestamp, labels },
      spec: { unschedulable: spec?.unschedulable, taints: spec?.taints },
      status: {
        conditions: status?.conditions
          ?.filter((condition) => CONDITIONS.includes(condition.type))
          .map(({ type, status: value, lastHeartbeatTime }) => ({ type, status: value, lastHeartbeatTime })),
        images: status?.images,
        allocatable: allocatable && { cpu: allocatable['cpu'], memory: allocatable['memory'] },
        runtimeHandlers: status?.runtimeHandlers?.map(({ name: handler }) => ({ name: handler })),
        nodeInfo: { kubeletVersion, containerRuntimeVersion, operatingSystem, architecture },
      },
    }),
  ) as KubernetesNode;
}

/** Whether two states of a node differ in more than the time of the heartbeat. */
export function nodeChanged(before: KubernetesNode, after: KubernetesNode): boolean {
  return withoutHeartbeat(before) !== withoutHeartbeat(after);
}

function withoutHeartbeat(node: KubernetesNode): string {
  const volatile = ['resourceVersion', 'lastHeartbeatTime'];
  return JSON.stringify(node, (key, value: unknown) => (volatile.includes(key) ? undefined : value));
}

const indexes = new WeakMap<KubernetesNode, NodeImages>();

/** Nodes are replaced, never changed, so an index lives as long as its node. */
export const presenceOnNode: PresenceOf = (node, image) => {
  const known = indexes.get(node) ?? indexNodeImages(node);
  indexes.set(node, known);
  return imagePresence(known, canonicalName(image) ?? image);
};

export type Eligibility = {
  eligible: KubernetesNode[];
  /** Why no node is eligible, where none is. */
  nothingEligible: string | undefined;
  /** The nodes that the workload may use but that are not well now, with the reason. */
  leftOut: Map<string, string>;
};

/** Under these keys Kubernetes itself taints a node that is not well. */
const CONDITION_TAINT = 'node.kubernetes.io/';

/** The nodes to warm, by name. */
export function eligibleNodes(
  nodes: KubernetesNode[],
  fits: NodeMatcher,
  maxNodes: string | undefined,
  strategies: StrategyOptions,
): Eligibility {
  const skipped = new Map<string, number>();
  const skip = (reason: string) => skipped.set(reason, (skipped.get(reason) ?? 0) + 1);
  const leftOut = new Map<string, string>();
  const eligible = nodes.filter((node) => {
    const strategy = pullStrategy(node, strategies);
    const passing = passingProblem(node, fits);
    const reason =
      passing ?? fits(node) ?? nodeReadiness(node) ?? (strategy.strategy ? undefined : strategy.reason);
    if (!reason) return true;
    skip(reason);
    // Where a limit takes others in its place, nobody misses it.
    if (passing && !maxNodes) leftOut.set(node.metadata.name ?? '', passing);
    return false;
  });
  eligible.sort((a, b) => ((a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1));
  const nothingEligible = eligible.length === 0 ? `no node is eligible${whyNot(skipped)}` : undefined;
  return { eligible: eligible.slice(0, nodeLimit(maxNodes, eligible.length)), nothingEligible, leftOut };
}

/**
 * What keeps a node out that would fit otherwise, and may pass; the taints that come of it say it less plainly. A
 * cordon keeps out only those who mind it: not who tolerates it, nor who is bound to the node.
 */
function passingProblem(node: KubernetesNode, fits: NodeMatcher): string | undefined {
  const unready = nodeReadiness(node);
  const unschedulable = node.spec?.unschedulable ?? false;
  if (!unready && !unschedulable) return undefined;
  const taints = node.spec?.taints?.filter(({ key }) => !key.startsWith(CONDITION_TAINT)) ?? [];
  if (fits({ ...node, spec: { taints } })) return undefined;
  return unready ?? fits({ ...node, spec: { taints, unschedulable } });
}

/** The most frequent reasons first. */
function whyNot(skipped: Map<string, number>): string {
  const reasons = [...skipped].sort(([, a], [, b]) => b - a).slice(0, 3);
  const parts = reasons.map(([reason, count]) => `${reason} (${count} ${count === 1 ? 'node' : 'nodes'})`);
  return parts.length > 0 ? `: ${parts.join(', ')}` : '';
}

/** A percentage is rounded up: 10% of three nodes is one node, not none. */
function nodeLimit(maxNodes: string | undefined, count: number): number {
  if (!maxNodes) return count;
  const number = Number.parseInt(maxNodes, 10);
  return maxNodes.endsWith('%') ? Math.ceil((count * number) / 100) : number;
}
