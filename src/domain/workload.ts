import { isOptedIn, PREWARM, parseSettings, type Settings, WARMER_LABEL } from './annotations.ts';
import { fingerprint, type PullIdentity, sha256, stableJson } from './fingerprint.ts';
import type { KubernetesObject, ObjectMeta, OwnerReference, PodSpec } from './kubernetes.ts';
import { readManagedFields, readMetadata, unreadAnnotations } from './metadata.ts';
import type { NodePreferences } from './node-choice.ts';
import type { NodeRequirements } from './node-matching.ts';
import { preferencesOf } from './node-preferences.ts';
import { readPodSpec } from './pod-spec.ts';
import type { TaskImage } from './prewarm-task.ts';
import { readStrings, record } from './unchecked.ts';
import { collectImages } from './workload-images.ts';
import { templateAt, typeOf, type WorkloadType, type WorkloadTypes } from './workload-types.ts';

/** What IPS keeps of a workload. */
export type Workload = {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  template: {
    annotations: Record<string, string>;
    /** Of the pods. */
    labels: Record<string, string>;
    spec: PodSpec;
    /** What of the spec could not be read. */
    warnings: string[];
  };
  /** Of the pod template as its user wrote it, where an image is pulled at every start; pods have none. */
  templateHash?: string;
  /** One that ended has nothing left to start. */
  finished: boolean;
  /** It is another's, who starts pods by it: whether it is warm is that one's matter. */
  controlled: boolean;
};

/** What a workload needs: images, how they are pulled, and where. */
export type PrewarmPlan = {
  fingerprint: string;
  images: TaskImage[];
  pull: PullIdentity;
  requirements: NodeRequirements;
  /** Only where there is a limit: without one they decide nothing. */
  preferences?: NodePreferences;
  settings: Settings;
  warnings: string[];
};

/** The limit that is none: it takes all nodes. */
const ALL_NODES = '100%';
const BUILT_IN_GROUPS = ['v1', 'apps/v1', 'batch/v1'];
/** Of a Job's template when it is made, and of a ReplicaSet's that a Deployment made and let go of. */
const CONTROLLERS_LABELS = [
  ...['controller-uid', 'job-name', 'pod-template-hash'],
  ...['batch.kubernetes.io/controller-uid', 'batch.kubernetes.io/job-name'],
];
/** As many as the schema of PrewarmTask takes. */
const MAX_PULL_SECRETS = 20;

/**
 * Whether an object belongs to a controller that starts pods: one of Kubernetes' own, or of a type that the operator
 * named. It inherits the annotations, or is made from the same template, and must not count again.
 */
export function isControlled(types: WorkloadTypes, owners: OwnerReference[] | undefined): boolean {
  return (owners ?? []).some(
    (owner) =>
      owner.controller === true &&
      (BUILT_IN_GROUPS.includes(owner.apiVersion) || typeOf(types, owner.apiVersion, owner.kind)),
  );
}

/** Of an object of which nothing is known: what cannot be read is left out (pod-spec.ts). Lists do not name its kind. */
export function workloadOf(types: WorkloadTypes, type: WorkloadType, object: KubernetesObject): Workload {
  const workload = readWorkload(types, type, object);
  // It takes many times as long as all the rest.
  if (isPod(type) || !pulledAtEveryStart(imagesOf(workload).images)) return workload;
  const template = templateAt(object, type.templatePath) ?? {};
  return { ...workload, templateHash: sha256(stableJson(asWritten(template))) };
}

/** As `workloadOf`, without the hash, which serves the fingerprint alone. */
export function readWorkload(types: WorkloadTypes, type: WorkloadType, object: KubernetesObject): Workload {
  const { apiVersion, kind } = type;
  const metadata = readMetadata(object.metadata);
  return {
    ...{ apiVersion, kind, metadata },
    template: isPod(type) ? ownTemplate(object) : readTemplate(type, templateAt(object, type.templatePath)),
    finished: type.isFinished?.(object) ?? false,
    controlled: isControlled(types, metadata.ownerReferences),
  };
}

function isPod(type: WorkloadType): boolean {
  return type.templatePath.length === 0;
}

function ownTemplate(pod: KubernetesObject): Workload['template'] {
  const read = readPodSpec((pod as { spec?: unknown }).spec);
  if (read.spec.nodeName && !wishedForItsNode(pod)) delete read.spec.nodeName;
  return { annotations: {}, labels: podLabels(pod.metadata), ...read };
}

function readTemplate(type: WorkloadType, template: Record<string, unknown> = {}): Workload['template'] {
  const { annotations = {} } = readMetadata(template['metadata']);
  const { spec, warnings } = readPodSpec(template['spec']);
  warnings.unshift(...unreadAnnotations(template['metadata']));
  const labels = podLabels(template['metadata']);
  return { annotations, labels, spec: type.podSpec?.(spec) ?? spec, warnings };
}

