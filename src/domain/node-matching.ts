/**
 * Which nodes the pods of a workload may run on: kube-scheduler's node-related predicates (its plugins NodeName,
 * NodeAffinity, NodeUnschedulable and TaintToleration, v1.36), each a small pure function from a node to the
 * reason why it does not fit. A pod that carries `nodeName` never meets the scheduler: the kubelet of that node
 * admits it, by fewer rules. Requirements are compiled once and asked about thousands of nodes. `test/oracle`
 * compares the answers with those of the scheduler's own library.
 */

import type {
  KubernetesNode,
  NodeSelector,
  NodeSelectorRequirement,
  NodeSelectorTerm,
  Taint,
  Toleration,
} from './kubernetes.ts';

export type NodeRequirements = {
  /** Where the pod is bound already: then the kubelet's rules hold, not the scheduler's. */
  nodeName?: string;
  nodeSelector?: Record<string, string>;
  /** `requiredDuringSchedulingIgnoredDuringExecution` of the pod's node affinity. */
  nodeAffinity?: NodeSelector;
  tolerations?: Toleration[];
  /** `spec.os.name` of the pod. */
  os?: string;
};

/** Why a node does not fit, in words for a user; undefined where it fits. */
export type NodeMatcher = (node: KubernetesNode) => string | undefined;

type Comparison = 'Gt' | 'Lt';

export const OS_LABEL = 'kubernetes.io/os';
const UNSCHEDULABLE_TAINT: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };
const MAX_QUOTED_VALUES = 3;

/** kube-scheduler, plugin TaintToleration: PreferNoSchedule is only a wish. */
const SCHEDULER_EFFECTS = ['NoSchedule', 'NoExecute'];
/** kubelet, pkg/kubelet/lifecycle/predicate.go, `generalFilter`. */
const KUBELET_EFFECTS = ['NoExecute'];

/** apimachinery, `content.IsLabelKey` and `content.IsLabelValue`. */
const DNS_LABEL = '[a-z0-9](?:[-a-z0-9]*[a-z0-9])?';
const LABEL_NAME = '[A-Za-z0-9](?:[-\\w.]*[A-Za-z0-9])?';
const LABEL_PREFIX = `(?=[^/]{1,253}/)${DNS_LABEL}(?:\\.${DNS_LABEL})*/`;
const LABEL_KEY = new RegExp(`^(?:${LABEL_PREFIX})?(?=[^/]{1,63}$)${LABEL_NAME}$`);
const LABEL_VALUE = new RegExp(`^(?=.{0,63}$)(?:${LABEL_NAME})?$`);

/** Go's `strconv.ParseInt` in base 10, and apimachinery's stricter `content.IsDecimalInteger`. */
const GO_INTEGER = /^[+-]?0*\d{1,19}$/;
const DECIMAL_INTEGER = /^(?:0|-?[1-9]\d{0,18})$/;

/**
 * Compiles requirements to the question whether a node meets them all. The reasons come in the order in which a
 * user would mend them: what the workload asks for before what an operator did to a node that it could use.
 */
export function compileNodeMatcher(requirements: NodeRequirements): NodeMatcher {
  const { nodeName, nodeSelector = {}, nodeAffinity, tolerations = [], os } = requirements;
  const matchers: NodeMatcher[] = [];
  if (nodeName) {
    matchers.push((node) =>
      node.metadata.name === nodeName ? undefined : `pod is bound to node ${nodeName}`,
    );
  }
  if (os) {
    matchers.push((node) => rejectOtherOs(node, os));
  }
  for (const [key, value] of Object.entries(nodeSelector)) {
    const reason = `node selector ${key}=${value} does not match`;
    matchers.push((node) => (labelOf(node, key) === value ? undefined : reason));
  }
  if (nodeAffinity) {
    matchers.push(compileNodeAffinity(nodeAffinity));
  }
  // kube-scheduler, plugin NodeUnschedulable: who tolerates the taint tolerates the field. The kubelet does not ask.
  if (!nodeName && !toleratedByAny(UNSCHEDULABLE_TAINT, tolerations)) {
    matchers.push((node) => (node.spec?.unschedulable ? 'node is cordoned' : undefined));
  }
  const effects = nodeName ? KUBELET_EFFECTS : SCHEDULER_EFFECTS;
  matchers.push((node) => rejectUntoleratedTaint(node, tolerations, effects));
  return (node) => firstReason(matchers, node);
}

