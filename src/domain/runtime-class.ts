import type { KubernetesNode, KubernetesObject, RuntimeClass } from './kubernetes.ts';
import type { NodeIndex } from './node-index.ts';
import { compileNodeMatcher, type NodeMatcher, type NodeRequirements } from './node-matching.ts';
import { parseQuantity } from './quantity.ts';
import { WARMER_REQUESTS } from './warmer-job.ts';

/** Keeps of a RuntimeClass what IPS uses. */
export function trimRuntimeClass(object: KubernetesObject): RuntimeClass {
  const { metadata, handler, scheduling, overhead } = object as RuntimeClass;
  const { name, uid, resourceVersion } = metadata;
  return JSON.parse(
    JSON.stringify({ metadata: { name, uid, resourceVersion }, handler, scheduling, overhead }),
  ) as RuntimeClass;
}

/**
 * The nodes for pods of a RuntimeClass. As the API server's admission plugin of that name does it: its node selector
 * counts beside the pod's, its tolerations too, and its overhead is added to what the pod requests.
 */
export function compileRuntimeMatcher(
  requirements: NodeRequirements,
  name: string | undefined,
  runtimeClass: RuntimeClass | undefined,
): NodeMatcher {
  if (!name) return compileNodeMatcher(requirements);
  if (!runtimeClass) return () => `RuntimeClass ${name} not found`;
  const conflict = selectorConflict(
    requirements.nodeSelector ?? {},
    runtimeClass.scheduling?.nodeSelector ?? {},
  );
  if (conflict) return () => `RuntimeClass ${name} ${conflict}`;
  const [own, theirs] = bothRequirements(requirements, runtimeClass).map(compileNodeMatcher);
  return (node) => {
    const reason =
      theirs?.(node) ?? rejectHandler(node, runtimeClass.handler) ?? rejectSmall(node, runtimeClass.overhead);
    return own?.(node) ?? (reason && `RuntimeClass ${name}: ${reason}`);
  };
}

/** The pod's own, and those of its RuntimeClass. */
function bothRequirements(
  requirements: NodeRequirements,
  { scheduling }: RuntimeClass,
): [own: NodeRequirements, theirs: NodeRequirements] {
  const { nodeSelector, tolerations } = scheduling ?? {};
  return [
    { ...requirements, tolerations: [...(requirements.tolerations ?? []), ...(tolerations ?? [])] },
    // Taints and cordons are looked at once, with the tolerations of both.
    { ...(nodeSelector ? { nodeSelector } : {}), tolerations: [{ operator: 'Exists' }] },
  ];
}

/** The nodes that the matcher has no reason against, by name. */
export function fittingNodes(
  nodes: Pick<NodeIndex, 'fitting'>,
  requirements: NodeRequirements,
  name: string | undefined,
  runtimeClass: RuntimeClass | undefined,
): KubernetesNode[] {
  if (!name) return nodes.fitting(requirements);
  if (!runtimeClass) return [];
  const { handler, overhead } = runtimeClass;
  return nodes
    .fitting(...bothRequirements(requirements, runtimeClass))
    .filter((node) => !rejectHandler(node, handler) && !rejectSmall(node, overhead));
}

/** The admission plugin refuses a pod that asks for another value of a label than its RuntimeClass does. */
function selectorConflict(own: Record<string, string>, theirs: Record<string, string>): string | undefined {
  const key = Object.keys(theirs).find((each) => Object.hasOwn(own, each) && own[each] !== theirs[each]);
  if (key === undefined) return undefined;
  return `conflicts with the node selector: it asks for ${key}=${theirs[key]}, the workload for ${key}=${own[key]}, and the API server refuses such pods`;
}

/** Nodes tell their handlers from containerd 2.0 and CRI-O 1.30 on; of one that does not, it shows when pods start. */
function rejectHandler(node: KubernetesNode, handler: string | undefined): string | undefined {
  const handlers = node.status?.runtimeHandlers ?? [];
  if (!handler || handlers.length === 0 || handlers.some(({ name }) => name === handler)) return undefined;
  return `node has no runtime handler ${handler}`;
}

/** A node that could not hold a warmer were it empty; what others take of it at the moment is the kubelet's to tell. */
function rejectSmall(node: KubernetesNode, overhead: RuntimeClass['overhead']): string | undefined {
  for (const [resource, extra] of Object.entries(overhead?.podFixed ?? {})) {
    const there = parseQuantity(node.status?.allocatable?.[resource]);
    const needed = (parseQuantity(extra) ?? 0) + (parseQuantity(WARMER_REQUESTS[resource]) ?? 0);
    if (there !== undefined && needed > there)
      return `node has less ${resource} than its overhead of ${extra} needs`;
  }
  return undefined;
}