/** All of them, by which spread constraints count pods: of a workload's own labels only those of IPS are kept. */
function podLabels(metadata: unknown): Record<string, string> {
  return readStrings(record(metadata)?.['labels']) ?? {};
}

/** Without the labels by which controllers tell their pods apart: the same template has the same hash in every object. */
function asWritten(template: Record<string, unknown>): object {
  const metadata = record(template['metadata']);
  const labels = record(metadata?.['labels']);
  if (!labels || !CONTROLLERS_LABELS.some((name) => Object.hasOwn(labels, name))) return template;
  const own = Object.entries(labels).filter(([name]) => !CONTROLLERS_LABELS.includes(name));
  return { ...template, metadata: { ...metadata, labels: Object.fromEntries(own) } };
}

export function wantsPrewarm(workload: Workload): boolean {
  const { labels, annotations, deletionTimestamp } = workload.metadata;
  if (workload.finished || workload.controlled || deletionTimestamp) return false;
  if (labels?.[WARMER_LABEL] === 'true') return false;
  return isOptedIn(annotations, workload.template.annotations);
}

export function carriesLabel(workload: Workload): boolean {
  return workload.metadata.labels?.[PREWARM] === 'true';
}

/** The images of a workload and what its user asks for. Whatever is wrong becomes a warning, and the rest goes on. */
export function imagesOf(workload: Workload): {
  images: TaskImage[];
  settings: Settings;
  warnings: string[];
} {
  const { spec, annotations } = workload.template;
  const { settings, warnings } = parseSettings(workload.metadata.annotations, annotations);
  warnings.push(...workload.template.warnings);
  return { images: collectImages(spec, settings, warnings), settings, warnings };
}

function pulledAtEveryStart(images: TaskImage[]): boolean {
  return images.some(({ pullPolicy }) => pullPolicy === 'Always');
}

/** Derives what has to be where. */
export function planOf(workload: Workload): PrewarmPlan {
  const { spec } = workload.template;
  const { images, settings, warnings } = imagesOf(workload);
  const pull: PullIdentity = {
    imagePullSecrets: [...new Set((spec.imagePullSecrets ?? []).flatMap(({ name }) => name || []))].slice(
      0,
      MAX_PULL_SECRETS,
    ),
    ...(spec.serviceAccountName ? { serviceAccountName: spec.serviceAccountName } : {}),
    ...(spec.runtimeClassName ? { runtimeClassName: spec.runtimeClassName } : {}),
  };
  const requirements = requirementsOf(spec);
  const limited = settings.maxNodes !== undefined && settings.maxNodes !== ALL_NODES;
  const preferences = limited ? preferencesOf(spec, workload.template.labels) : undefined;
  const print = fingerprint({
    namespace: workload.metadata.namespace ?? '',
    images,
    pull,
    requirements,
    ...(settings.maxNodes ? { maxNodes: settings.maxNodes } : {}),
    ...(preferences ? { preferences } : {}),
    ...(workload.templateHash ? { templateHash: workload.templateHash } : {}),
  });
  return {
    ...{ fingerprint: print, images, pull, requirements, settings, warnings },
    ...(preferences ? { preferences } : {}),
  };
}

const plans = new WeakMap<Workload, PrewarmPlan>();

/**
 * As `planOf`, and remembered: with every change of a task each of its owners asks for the plans of all of them. A
 * workload is replaced, never changed.
 */
export function planOfKept(workload: Workload): PrewarmPlan {
  const known = plans.get(workload);
  if (known) return known;
  const plan = planOf(workload);
  plans.set(workload, plan);
  return plan;
}

function requirementsOf(spec: PodSpec): NodeRequirements {
  const affinity = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return {
    ...(spec.nodeName ? { nodeName: spec.nodeName } : {}),
    ...(spec.nodeSelector ? { nodeSelector: spec.nodeSelector } : {}),
    ...(affinity ? { nodeAffinity: affinity } : {}),
    ...(spec.tolerations ? { tolerations: spec.tolerations } : {}),
    ...(spec.os?.name ? { os: spec.os.name } : {}),
  };
}

/**
 * Where the scheduler put a pod is an answer, not a wish. Binding leaves no trace in `managedFields` (the API server's
 * binding REST handler writes the store directly), whereas a user who sets `spec.nodeName` owns the field.
 */
function wishedForItsNode(pod: KubernetesObject): boolean {
  return readManagedFields(pod.metadata).some(({ subresource, fieldsV1 }) => {
    const fields = subresource ? undefined : record(fieldsV1?.['f:spec']);
    return fields !== undefined && Object.hasOwn(fields, 'f:nodeName');
  });
}