/** Why nothing should be pulled to a node now, whatever the workload asks for; undefined where it is well. */
export function nodeReadiness(node: KubernetesNode): string | undefined {
  if (node.metadata.deletionTimestamp) {
    return 'node is being deleted';
  }
  const conditions = node.status?.conditions ?? [];
  if (conditions.some(({ type, status }) => type === 'Ready' && status !== 'True')) {
    return 'node is not ready';
  }
  const underPressure = conditions.some(({ type, status }) => type === 'DiskPressure' && status === 'True');
  return underPressure ? 'node is under disk pressure' : undefined;
}

/** Whether nothing is wrong with the node that may pass: it is ready, and takes new pods. */
export function isWell(node: KubernetesNode): boolean {
  return !node.spec?.unschedulable && nodeReadiness(node) === undefined;
}

function firstReason(matchers: NodeMatcher[], node: KubernetesNode): string | undefined {
  for (const matcher of matchers) {
    const reason = matcher(node);
    if (reason !== undefined) {
      return reason;
    }
  }
  return undefined;
}

/** A selector may ask for a key that every object inherits, such as `constructor`: nothing of that is text. */
export function labelOf({ metadata: { labels } }: KubernetesNode, key: string): string | undefined {
  const value: unknown = labels?.[key];
  return typeof value === 'string' ? value : undefined;
}

/**
 * kube-scheduler does not look at the pod's os. The kubelet does, and refuses the pod (lifecycle predicate,
 * `PodOSNotSupported`); it keeps this label equal to its own os.
 */
function rejectOtherOs(node: KubernetesNode, os: string): string | undefined {
  const nodeOs = labelOf(node, OS_LABEL) || node.status?.nodeInfo?.operatingSystem || os;
  return nodeOs === os ? undefined : `node runs ${nodeOs}, pod needs ${os}`;
}

/**
 * Terms are ORed, the requirements of a term ANDed, and an empty term matches nothing (component-helpers,
 * nodeaffinity). A malformed requirement spoils its term: it never matches, whatever the rest of it says. Other terms
 * still may, and the error is told only where none does.
 */
function compileNodeAffinity({ nodeSelectorTerms }: NodeSelector): NodeMatcher {
  const terms = (nodeSelectorTerms ?? []).map(compileTerm).filter((matchers) => matchers.length > 0);
  const [first, ...others] = terms;
  if (first === undefined) {
    return () => 'node affinity has no term that could match a node';
  }
  return (node) => {
    const reason = firstReason(first, node);
    if (reason === undefined) return undefined;
    for (const matchers of others) if (firstReason(matchers, node) === undefined) return undefined;
    return others.length === 0
      ? reason
      : `none of ${terms.length} node affinity terms matches; the first: ${reason}`;
  };
}

function compileTerm({ matchExpressions, matchFields }: NodeSelectorTerm): NodeMatcher[] {
  const expressions = matchExpressions ?? [];
  const fields = matchFields ?? [];
  const malformed =
    expressions.find((each) => !isWellFormed(each)) ?? fields.find((each) => !isWellFormedField(each));
  if (malformed) {
    const reason = `node affinity ${requirementText(malformed)} is malformed`;
    return [() => reason];
  }
  return [...expressions.map(compileExpression), ...fields.map(compileField)];
}

function compileExpression(requirement: NodeSelectorRequirement): NodeMatcher {
  const { key } = requirement;
  const test = compileTest(requirement);
  const reason = `node affinity ${requirementText(requirement)} does not match`;
  return (node) => (test?.(labelOf(node, key)) ? undefined : reason);
}

/** apimachinery, `labels.NewRequirement`: an invalid key or value is as malformed as an unknown operator. */
function compileTest(requirement: NodeSelectorRequirement) {
  const { key, operator } = requirement;
  const values = requirement.values ?? [];
  // A custom resource may leave the key out; Go reads that as empty.
  const wellFormed = isLabelKey(key ?? '') && values.every(isLabelValue);
  return wellFormed ? compileOperator(operator, values) : undefined;
}

/** Whether a requirement on labels can match anything at all. */
export function isWellFormed(requirement: NodeSelectorRequirement): boolean {
  return compileTest(requirement) !== undefined;
}

export function isLabelKey(text: string): boolean {
  return LABEL_KEY.test(text);
}

export function isLabelValue(text: string): boolean {
  return LABEL_VALUE.test(text);
}

/**
 * The test of a label's value, which is undefined where the label is absent. No test at all where the operator does
 * not exist or cannot take these values.
 */
