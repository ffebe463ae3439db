import { canonicalName, imagePresence, indexOfNode } from './image-presence.ts';
import type { ImageSizes } from './image-sizes.ts';
import { forEachInParts, type InParts } from './in-parts.ts';
import type { KubernetesNode, NodeInfo } from './kubernetes.ts';
import { groupByReason } from './left-out.ts';
import { factsOf } from './node-facts.ts';
import { type NodeMatcher, nodeReadiness } from './node-matching.ts';
import type { NodeRoom } from './node-room.ts';
import { pullStrategy, type StrategyOptions } from './node-strategy.ts';
import type { PresenceOf } from './task-progress.ts';

/** What is known of a node and an image, with the sizes that other nodes tell. */
export function presenceBy(sizes: ImageSizes): PresenceOf {
  // The smaller size is the one that proves less.
  const sizeOf = (canonical: string) => sizes.rangeOf(canonical)?.smallest;
  return (node, image) => imagePresence(indexOfNode(node), canonicalName(image) ?? image, sizeOf);
}

export type NodeQuestion = {
  /** What the workload asks of a node. */
  fits: NodeMatcher;
  /** By name, where an index knows them: then the other nodes are not asked one by one. */
  known?: KnownNodes;
  strategies: StrategyOptions;
  room?: NodeRoom;
  limit?: NodeLimit;
};

export type KnownNodes = {
  /** Those that fit. */
  fitting: readonly KubernetesNode[];
  /** Those that are not well (`isWell`): one may fit all the same, see `passingProblem`. */
  unwell: readonly KubernetesNode[];
};

export type NodeLimit = {
  /** A number of nodes, or a percentage of those that are eligible. */
  maxNodes: string;
  /** The first so many of these nodes, the best first; see node-choice.ts. */
  first: (nodes: KubernetesNode[], count: number) => InParts<KubernetesNode[]>;
};

export type Eligibility = {
  /** The nodes to warm: by name, under a limit the best first. */
  eligible: KubernetesNode[];
  /** Why each of the others is left out, by name; where an index was given, not of those that do not fit. */
  skipped: Map<string, string>;
  /** Why those are that are not named there: others come first. */
  beyondLimit?: string;
  /** Of those, the nodes that the workload may use all the same: its users are told of them. */
  leftOut: Map<string, string>;
  /** Why no node is eligible, where none is. */
  nothingEligible: string | undefined;
};

/** Under these keys Kubernetes itself taints a node that is not well. */
const CONDITION_TAINT = 'node.kubernetes.io/';

/** The nodes to warm, and why the others are not. */
export function* eligibleNodes(
  nodes: readonly KubernetesNode[],
  question: NodeQuestion,
): InParts<Eligibility> {
  const { known, ...others } = question;
  // Not the question itself: one with a limit is of another shape, for which the code would be compiled anew.
  const asked: Asked = { fits: question.fits, unable: compileUnable(question) };
  const { fit, skipped, leftOut } = known ? yield* siftKnown(known, asked) : yield* sift(nodes, asked);
  // Where nothing is left, each node is asked why.
  if (known && fit.length === 0) return yield* eligibleNodes(nodes, others);
  if (!known) fit.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const nothingEligible = fit.length === 0 ? `no node is eligible${whyNot(skipped)}` : undefined;
  const { limit } = question;
  if (!limit || nothingEligible) return { eligible: fit, skipped, leftOut, nothingEligible };
  const count = nodeLimit(limit.maxNodes, fit.length);
  yield;
  const eligible = yield* limit.first(fit, count);
  const beyondLimit = `the limit of ${limit.maxNodes} takes ${eligible.length} of ${fit.length} nodes, and others come first`;
  // A limit that is reached takes others in their place, so that nobody misses them.
  const missed = eligible.length < count ? leftOut : new Map<string, string>();
  return { eligible, skipped, beyondLimit, leftOut: missed, nothingEligible };
}

type Sifted = Pick<Eligibility, 'skipped' | 'leftOut'> & { fit: KubernetesNode[] };

type Asked = { fits: NodeMatcher; unable: (node: KubernetesNode) => Refusal | undefined };

function* sift(nodes: readonly KubernetesNode[], question: Asked): InParts<Sifted> {
  const sifted: Sifted = { fit: [], skipped: new Map(), leftOut: new Map() };
  yield* forEachInParts(nodes, (node) => note(sifted, node, refusalOf(node, question)));
  return sifted;
}

/** Thousands of nodes that are well are asked for as little as can be: each look at one fetches it from far memory. */
function* siftKnown({ fitting, unwell }: KnownNodes, question: Asked): InParts<Sifted> {
  const others = new Set(unwell);
  const fitsAlready: Asked = { fits: () => undefined, unable: question.unable };
  const sifted: Sifted = { fit: [], skipped: new Map(), leftOut: new Map() };
  yield* forEachInParts(fitting, (node) => {
    const isUnwell = others.size > 0 && others.delete(node);
    note(sifted, node, isUnwell ? refusalOf(node, fitsAlready) : question.unable(node));
  });
  yield* forEachInParts([...others], (node) => note(sifted, node, refusalOf(node, question)));
  return sifted;
}

function note({ fit, skipped, leftOut }: Sifted, node: KubernetesNode, refusal: Refusal | undefined): void {
  if (!refusal) fit.push(node);
  else skipped.set(nameOf(node), refusal.reason);
  if (refusal?.usable) leftOut.set(nameOf(node), refusal.reason);
}

/** `usable`: the workload may use the node, so that its users want to know. */
type Refusal = { reason: string; usable: boolean };

function refusalOf(node: KubernetesNode, { fits, unable }: Asked): Refusal | undefined {
  const passing = passingProblem(node, fits);
  if (passing) return { reason: passing, usable: true };
  const misfit = fits(node) ?? nodeReadiness(node);
  if (misfit) return { reason: misfit, usable: false };
  return unable(node);
}

/** Of a node that fits and is well. */
function compileUnable({ strategies, room }: NodeQuestion): Asked['unable'] {
  /** The empty text where there is none. */
  const problems = new Map<NodeInfo | undefined, string>();
  return (node) => {
    const facts = factsOf(node);
    const problem = problems.get(facts.nodeInfo) ?? strategyProblem(node, strategies);
    problems.set(facts.nodeInfo, problem);
    const reason = problem || room?.(node, facts);
    return reason ? { reason, usable: true } : undefined;
  };
}

function nameOf(node: KubernetesNode): string {
  return node.metadata.name ?? '';
}

function strategyProblem(node: KubernetesNode, strategies: StrategyOptions): string {
  const strategy = pullStrategy(node, strategies);
  return strategy.strategy ? '' : strategy.reason;
}

/**
 * What keeps a node out that would fit otherwise, and may pass; the taints that come of it say it less plainly. A
 * cordon keeps out only those who mind it: not who tolerates it, nor who is bound to the node.
 */
function passingProblem(node: KubernetesNode, fits: NodeMatcher): string | undefined {
  const unready = nodeReadiness(node);
  const unschedulable = node.spec?.unschedulable ?? false;
  if (!unready && !unschedulable) return undefined;
  const open = withoutPassing(node);
  if (fits(open)) return undefined;
  return unready ?? fits({ ...open, spec: { ...open.spec, unschedulable } });
}

/** The node as it is without what may pass; what fits now fits this too. */
export function withoutPassing(node: KubernetesNode): KubernetesNode {
  const taints = node.spec?.taints?.filter(({ key }) => !key?.startsWith(CONDITION_TAINT)) ?? [];
  return { ...node, spec: { taints } };
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
