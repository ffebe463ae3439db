import type { NodeSelectorRequirement, NodeSelectorTerm } from '../../src/domain/kubernetes.ts';
import type { NodeCase } from './node-cases.ts';
import type { Refusals } from './oracle.ts';

/** The ways through the rules; each tells whether a case went it, by what it asked and what the oracle answered. */
export type Branch = (asked: NodeCase, refused: Refusals) => boolean;

const OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt'];
const PLAIN_KEY = /^[a-z]+$/;
const WORKING_EFFECTS = ['NoSchedule', 'NoExecute'];
const OTHER_EFFECTS = ['PreferNoSchedule', 'unknown'];

export const BRANCHES: Record<string, Branch> = {
  'the scheduler takes the node': (asked, refused) => !isBound(asked) && fits(refused),
  'the kubelet takes the node': (asked, refused) => isBound(asked) && fits(refused),
  'no RuntimeClass of that name': (_, { RuntimeClass }) => RuntimeClass?.[0] === 'not found',
  'RuntimeClass and pod ask for different labels': (_, { RuntimeClass }) => RuntimeClass?.[0] === 'conflict',
  'the node selector of a RuntimeClass refuses alone': (asked, refused) =>
    !asked.pod.spec.nodeSelector && isAlone('NodeSelector', refused),
  'the tolerations of a RuntimeClass are needed': (asked, refused) =>
    (asked.runtimeClass?.scheduling?.tolerations?.length ?? 0) > 0 &&
    !asked.pod.spec.tolerations?.length &&
    !isBound(asked) &&
    (asked.node.spec?.taints ?? []).some(({ effect }) => WORKING_EFFECTS.includes(effect)) &&
    fits(refused),
  'a cordon is tolerated': (asked, refused) => isCordoned(asked) && !isBound(asked) && fits(refused),
  'the kubelet does not mind a cordon': (asked, refused) =>
    isCordoned(asked) && isBound(asked) && fits(refused),
  'the os of the pod is that of the node': (asked, refused) =>
    asked.pod.spec.os?.name === asked.node.metadata.labels?.['kubernetes.io/os'] &&
    !!asked.pod.spec.os &&
    fits(refused),
  'no term': (asked, refused) =>
    affinity(asked)?.nodeSelectorTerms?.length === 0 && 'NodeAffinity' in refused,
  'null for the terms': (asked, refused) =>
    affinity(asked)?.nodeSelectorTerms === null && 'NodeAffinity' in refused,
  'an empty term alone': (asked, refused) => {
    const terms = affinity(asked)?.nodeSelectorTerms ?? [];
    return terms.length === 1 && terms.every(isEmpty) && 'NodeAffinity' in refused;
  },
  'an empty term beside one that matches': (asked, refused) => {
    const terms = affinity(asked)?.nodeSelectorTerms ?? [];
    return terms.some(isEmpty) && terms.length > 1 && isAffine(refused);
  },
  'a malformed term beside one that matches': (asked, refused) =>
    requirements(asked).some(({ operator }) => !OPERATORS.includes(operator)) && isAffine(refused),
  'a malformed term beside one that does not match': (asked, { NodeAffinity }) =>
    filledTerms(asked).length > 1 && NodeAffinity?.[0] === 'malformed',
  'several terms of which none matches': (asked, { NodeAffinity }) =>
    filledTerms(asked).length > 1 && NodeAffinity?.length === 0,
  'fields and expressions in one term': (asked, refused) =>
    filledTerms(asked).some((term) => term.matchFields?.length && term.matchExpressions?.length) &&
    isAffine(refused),
  'an os label is asked for': (asked, refused) =>
    'kubernetes.io/os' in (asked.pod.spec.nodeSelector ?? {}) && fits(refused),
  'an os label is refused': (_, { NodeSelector }) =>
    NodeSelector?.some((each) => each.startsWith('kubernetes.io/os=')) === true,
  'an arch is refused': (asked, refused) =>
    onlyExpression(asked)?.key === 'kubernetes.io/arch' && 'NodeAffinity' in refused,
  ...Object.fromEntries(
    ['NodeName', 'PodOS', 'NodeSelector', 'NodeAffinity', 'NodeUnschedulable', 'TaintToleration'].map(
      (predicate): [string, Branch] => [
        `${predicate} refuses alone`,
        (_, refused) => isAlone(predicate, refused),
      ],
    ),
  ),
  ...Object.fromEntries(OPERATORS.flatMap((operator) => outcomes('label', operator, onlyExpression))),
  ...Object.fromEntries(['In', 'NotIn'].flatMap((operator) => outcomes('field', operator, onlyField))),
  ...malformed(
    'an unknown operator',
    ({ operator, key }) => PLAIN_KEY.test(key) && !OPERATORS.includes(operator),
  ),
  ...malformed('a bad key', ({ operator, key, values }) => operator === 'Exists' && !!key && !values?.length),
  ...malformed('no key', ({ operator, key, values }) => operator === 'Exists' && !key && !values?.length),
  ...malformed(
    'no values',
    ({ operator, key, values }) => PLAIN_KEY.test(key) && operator === 'In' && !values?.length,
  ),
  ...malformed('values for none', ({ operator, key }) => PLAIN_KEY.test(key) && operator === 'Exists'),
  ...malformed(
    'a bad value',
    ({ operator, key, values }) => PLAIN_KEY.test(key) && operator === 'In' && !!values?.length,
  ),
  ...malformed('a number that is none', ({ operator, values }) => operator === 'Gt' && values?.length === 1),
  ...malformed('two numbers', ({ operator, values }) => operator === 'Lt' && values?.length === 2),
  'malformed: an operator that fields do not have': (asked, { NodeAffinity }) =>
    onlyField(asked)?.operator === 'Exists' && NodeAffinity?.[0] === 'malformed',
  ...Object.fromEntries([...WORKING_EFFECTS, ...OTHER_EFFECTS].flatMap(untolerated)),
  ...Object.fromEntries(
    ['Exists', 'Equal', '', undefined, 'Gt', 'Lt'].flatMap((each) => tolerations(each, true)),
  ),
  ...Object.fromEntries(['In', 'equal'].flatMap((each) => tolerations(each, false))),
  'a toleration without a key': (asked, refused) => {
    const { taint, toleration } = onlyTaint(asked);
    return !!taint && !!toleration && !toleration.key && toleration.operator === 'Exists' && fits(refused);
  },
  'a toleration of another effect': (asked, refused) => {
    const { taint, toleration } = onlyTaint(asked);
    return (
      !!taint &&
      !!toleration?.effect &&
      toleration.effect !== taint.effect &&
      isAlone('TaintToleration', refused)
    );
  },
};

