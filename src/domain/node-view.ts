import { canonicalName, imagePresence, indexOfNode } from './image-presence.ts';
import type { ImageSizes } from './image-sizes.ts';
import type { KubernetesNode, KubernetesObject } from './kubernetes.ts';
import { groupByReason } from './left-out.ts';
import { type NodeMatcher, nodeReadiness } from './node-matching.ts';
import { pullStrategy, type StrategyOptions } from './node-strategy.ts';
import type { PresenceOf } from './task-progress.ts';

const CONDITIONS = ['Ready', 'DiskPressure'];
const DISK = ['ephemeral-storage'];

/** Keeps of a node what IPS uses. */
export function trimNode(object: KubernetesObject): KubernetesNode {
  const { metadata, spec, status } = object as KubernetesNode;
  const { name, uid, resourceVersion, deletionTimestamp, labels } = metadata;
  const { kubeletVersion, containerRuntimeVersion, operatingSystem, architecture } = status?.nodeInfo ?? {};
  const { allocatable, capacity } = status ?? {};
  return JSON.parse(
    JSON.stringify({
      metadata: { name, uid, resourceVersion, deletionTimestamp, labels },
      spec: { unschedulable: spec?.unschedulable, taints: spec?.taints },
      status: {
        conditions: status?.conditions
          ?.filter((condition) => CONDITIONS.includes(condition.type))
          .map(({ type, status: value, lastHeartbeatTime }) => ({ type, status: value, lastHeartbeatTime })),
        images: status?.images,
        capacity: resources(capacity, DISK),
        allocatable: resources(allocatable, ['cpu', 'memory', ...DISK]),
        runtimeHandlers: status?.runtimeHandlers?.map(({ name: handler }) => ({ name: handler })),
        nodeInfo: { kubeletVersion, containerRuntimeVersion, operatingSystem, architecture },
      },
    }),
  ) as KubernetesNode;
}

function resources(of: Record<string, string> | undefined, names: string[]): object | undefined {
  const told = names.filter((name) => of?.[name] !== undefined);
  return told.length > 0 ? Object.fromEntries(told.map((name) => [name, of?.[name]])) : undefined;
}

/** Whether two states of a node differ in more than the time of the heartbeat. */
export function nodeChanged(before: KubernetesNode, after: KubernetesNode): boolean {
  return withoutHeartbeat(before) !== withoutHeartbeat(after);
}

function withoutHeartbeat(node: KubernetesNode): string {
  const volatile = ['resourceVersion', 'lastHeartbeatTime'];
  return JSON.stringify(node, (key, value: unknown) => (volatile.includes(key) ? undefined : value));
}

/** What is known of a node and an image, with the sizes that other nodes tell. */
export function presenceBy(sizes: ImageSizes): PresenceOf {
  // The smaller size is the one that proves less.
  const sizeOf = (canonical: string) => sizes.rangeOf(canonical)?.smallest;
  return (node, image) => imagePresence(indexOfNode(node), canonicalName(image) ?? image, sizeOf);
}

export type NodeQuestion = {
  /** What the workload asks of a node. */
  fits: NodeMatcher;
  /** Those that fit, in the order of the nodes, where an index knows them: then the others are not asked one by one. */
  fitting?: readonly KubernetesNode[];
  strategies: StrategyOptions;
  /** Why a node has no room for what would come. */
  room?: NodeMatcher;
  limit?: NodeLimit;
};

export type NodeLimit = {
  /** A number of nodes, or a percentage of those that are eligible. */
  maxNodes: string;
  /** The first so many of these nodes, the best first; see node-choice.ts. */
  first: (nodes: KubernetesNode[], count: number) => KubernetesNode[];
};

export type Eligibility = {
  /** The nodes to warm: by name, under a limit the best first. */
  eligible: KubernetesNode[];
  /** Why each of the others is left out, by name; where `fitting` was given, not of those that do not fit. */
  skipped: Map<string, string>;
  /** Of those, the nodes that the workload may use all the same: its users are told of them. */
  leftOut: Map<string, string>;
  /** Why no node is eligible, where none is. */
  nothingEligible: string | undefined;
};

/** Under these keys Kubernetes itself taints a node that is not well. */
const CONDITION_TAINT = 'node.kubernetes.io/';

