import { createHash } from 'node:crypto';
import type { NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Toleration } from './kubernetes.ts';
import type { NodePreferences } from './node-choice.ts';
import type { NodeRequirements } from './node-matching.ts';
import type { TaskImage } from './prewarm-task.ts';

export type PullIdentity = {
  imagePullSecrets: string[];
  serviceAccountName?: string;
  runtimeClassName?: string;
};

export type FingerprintInput = {
  namespace: string;
  images: TaskImage[];
  pull: PullIdentity;
  requirements: NodeRequirements;
  maxNodes?: string;
  /** Set only with `maxNodes`: which nodes come first decides where images are pulled. */
  preferences?: NodePreferences;
  /** Set where an image is pulled at every start: then each new template is new work. */
  templateHash?: string;
};

/** The same for workloads that need the same pulls on the same nodes, however they write it. 32 hex digits. */
export function fingerprint(input: FingerprintInput): string {
  return sha256(
    stableJson({
      ...input,
      images: unique(input.images),
      pull: canonicalPull(input.pull),
      requirements: canonicalRequirements(input.requirements),
      maxNodes: input.maxNodes === '100%' ? undefined : input.maxNodes,
      preferences: input.preferences && canonicalPreferences(input.preferences),
    }),
  ).slice(0, 32);
}

/** Every replica gives the same fingerprint the same name, so they cannot make two. */
export function taskName(print: string): string {
  return `ips-${print.slice(0, 12)}`;
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Deeper than any pod template; a custom resource may be nested deeper than the stack goes. */
const MAX_DEPTH = 1000;

/** JSON whose object keys are sorted, without absent values, and null for what is nested deeper than MAX_DEPTH. */
export function stableJson(value: unknown): string {
  return writeStable(value, 0);
}

function writeStable(value: unknown, depth: number): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  if (depth > MAX_DEPTH) return 'null';
  if (Array.isArray(value)) return `[${value.map((each) => writeStable(each, depth + 1)).join()}]`;
  const fields = value as Record<string, unknown>;
  const names = Object.keys(fields).filter((name) => fields[name] !== undefined);
  const entries = names
    .sort()
    .map((name) => `${JSON.stringify(name)}:${writeStable(fields[name], depth + 1)}`);
  return `{${entries.join()}}`;
}

/** Pods without a service account run as the namespace's `default`. */
function canonicalPull({ imagePullSecrets, serviceAccountName, ...rest }: PullIdentity): unknown {
  return {
    ...rest,
    imagePullSecrets: [...new Set(imagePullSecrets)].sort(),
    serviceAccountName: serviceAccountName === 'default' ? undefined : serviceAccountName,
  };
}

/** Order never matters to the scheduler: not of terms, expressions, values or tolerations, nor repeats of them. */
function canonicalRequirements(requirements: NodeRequirements): unknown {
  const { nodeSelector, nodeAffinity, tolerations, ...rest } = requirements;
  return {
    ...rest,
    nodeSelector: nodeSelector && Object.keys(nodeSelector).length > 0 ? nodeSelector : undefined,
    nodeAffinity: nodeAffinity && canonicalAffinity(nodeAffinity),
    tolerations: tolerations?.length ? unique(tolerations.map(canonicalToleration)) : undefined,
  };
}

/** A term without requirements matches nothing, as if it were not there. */
function canonicalAffinity({ nodeSelectorTerms = [] }: NodeSelector): string[] {
  const terms = nodeSelectorTerms.filter((term) => term.matchExpressions?.length || term.matchFields?.length);
  return unique(terms.map(canonicalTerm));
}

/** Two equal terms weigh twice, so they stay two. */
function canonicalPreferences({ nodeAffinity, topologySpreadConstraints }: NodePreferences): unknown {
  const terms = nodeAffinity?.map(({ weight, preference }) => ({ weight, ...canonicalTerm(preference) }));
  return {
    nodeAffinity: terms?.map(stableJson).sort(),
    topologySpreadConstraints: topologySpreadConstraints?.map(stableJson).sort(),
  };
}

function canonicalTerm(term: NodeSelectorTerm): object {
  const { matchExpressions, matchFields } = term;
  return {
    matchExpressions: matchExpressions?.length
      ? unique(matchExpressions.map(canonicalExpression))
      : undefined,
    matchFields: matchFields?.length ? unique(matchFields.map(canonicalRequirement)) : undefined,
  };
}

/** A value twice is one where any number may stand; what takes a single one is malformed with two alike. */
function canonicalExpression(requirement: NodeSelectorRequirement): unknown {
  const { operator, values = [] } = requirement;
  const isSet = operator === 'In' || operator === 'NotIn';
  return canonicalRequirement(isSet ? { ...requirement, values: [...new Set(values)] } : requirement);
}

function canonicalRequirement({ values, ...rest }: NodeSelectorRequirement): unknown {
  return { ...rest, values: values?.length ? values.toSorted() : undefined };
}

/** For how long a NoExecute taint is borne does not change which nodes are fit. */
function canonicalToleration(toleration: Toleration): unknown {
  const { key, operator, value, effect } = toleration;
  return {
    key: key || undefined,
    operator: operator || 'Equal',
    value: (operator !== 'Exists' && value) || undefined,
    effect: effect || undefined,
  };
}

function unique(values: unknown[]): string[] {
  return [...new Set(values.map(stableJson))].sort();
}