function outcomes(
  of: string,
  operator: string,
  only: (asked: NodeCase) => NodeSelectorRequirement | undefined,
): [string, Branch][] {
  const mine = (asked: NodeCase) => only(asked)?.operator === operator;
  return [
    [`${of} ${operator} matches`, (asked, refused) => mine(asked) && isAffine(refused)],
    [
      `${of} ${operator} does not match`,
      (asked, { NodeAffinity }) => mine(asked) && NodeAffinity?.length === 0,
    ],
    [
      `${of} ${operator} is malformed`,
      (asked, { NodeAffinity }) => mine(asked) && NodeAffinity?.[0] === 'malformed',
    ],
  ];
}

function malformed(
  what: string,
  is: (requirement: NodeSelectorRequirement) => boolean,
): Record<string, Branch> {
  return {
    [`malformed: ${what}`]: (asked, { NodeAffinity }) => {
      const only = onlyExpression(asked);
      return only !== undefined && is(only) && NodeAffinity?.[0] === 'malformed';
    },
  };
}

/** What becomes of a pod without tolerations at a taint of an effect. */
function untolerated(effect: string): [string, Branch][] {
  const lone = (asked: NodeCase) => {
    const { taint, toleration } = onlyTaint(asked);
    const known = ['NoSchedule', 'NoExecute', 'PreferNoSchedule'].includes(taint?.effect ?? '');
    return !!taint && !toleration && (effect === 'unknown' ? !known : taint.effect === effect);
  };
  const scheduler = WORKING_EFFECTS.includes(effect);
  const kubelet = effect === 'NoExecute';
  const as = (refuses: boolean, refused: Refusals) => refuses === 'TaintToleration' in refused;
  return [
    [
      `the scheduler ${scheduler ? 'minds' : 'bears'} effect ${effect}`,
      (asked, refused) => lone(asked) && !isBound(asked) && as(scheduler, refused),
    ],
    [
      `the kubelet ${kubelet ? 'minds' : 'bears'} effect ${effect}`,
      (asked, refused) => lone(asked) && isBound(asked) && as(kubelet, refused),
    ],
  ];
}

