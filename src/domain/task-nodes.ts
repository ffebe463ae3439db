import type { ImageSizes } from './image-sizes.ts';
import { atOnce, type InParts } from './in-parts.ts';
import type { KubernetesNode, RuntimeClass } from './kubernetes.ts';
import { compileNodeChoice, type NodeChoice } from './node-choice.ts';
import type { NodeMatcher } from './node-matching.ts';
import { compileRoom } from './node-room.ts';
import { keyAt, nodeKey } from './node-set.ts';
import type { StrategyOptions } from './node-strategy.ts';
import { type Eligibility, eligibleNodes, type KnownNodes, presenceBy } from './node-view.ts';
import type { PrewarmTask, PrewarmTaskSpec } from './prewarm-task.ts';
import { compileRuntimeMatcher } from './runtime-class.ts';
import type { PresenceOf } from './task-progress.ts';
import { type ListedOn, warmNodes } from './warm-nodes.ts';

export type TaskNodesInput = {
  task: Pick<PrewarmTask, 'spec' | 'status'>;
  nodes: readonly KubernetesNode[];
  /** `compileRuntimeMatcher` of the task. */
  fits: NodeMatcher;
  /** Where an index knows them. */
  known?: KnownNodes;
  /** `compileTaskChoice` of the task, asked for only where it has a limit. */
  choice: () => NodeChoice;
  sizes: ImageSizes;
  /** The same as from the sizes alone, where an index knows it faster. */
  presence?: PresenceOf;
  listed?: ListedOn;
  strategies: StrategyOptions;
};

/** The nodes that a task warms, and why it leaves out the others. */
export function taskNodes(input: TaskNodesInput): Eligibility {
  return atOnce(taskNodesInParts(input));
}

export function* taskNodesInParts({
  task,
  nodes,
  choice,
  sizes,
  ...asked
}: TaskNodesInput): InParts<Eligibility> {
  const { presence = presenceBy(sizes) } = asked;
  const { images, maxNodes } = task.spec;
  const warm = warmNodes(task.spec, task.status?.warmed ?? [], presence, asked.listed);
  // What a node's status does not prove, because a pod may have to pull again, takes no more room all the same.
  const isThere = (node: KubernetesNode, index: number) =>
    presence(node, images[index]?.image ?? '') === 'present' || warm.has(node, index);
  const room = compileRoom(images, sizes, isThere);
  const question = { ...asked, room };
  if (!maxNodes) return yield* eligibleNodes(nodes, question);
  const busy = busyNodes(task);
  const held = (candidates: KubernetesNode[]) => {
    const counts = warm.held(candidates);
    if (busy.size === 0) return counts;
    return candidates.map((node, index) => (busy.has(nodeKey(node)) ? images.length : (counts[index] ?? 0)));
  };
  const choose = choice();
  const first = (candidates: KubernetesNode[], count: number) =>
    choose({ candidates, all: nodes, held }, count);
  return yield* eligibleNodes(nodes, { ...question, limit: { maxNodes, first } });
}

export function compileTaskChoice(spec: PrewarmTaskSpec, runtimeClass: RuntimeClass | undefined): NodeChoice {
  const { nodeRequirements: requirements = {}, nodePreferences: preferences, runtimeClassName } = spec;
  const tolerations = [...(requirements.tolerations ?? []), ...(runtimeClass?.scheduling?.tolerations ?? [])];
  const untainted = { ...requirements, tolerations: [{ operator: 'Exists' }] };
  const fitsAffinity = compileRuntimeMatcher(untainted, runtimeClassName, runtimeClass);
  return compileNodeChoice({ preferences, tolerations, fitsAffinity });
}

/** The keys of the nodes in open batches. */
function busyNodes({ status }: Pick<PrewarmTask, 'status'>): Set<string> {
  return new Set(
    (status?.batches ?? []).flatMap(({ nodes, keys }) => nodes.map((_, index) => keyAt(keys, index))),
  );
}
