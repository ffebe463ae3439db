import type { KubernetesNode, NodeSelectorRequirement, NodeSelectorTerm } from './kubernetes.ts';
import { isWell, labelOf, type NodeRequirements, OS_LABEL } from './node-matching.ts';

/** Requirements on nodes taken apart, so that each can be put to all nodes that do not differ in what it reads. */

/** One thing that requirements read of a node, as text, and a node that has nothing but this. */
export type Facet = {
  id: string;
  read(node: KubernetesNode): string | undefined;
  sample(value: string | undefined): KubernetesNode;
};

export type NodeRequirement = {
  facet: Facet;
  /** For `compileNodeMatcher`, which reads of a node no more than the facet. */
  alone: NodeRequirements;
  /** No other value can meet it. */
  only?: string[];
};

const NAME_FIELD = 'metadata.name';
const NAME: Facet = {
  id: 'name',
  read: ({ metadata }) => metadata.name,
  sample: (name) => ({ metadata: name === undefined ? {} : { name } }),
};

/** What the plugins TaintToleration and NodeUnschedulable read. */
export const TAINTS: Facet = {
  id: 'taints',
  read({ spec: { unschedulable, taints } = {} }) {
    return unschedulable || taints?.length ? JSON.stringify({ unschedulable, taints }) : undefined;
  },
  sample: (value) => ({ metadata: {}, spec: value === undefined ? {} : JSON.parse(value) }),
};

const OS: Facet = {
  id: 'os',
  read(node) {
    const { operatingSystem } = node.status?.nodeInfo ?? {};
    return JSON.stringify({ label: labelOf(node, OS_LABEL), nodeInfo: { operatingSystem } });
  },
  sample(value) {
    const { label: told, nodeInfo } = JSON.parse(value ?? '{}');
    return { metadata: { labels: told === undefined ? {} : { [OS_LABEL]: told } }, status: { nodeInfo } };
  },
};

/** Of no requirement: who is not well is asked about each workload. */
export const WELL: Facet = {
  id: 'well',
  read: (node) => (isWell(node) ? undefined : 'unwell'),
  sample: (value) => ({ metadata: {}, spec: { unschedulable: value !== undefined } }),
};

function label(key: string): Facet {
  return {
    id: `label ${key}`,
    read: (node) => labelOf(node, key),
    sample: (value) => ({ metadata: { labels: value === undefined ? {} : { [key]: value } } }),
  };
}

/** What a node has to meet in full; its affinity comes in terms, see `requirementsOfTerm`, and a name is asked for by name. */
export function requirementsOf({
  nodeSelector = {},
  tolerations = [],
  os,
}: NodeRequirements): NodeRequirement[] {
  return [
    { facet: TAINTS, alone: { tolerations } },
    ...(os ? [{ facet: OS, alone: { os } }] : []),
    ...Object.entries(nodeSelector).map(([key, value]) => ({
      facet: label(key),
      alone: { nodeSelector: { [key]: value } },
      only: [value],
    })),
  ];
}

/** What a node has to meet of a term in full; one term is enough, and one without any matches nothing. */
export function requirementsOfTerm({ matchExpressions, matchFields }: NodeSelectorTerm): NodeRequirement[] {
  return [
    ...(matchExpressions ?? []).map((each) => inTerm(label(each.key), each, { matchExpressions: [each] })),
    ...(matchFields ?? []).map((each) => inTerm(NAME, each, { matchFields: [each] })),
  ];
}

function inTerm(
  facet: Facet,
  { key, operator, values = [] }: NodeSelectorRequirement,
  term: NodeSelectorTerm,
): NodeRequirement {
  const alone = { nodeAffinity: { nodeSelectorTerms: [term] } };
  const listed = operator === 'In' && (facet !== NAME || key === NAME_FIELD);
  return { facet, alone, ...(listed ? { only: values } : {}) };
}
