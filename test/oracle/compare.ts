import { createNodeIndex } from '../../src/domain/node-index.ts';
import { compileRuntimeMatcher, fittingNodes } from '../../src/domain/runtime-class.ts';
import { trimNode } from '../../src/domain/trim-node.ts';
import { planOf, readWorkload } from '../../src/domain/workload.ts';
import { typeOf, workloadTypes } from '../../src/domain/workload-types.ts';
import type { NodeCase } from './node-cases.ts';
import type { Refusals } from './oracle.ts';

const TYPES = workloadTypes([]);
const DEPLOYMENT = typeOf(TYPES, 'apps/v1', 'Deployment');

/** Which predicate each of our reasons speaks of, and what of it the oracle has to name too. */
const REASONS: [predicate: string, pattern: RegExp][] = [
  ['RuntimeClass', /^RuntimeClass kata (not found|conflict)s?/],
  ['NodeName', /^pod is bound to node (.*)$/s],
  ['PodOS', /^node runs (.*), pod needs /s],
  ['NodeSelector', /^(?:RuntimeClass kata: )?node selector (.*) does not match$/s],
  ['NodeAffinity', /^(?:none of \d+ )?node affinity /],
  ['NodeUnschedulable', /^node is cordoned$/],
  ['TaintToleration', /^taint (.*) is not tolerated$/s],
];

/** In what IPS and the oracle differ about a node: whether it fits, or why not. Undefined where they agree. */
export function disagreement(asked: NodeCase, refusals: Refusals): string | undefined {
  const { reason, listed } = answerOf(asked);
  const wrong = wrongReason(asked, reason, refusals);
  if (wrong || listed === (reason === undefined)) return wrong;
  return `IPS's index ${listed ? 'takes' : 'leaves out'} the node, its matcher rightly says "${reason ?? 'it fits'}"`;
}

function wrongReason(asked: NodeCase, reason: string | undefined, refusals: Refusals): string | undefined {
  const by = JSON.stringify(refusals);
  const fits = Object.keys(refusals).length === 0;
  if (reason === undefined) return fits ? undefined : `IPS takes the node, refused by ${by}`;
  if (fits) return `IPS says "${reason}", but the node fits`;
  const [predicate, detail] = causeOf(reason);
  const named = refusals[predicate];
  if (!named) return `IPS says "${reason}", refused by ${by}`;
  const right = predicate === 'NodeAffinity' ? malformedAlike(asked, reason, named) : namesOne(detail, named);
  return right ? undefined : `IPS says "${reason}", for a wrong cause: ${by}`;
}

/** What IPS makes of a node, on the way that every workload takes: why it does not fit, and whether it is listed. */
function answerOf({ pod, node, runtimeClass }: NodeCase): { reason: string | undefined; listed: boolean } {
  if (!DEPLOYMENT) throw new Error('a Deployment is no workload any more');
  const deployment = { metadata: { name: 'web' }, spec: { template: { spec: pod.spec } } };
  const { requirements, pull } = planOf(readWorkload(TYPES, DEPLOYMENT, deployment));
  const { runtimeClassName } = pull;
  // The matcher reads a node as it comes, from a file; the index what the controller keeps of it.
  const index = createNodeIndex([trimNode(node)]);
  return {
    reason: compileRuntimeMatcher(requirements, runtimeClassName, runtimeClass)(node),
    listed: fittingNodes(index, requirements, runtimeClassName, runtimeClass).length > 0,
  };
}

function causeOf(reason: string): [predicate: string, detail: string | undefined] {
  for (const [predicate, pattern] of REASONS) {
    const match = pattern.exec(reason);
    if (match) return [predicate, match[1]];
  }
  throw new Error(`no predicate is known for the reason "${reason}"`);
}

function namesOne(detail: string | undefined, named: string[]): boolean {
  return detail === undefined || named.includes(detail);
}

/** The library has an error where any term is malformed and none matches; ours is of the first term that counts. */
function malformedAlike({ pod }: NodeCase, reason: string, named: string[]): boolean {
  const required = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const counting = (required?.nodeSelectorTerms ?? []).filter(
    ({ matchExpressions, matchFields }) => matchExpressions?.length || matchFields?.length,
  );
  const malformed = named.includes('malformed');
  const says = reason.endsWith(' is malformed');
  return says === malformed || (malformed && counting.length > 1);
}

/** The line by which `ips plan --stream` is asked the same. */
export function streamLine({ pod, node, runtimeClass }: NodeCase, id: number): string {
  const podSpec = { ...pod.spec, containers: [{ name: 'main', image: 'app:1' }] };
  return JSON.stringify({ id, podSpec, nodes: [node], runtimeClasses: runtimeClass ? [runtimeClass] : [] });
}

/** As `disagreement`, of its answer. That nothing can be pulled to Windows nodes is a rule of our own. */
export function streamDisagreement(line: string, refusals: Refusals): string | undefined {
  const { nodes, skipped, error } = JSON.parse(line) as {
    nodes?: string[];
    skipped?: { reason: string }[];
    error?: string;
  };
  if (error !== undefined || !nodes) return line;
  if (skipped?.[0]?.reason.startsWith('Windows nodes')) return undefined;
  const fits = Object.keys(refusals).length === 0;
  return (nodes.length === 1) === fits ? undefined : `${line}, refused by ${JSON.stringify(refusals)}`;
}