/** The nodes to warm, and why the others are not. */
export function eligibleNodes(nodes: readonly KubernetesNode[], question: NodeQuestion): Eligibility {
  const { fit, skipped, leftOut } = sift(nodes, question);
  const { fitting, ...asked } = question;
  // Where nothing is left, each node is asked why.
  if (fitting && fit.length === 0) return eligibleNodes(nodes, asked);
  fit.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const nothingEligible = fit.length === 0 ? `no node is eligible${whyNot(skipped)}` : undefined;
  const { limit } = question;
  if (!limit || nothingEligible) return { eligible: fit, skipped, leftOut, nothingEligible };
  const eligible = limit.first(fit, nodeLimit(limit.maxNodes, fit.length));
  const chosen = new Set(eligible);
  const beyond = `the limit of ${limit.maxNodes} takes ${chosen.size} of ${fit.length} nodes, and others come first`;
  for (const node of fit) if (!chosen.has(node)) skipped.set(nameOf(node), beyond);
  // A limit that is reached takes others in their place, so that nobody misses them.
  const missed = chosen.size < nodeLimit(limit.maxNodes, fit.length) ? leftOut : new Map<string, string>();
  return { eligible, skipped, leftOut: missed, nothingEligible };
}

function sift(nodes: readonly KubernetesNode[], question: NodeQuestion) {
  const skipped = new Map<string, string>();
  const leftOut = new Map<string, string>();
  const fit: KubernetesNode[] = [];
  const { fitting } = question;
  const fitsAlready: NodeQuestion = { ...question, fits: () => undefined };
  let next = 0;
  for (const node of nodes) {
    const fits = fitting?.[next] === node;
    if (fits) next += 1;
    else if (fitting && isWell(node)) continue;
    const refusal = refusalOf(node, fits ? fitsAlready : question);
    if (!refusal) fit.push(node);
    else skipped.set(nameOf(node), refusal.reason);
    if (refusal?.usable) leftOut.set(nameOf(node), refusal.reason);
  }
  return { fit, skipped, leftOut };
}

/** One that is not may fit all the same, see `passingProblem`. */
function isWell(node: KubernetesNode): boolean {
  return !node.spec?.unschedulable && !nodeReadiness(node);
}

/** `usable`: the workload may use the node, so that its users want to know. */
type Refusal = { reason: string; usable: boolean };

function refusalOf(node: KubernetesNode, { fits, strategies, room }: NodeQuestion): Refusal | undefined {
  const passing = passingProblem(node, fits);
  if (passing) return { reason: passing, usable: true };
  const misfit = fits(node) ?? nodeReadiness(node);
  if (misfit) return { reason: misfit, usable: false };
  const reason = strategyProblem(node, strategies) ?? room?.(node);
  return reason ? { reason, usable: true } : undefined;
}

function nameOf(node: KubernetesNode): string {
  return node.metadata.name ?? '';
}

function strategyProblem(node: KubernetesNode, strategies: StrategyOptions): string | undefined {
  const strategy = pullStrategy(node, strategies);
  return strategy.strategy ? undefined : strategy.reason;
}

/**
 * What keeps a node out that would fit otherwise, and may pass; the taints that come of it say it less plainly. A
 * cordon keeps out only those who mind it: not who tolerates it, nor who is bound to the node.
 */
function passingProblem(node: KubernetesNode, fits: NodeMatcher): string | undefined {
  const unready = nodeReadiness(node);
  const unschedulable = node.spec?.unschedulable ?? false;
  if (!unready && !unschedulable) return undefined;
  const taints = node.spec?.taints?.filter(({ key }) => !key?.startsWith(CONDITION_TAINT)) ?? [];
  if (fits({ ...node, spec: { taints } })) return undefined;
  return unready ?? fits({ ...node, spec: { taints, unschedulable } });
}

/** The most frequent reasons. */
function whyNot(skipped: Map<string, string>): string {
  const parts = groupByReason(skipped)
    .slice(0, 3)
    .map(({ reason, nodes }) => `${reason} (${nodes.length} ${nodes.length === 1 ? 'node' : 'nodes'})`);
  return parts.length > 0 ? `: ${parts.join(', ')}` : '';
}

/** A percentage is rounded up: 10% of three nodes is one node, not none. */
function nodeLimit(maxNodes: string, count: number): number {
  const number = Number.parseInt(maxNodes, 10);
  return maxNodes.endsWith('%') ? Math.ceil((count * number) / 100) : number;
}
