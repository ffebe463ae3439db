import { createHash } from 'node:crypto';
import type { NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Toleration } from './kubernetes.ts';
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
  /** Set where an image is pulled at every start: then each new template is new work. */
  templateHash?: string;
};

/** The same for workloads that need the same pulls on the same nodes, however they write it. 32 hex digits. */
export function fingerprint(input: FingerprintInput): string {
  return sha256(
    stableJson({
      ...input,
      images: input.images.map((image) => stableJson(image)).sort(),
      pull: { ...input.pull, imagePullSecrets: [...input.pull.imagePullSecrets].sort() },
      requirements: canonicalRequirements(input.requirements),
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

/** JSON whose object keys are sorted, without absent values. */
export function stableJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (inner === null || typeof inner !== 'object' || Array.isArray(inner)) return inner;
    const entries = Object.entries(inner).filter(([, each]) => each !== undefined);
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  });
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

function canonicalAffinity(affinity: NodeSelector): string[] {
  return unique((affinity.nodeSelectorTerms ?? []).map(canonicalTerm));
}

function canonicalTerm(term: NodeSelectorTerm): unknown {
  const expressions = (list: NodeSelectorRequirement[] | undefined) =>
    list?.length
      ? unique(list.map((each) => ({ ...each, values: each.values && [...new Set(each.values)].sort() })))
      : undefined;
  return { matchExpressions: expressions(term.matchExpressions), matchFields: expressions(term.matchFields) };
}

/** For how long a NoExecute taint is borne does not change which nodes are fit. */
function canonicalToleration(toleration: Toleration): unknown {
  const { key, operator, value, effect } = toleration;
  return {
    key: key || undefined,
    operator: operator || 'Equal',
    value: value || undefined,
    effect: effect || undefined,
  };
}

function unique(values: unknown[]): string[] {
  return [...new Set(values.map(stableJson))].sort();
}
