import type { KubernetesNode, NodeSelector } from './kubernetes.ts';
import { add, allNodes, join, keep, type NodeBits, noNodes, select } from './node-bits.ts';
import {
  changeNode,
  insertNode,
  isStale,
  meeting,
  type NodeColumn,
  newColumn,
  removeNode,
} from './node-column.ts';
import { compileNodeMatcher, type NodeRequirements } from './node-matching.ts';
import {
  type Facet,
  type NodeRequirement,
  requirementsOf,
  requirementsOfTerm,
  TAINTS,
  WELL,
} from './node-requirement.ts';
import { nodeKey } from './node-set.ts';

/**
 * The nodes there are, kept so that many workloads can be answered without asking every node anew. Nodes differ in
 * few things: of 5,000, a zone has three values and a pool ten. So each thing that somebody asks about becomes a
 * column with the number of its value for every node; each requirement is put to each *value* once, by the very
 * matcher that would ask the nodes; and the sets of nodes that meet one are kept and joined as bits.
 */
export type NodeIndex = {
  put(node: KubernetesNode): void;
  remove(name: string): void;
  /** By name, as of now: what is put later shows in it. */
  all(): readonly KubernetesNode[];
  /** By name, those that meet all of these requirements: where `compileNodeMatcher` has no reason against them. */
  fitting(...requirements: NodeRequirements[]): KubernetesNode[];
  /** By name, those that are not well. */
  unwell(): KubernetesNode[];
  /** The keys of all of them, see node-set.ts. */
  keys(): ReadonlySet<string>;
};

/** 20 kB each at 5,000 nodes, and their values once. The one longest unused goes; it is made anew in a millisecond. */
const MAX_COLUMNS = 64;

export function createNodeIndex(given: Iterable<KubernetesNode> = []): NodeIndex {
  /** By name; a node's place here is its place in columns and sets. */
  const nodes: KubernetesNode[] = [];
  const columns = new Map<string, NodeColumn>();
  // Asked about for every workload: the first of them must not read all nodes at once.
  for (const facet of [TAINTS, WELL]) columns.set(facet.id, newColumn(facet, nodes));
  let keys: Set<string> | undefined;

  function placeOf(name: string): number {
    let [from, to] = [0, nodes.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if ((nameAt(middle) ?? '') < name) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  function nameAt(place: number): string | undefined {
    return place < nodes.length ? (nodes[place]?.metadata.name ?? '') : undefined;
  }

  function put(node: KubernetesNode): void {
    const name = node.metadata.name ?? '';
    const place = placeOf(name);
    nodeKey(node); // remembered: a plan must not hash thousands at once
    if (nameAt(place) !== name) {
      for (const column of columns.values()) insertNode(column, place, node, nodes.length);
      nodes.splice(place, 0, node);
      keys = undefined;
      return;
    }
    for (const column of columns.values()) changeNode(column, place, node);
    if (nodes[place]?.metadata.uid !== node.metadata.uid) keys = undefined;
    nodes[place] = node;
  }

  function remove(name: string): void {
    const place = placeOf(name);
    if (nameAt(place) !== name) return;
    for (const column of columns.values()) removeNode(column, place, nodes.length);
    nodes.splice(place, 1);
    keys = undefined;
  }

  function columnOf(facet: Facet): NodeColumn {
    const known = columns.get(facet.id);
    const column = known && !isStale(known, nodes.length) ? known : newColumn(facet, nodes);
    columns.delete(facet.id);
    columns.set(facet.id, column);
    const [oldest = ''] = columns.keys();
    if (columns.size > MAX_COLUMNS) columns.delete(oldest);
    return column;
  }

  function allMeeting(requirements: NodeRequirement[]): NodeBits {
    const found = allNodes(nodes.length);
    for (const each of requirements) keep(found, meeting(columnOf(each.facet), each, nodes.length));
    return found;
  }

  function anyTerm({ nodeSelectorTerms }: NodeSelector): NodeBits {
    const found = noNodes(nodes.length);
    for (const term of (nodeSelectorTerms ?? []).map(requirementsOfTerm))
      if (term.length > 0) join(found, allMeeting(term));
    return found;
  }

  function fittingOf(requirements: NodeRequirements): NodeBits {
    if (requirements.nodeName) return named(requirements.nodeName, requirements);
    const found = allMeeting(requirementsOf(requirements));
    if (requirements.nodeAffinity) keep(found, anyTerm(requirements.nodeAffinity));
    return found;
  }

  /** One node at most: it is asked itself. */
  function named(name: string, requirements: NodeRequirements): NodeBits {
    const found = noNodes(nodes.length);
    const place = placeOf(name);
    const node = nameAt(place) === name ? nodes[place] : undefined;
    if (node && compileNodeMatcher(requirements)(node) === undefined) add(found, place);
    return found;
  }

  for (const node of given) put(node);
  return {
    put,
    remove,
    all: () => nodes,
    fitting(...requirements) {
      const found = allNodes(nodes.length);
      for (const each of requirements) keep(found, fittingOf(each));
      return select(nodes, found);
    },
    unwell() {
      const { ofNode, numbers } = columnOf(WELL);
      const well = numbers.get(undefined);
      return nodes.filter((_, place) => ofNode[place] !== well);
    },
    keys() {
      keys ??= new Set(nodes.map(nodeKey));
      return keys;
    },
  };
}