function tolerations(operator: string | undefined, may: boolean): [string, Branch][] {
  const alike = (asked: NodeCase) => {
    const { taint, toleration } = onlyTaint(asked);
    const working = WORKING_EFFECTS.includes(taint?.effect ?? '') && !isBound(asked);
    return !!toleration && toleration.operator === operator && taint?.key === toleration.key && working;
  };
  const name = operator === undefined ? 'no operator' : `operator "${operator}"`;
  const not: [string, Branch] = [
    `a toleration with ${name} does not tolerate`,
    (asked, refused) => alike(asked) && 'TaintToleration' in refused,
  ];
  const does: [string, Branch] = [
    `a toleration with ${name} tolerates`,
    (asked, refused) => alike(asked) && !('TaintToleration' in refused) && !('RuntimeClass' in refused),
  ];
  return may ? [does, not] : [not];
}

function isBound({ pod }: NodeCase): boolean {
  return !!pod.spec.nodeName;
}

function isCordoned({ node }: NodeCase): boolean {
  return node.spec?.unschedulable === true;
}

function fits(refused: Refusals): boolean {
  return Object.keys(refused).length === 0;
}

function isAlone(predicate: string, refused: Refusals): boolean {
  return Object.keys(refused).join() === predicate;
}

function isAffine(refused: Refusals): boolean {
  return !('NodeAffinity' in refused) && !('RuntimeClass' in refused);
}

function affinity({ pod }: NodeCase) {
  return pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
}

function isEmpty({ matchExpressions, matchFields }: NodeSelectorTerm): boolean {
  return !matchExpressions?.length && !matchFields?.length;
}

function filledTerms(asked: NodeCase): NodeSelectorTerm[] {
  return (affinity(asked)?.nodeSelectorTerms ?? []).filter((term) => !isEmpty(term));
}

function requirements(asked: NodeCase): NodeSelectorRequirement[] {
  return filledTerms(asked).flatMap((term) => [
    ...(term.matchExpressions ?? []),
    ...(term.matchFields ?? []),
  ]);
}

function onlyExpression(asked: NodeCase): NodeSelectorRequirement | undefined {
  const [expression] = filledTerms(asked)[0]?.matchExpressions ?? [];
  return requirements(asked).length === 1 ? expression : undefined;
}

function onlyField(asked: NodeCase): NodeSelectorRequirement | undefined {
  const [field] = filledTerms(asked)[0]?.matchFields ?? [];
  return requirements(asked).length === 1 ? field : undefined;
}

/** The taint of a node that has one, and the toleration of a pod that has one or none. */
function onlyTaint({ pod, node, runtimeClass }: NodeCase) {
  const taints = node.spec?.taints ?? [];
  const tolerated = [...(pod.spec.tolerations ?? []), ...(runtimeClass?.scheduling?.tolerations ?? [])];
  return tolerated.length > 1 || taints.length > 1 ? {} : { taint: taints[0], toleration: tolerated[0] };
}
