import { createHash } from 'node:crypto';
import type { KubernetesNode } from '../../src/domain/kubernetes.ts';
import { createNodeIndex, type NodeIndex } from '../../src/domain/node-index.ts';
import { compileNodeMatcher, type NodeRequirements } from '../../src/domain/node-matching.ts';
import type { BenchPod } from './input.ts';
import type { Answer, Question } from './peer.ts';

/** How IPS can find the nodes of a workload; each way is handed what it may have beforehand. */

export type Way = 'index' | 'index from nothing' | 'matcher';
type Ask = (pods: NodeRequirements[]) => KubernetesNode[][];

const WAYS: Record<Way, (nodes: KubernetesNode[], index: NodeIndex) => Ask> = {
  /** As the controller does it: the index is there, and was asked before. */
  index: (_, index) => (pods) => pods.map((each) => index.fitting(each)),
  'index from nothing': (nodes) => (pods) => {
    const index = createNodeIndex(nodes);
    return pods.map((each) => index.fitting(each));
  },
  /** Each node is asked, and tells why not. */
  matcher: (nodes) => (pods) =>
    pods.map((each) => {
      const fits = compileNodeMatcher(each);
      return nodes.filter((node) => fits(node) === undefined);
    }),
};

export const WAY_NAMES = Object.keys(WAYS) as Way[];

export type Ours = { ask(way: Way, question: Question): Answer };

export function createOurs(nodes: KubernetesNode[], pods: BenchPod[]): Ours {
  const requirements = pods.map(requirementsOf);
  const indexes = new Map<number, NodeIndex>();
  return {
    ask(way, { nodes: count, pods: asked, repeat }) {
      const some = nodes.slice(0, count);
      const index = indexes.get(count) ?? createNodeIndex(some);
      indexes.set(count, index);
      const ask = WAYS[way](some, index);
      const wanted = asked.flatMap((pod) => requirements[pod] ?? []);
      let found: KubernetesNode[][] = [];
      const begun = process.hrtime.bigint();
      for (let turn = 0; turn < repeat; turn += 1) found = ask(wanted);
      const nanoseconds = Number(process.hrtime.bigint() - begun);
      return { nanoseconds, ...summaryOf(asked, found) };
    },
  };
}

/** In an order that does not depend on how they were found: the peer's nodes come as they stand in its file. */
function summaryOf(pods: number[], found: KubernetesNode[][]): Pick<Answer, 'count' | 'hash'> {
  const hash = createHash('sha256');
  for (const [place, pod] of pods.entries()) {
    hash.update(`${pod}\n`);
    const names = (found[place] ?? []).map(({ metadata }) => metadata.name ?? '').sort();
    for (const name of names) hash.update(`${name}\n`);
  }
  return { count: found.reduce((sum, each) => sum + each.length, 0), hash: hash.digest('hex') };
}

export function requirementsOf({ spec }: BenchPod): NodeRequirements {
  const { nodeSelector, tolerations, affinity } = spec;
  const nodeAffinity = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return {
    ...(nodeSelector ? { nodeSelector } : {}),
    ...(nodeAffinity ? { nodeAffinity } : {}),
    ...(tolerations ? { tolerations } : {}),
  };
}