function compileOperator(operator: string, values: string[]): ((value?: string) => boolean) | undefined {
  const known = new Set<string | undefined>(values);
  switch (operator) {
    case 'In':
      return known.size === 0 ? undefined : (value) => known.has(value);
    case 'NotIn':
      return known.size === 0 ? undefined : (value) => !known.has(value);
    case 'Exists':
      return known.size === 0 ? (value) => value !== undefined : undefined;
    case 'DoesNotExist':
      return known.size === 0 ? (value) => value === undefined : undefined;
    case 'Gt':
    case 'Lt': {
      const bound = values.length === 1 ? parseInt64(values[0], GO_INTEGER) : undefined;
      return bound === undefined
        ? undefined
        : (value) => compare(parseInt64(value, GO_INTEGER), operator, bound);
    }
    default:
      return undefined;
  }
}

/** A node has one field, its name; any other reads as empty (component-helpers, `extractNodeFields`). */
function compileField(requirement: NodeSelectorRequirement): NodeMatcher {
  const { key, operator, values } = requirement;
  const value = values?.[0];
  const reason = `node affinity ${requirementText(requirement)} does not match`;
  return ({ metadata }) => {
    const field = key === 'metadata.name' ? metadata.name : '';
    return (field === value) === (operator === 'In') ? undefined : reason;
  };
}

/** Whether a requirement on fields can match anything at all. */
export function isWellFormedField({ operator, values }: NodeSelectorRequirement): boolean {
  return values?.length === 1 && (operator === 'In' || operator === 'NotIn');
}

/** Reasons go into Events and annotations: of a hundred host names, the first few tell which requirement it is. */
function requirementText({ key, operator, values }: NodeSelectorRequirement): string {
  const what = `${key ?? ''} ${operator ?? ''}`;
  if (!values || values.length === 0) {
    return what;
  }
  const quoted = values.slice(0, MAX_QUOTED_VALUES).join(', ');
  const more = values.length > MAX_QUOTED_VALUES ? ', …' : '';
  return `${what} (${quoted}${more})`;
}

function rejectUntoleratedTaint(
  node: KubernetesNode,
  tolerations: Toleration[],
  effects: string[],
): string | undefined {
  for (const taint of node.spec?.taints ?? []) {
    if (effects.includes(taint.effect) && !toleratedByAny(taint, tolerations)) {
      return taintReason(taint);
    }
  }
  return undefined;
}

/** Nodes share their taints (`trimNode`), so that the words for thousands of them are put together once. */
const taintReasons = new WeakMap<Taint, string>();

function taintReason(taint: Taint): string {
  const known = taintReasons.get(taint);
  if (known !== undefined) return known;
  const { key = '', value, effect } = taint;
  const reason = `taint ${key}${value ? `=${value}` : ''}:${effect} is not tolerated`;
  taintReasons.set(taint, reason);
  return reason;
}

export function toleratedByAny(taint: Taint, tolerations: Toleration[]): boolean {
  for (const toleration of tolerations) if (tolerates(toleration, taint)) return true;
  return false;
}

/**
 * api/core/v1, `Toleration.ToleratesTaint`. Gt and Lt (alpha in 1.35 and 1.36, feature gate
 * TaintTolerationComparisonOperators) count always, since the API server admits no new pod template with them while
 * the gate is off.
 */
function tolerates({ key, operator, value = '', effect }: Toleration, taint: Taint): boolean {
  if ((effect && effect !== taint.effect) || (key && key !== taint.key)) {
    return false;
  }
  switch (operator) {
    case undefined:
    case '':
    case 'Equal':
      return value === (taint.value ?? '');
    case 'Exists':
      return true;
    case 'Gt':
    case 'Lt':
      return compare(parseInt64(taint.value, DECIMAL_INTEGER), operator, parseInt64(value, DECIMAL_INTEGER));
    default:
      return false;
  }
}

/** False where either side is no number: nothing is greater or less than that. */
function compare(left: bigint | undefined, operator: Comparison, right: bigint | undefined): boolean {
  if (left === undefined || right === undefined) {
    return false;
  }
  return operator === 'Gt' ? left > right : left < right;
}

function parseInt64(text: string | undefined, grammar: RegExp): bigint | undefined {
  if (text === undefined || !grammar.test(text)) {
    return undefined;
  }
  const number = BigInt(text);
  return BigInt.asIntN(64, number) === number ? number : undefined;
}
