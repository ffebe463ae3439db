import type { KubernetesNode, PodSpec, TopologySpreadConstraint } from './kubernetes.ts';
import type { NodePreferences } from './node-choice.ts';
import { compileNodeMatcher } from './node-matching.ts';
import type { SpreadConstraint } from './topology-spread.ts';

/** As many as the schema of PrewarmTask takes: every node that is taken asks all of them anew about all places. */
const MAX_CONSTRAINTS = 10;

/**
 * What decides under a limit which nodes come first, out of a pod template; undefined where it prefers nothing. What
 * the API server would refuse, in a custom resource that nobody checked, is left out.
 */
export function preferencesOf(spec: PodSpec, podLabels: Record<string, string>): NodePreferences | undefined {
  const terms = (spec.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).filter(
    ({ weight, preference }) =>
      isWithin(weight, 1, 100) && (preference.matchExpressions?.length || preference.matchFields?.length),
  );
  const constraints = spec.topologySpreadConstraints ?? [];
  const counting = constraints
    .filter((each) => isValid(each) && countsOwnPods(each, podLabels))
    .slice(0, MAX_CONSTRAINTS);
  const preferences: NodePreferences = {
    ...(terms.length > 0 ? { nodeAffinity: terms } : {}),
    // An empty list is not the same as none: it keeps the scheduler's own constraints away.
    ...(constraints.length > 0 ? { topologySpreadConstraints: counting.map(effective) } : {}),
  };
  return Object.keys(preferences).length > 0 ? preferences : undefined;
}

function isWithin(value: unknown, least: number, most: number): boolean {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
}

const MAX_INT32 = 2 ** 31 - 1;
const ACTIONS = ['DoNotSchedule', 'ScheduleAnyway'];

function isValid({ topologyKey, maxSkew, whenUnsatisfiable }: TopologySpreadConstraint): boolean {
  return topologyKey !== '' && isWithin(maxSkew, 1, MAX_INT32) && ACTIONS.includes(whenUnsatisfiable);
}

/**
 * One that counts other pods says nothing of where ours are spread, and a selector that is empty counts none
 * (`countPodsMatchSelector`). A key of `matchLabelKeys` asks for the pod's own value, which it has.
 */
function countsOwnPods(
  { labelSelector, matchLabelKeys = [] }: TopologySpreadConstraint,
  labels: Record<string, string>,
): boolean {
  if (!labelSelector) return false;
  const { matchLabels = {}, matchExpressions = [] } = labelSelector;
  const requirements = [
    ...Object.entries(matchLabels).map(([key, value]) => ({ key, operator: 'In', values: [value] })),
    ...matchExpressions,
  ];
  if (requirements.length === 0) return matchLabelKeys.some((key) => Object.hasOwn(labels, key));
  // The grammar of selectors is one, whether of nodes or of pods.
  const fits = compileNodeMatcher({
    nodeAffinity: { nodeSelectorTerms: [{ matchExpressions: requirements }] },
  });
  const pod: KubernetesNode = { metadata: { labels } };
  return fits(pod) === undefined;
}

/** What says where the pods may go, without what is as it would be anyway. */
function effective(constraint: TopologySpreadConstraint): SpreadConstraint {
  const { topologyKey, maxSkew, whenUnsatisfiable, minDomains } = constraint;
  const { nodeAffinityPolicy, nodeTaintsPolicy } = constraint;
  const hard = whenUnsatisfiable === 'DoNotSchedule';
  return {
    ...{ topologyKey, maxSkew, whenUnsatisfiable },
    ...(hard && isWithin(minDomains, 2, MAX_INT32) ? { minDomains: minDomains as number } : {}),
    ...(hard && nodeAffinityPolicy === 'Ignore' ? { nodeAffinityPolicy } : {}),
    ...(hard && nodeTaintsPolicy === 'Honor' ? { nodeTaintsPolicy } : {}),
  };
}
