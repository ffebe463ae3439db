import { isOptedIn, PREWARM, parseSettings, type Settings } from './annotations.ts';
import { fingerprint, type PullIdentity, sha256, stableJson } from './fingerprint.ts';
import { parseImageReference, pullPolicyOf } from './image-reference.ts';
import type { Container, KubernetesObject, ObjectMeta, OwnerReference, PodSpec } from './kubernetes.ts';
import { readManagedFields, readMetadata, unreadAnnotations } from './metadata.ts';
import type { NodePreferences } from './node-choice.ts';
import type { NodeRequirements } from './node-matching.ts';
import { preferencesOf } from './node-preferences.ts';
import { readPodSpec } from './pod-spec.ts';
import type { TaskImage } from './prewarm-task.ts';
import { quote } from './quote.ts';
import { readStrings, record } from './unchecked.ts';

export type WorkloadKind = 'Deployment' | 'Pod';

export const WORKLOAD_API_VERSIONS: Record<WorkloadKind, string> = { Deployment: 'apps/v1', Pod: 'v1' };

/** What IPS keeps of a workload. */
export type Workload = {
  apiVersion: string;
  kind: WorkloadKind;
  metadata: ObjectMeta;
  template: {
    annotations: Record<string, string>;
    /** Of the pods; of a workload that is a pod, none. */
    labels: Record<string, string>;
    spec: PodSpec;
    /** What of the spec could not be read. */
    warnings: string[];
  };
  /** Of the pod template as stored; pods have none. */
  templateHash?: string;
  /** A pod that ended has nothing left to start. */
  finished: boolean;
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
/** As many, and as long, as the schema of PrewarmTask takes. */
const MAX_IMAGES = 100;
const MAX_IMAGE_LENGTH = 512;
/** With the longest tag beside the longest digest, of which only one is kept. */
const MAX_WRITTEN_LENGTH = 1024;
const MAX_PULL_SECRETS = 20;

export function isWorkloadKind(kind: unknown): kind is WorkloadKind {
  return kind === 'Deployment' || kind === 'Pod';
}

/** The kinds, for a sentence. */
export function workloadKinds(): string {
  return Object.keys(WORKLOAD_API_VERSIONS).join(', ');
}

/** A pod of a Deployment is the Deployment's matter: it inherits the annotations, and must not count again. */
export function isControlledByBuiltIn(owners: OwnerReference[] | undefined): boolean {
  return (owners ?? []).some(
    (owner) => owner.controller === true && BUILT_IN_GROUPS.includes(owner.apiVersion),
  );
}

/** Of an object of which nothing is known: what cannot be read is left out (pod-spec.ts). */
export function workloadOf(kind: WorkloadKind, object: KubernetesObject): Workload {
  const workload = readWorkload(kind, object);
  const template = kind === 'Pod' ? undefined : templateOf(object);
  return kind === 'Pod' ? workload : { ...workload, templateHash: sha256(stableJson(template ?? {})) };
}

/** As `workloadOf`, without the hash, which takes as long as all the rest and serves the fingerprint alone. */
export function readWorkload(kind: WorkloadKind, object: KubernetesObject): Workload {
  const metadata = readMetadata(object.metadata);
  const apiVersion = WORKLOAD_API_VERSIONS[kind];
  if (kind === 'Pod') {
    const { spec, status } = object as { spec?: unknown; status?: unknown };
    const read = readPodSpec(spec);
    if (read.spec.nodeName && !wishedForItsNode(object)) delete read.spec.nodeName;
    const phase = record(status)?.['phase'];
    const finished = phase === 'Succeeded' || phase === 'Failed';
    return { apiVersion, kind, metadata, template: { annotations: {}, labels: {}, ...read }, finished };
  }
  const template = templateOf(object);
  const { annotations = {} } = readMetadata(template?.['metadata']);
  const labels = readStrings(record(template?.['metadata'])?.['labels']) ?? {};
  const { spec, warnings } = readPodSpec(template?.['spec']);
  warnings.unshift(...unreadAnnotations(template?.['metadata']));
  return { apiVersion, kind, metadata, template: { annotations, labels, spec, warnings }, finished: false };
}

function templateOf(object: KubernetesObject): Record<string, unknown> | undefined {
  return record(record((object as { spec?: unknown }).spec)?.['template']);
}

export function wantsPrewarm(workload: Workload): boolean {
  if (workload.finished || workload.metadata.deletionTimestamp) return false;
  if (isControlledByBuiltIn(workload.metadata.ownerReferences)) return false;
  return isOptedIn(workload.metadata.annotations, workload.template.annotations);
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
  const preferences = limited ? preferencesOf(spec, podLabels(workload)) : undefined;
  const everyStart = images.some((image) => image.pullPolicy === 'Always');
  const print = fingerprint({
    namespace: workload.metadata.namespace ?? '',
    images,
    pull,
    requirements,
    ...(settings.maxNodes ? { maxNodes: settings.maxNodes } : {}),
    ...(preferences ? { preferences } : {}),
    ...(everyStart && workload.templateHash ? { templateHash: workload.templateHash } : {}),
  });
  return {
    ...{ fingerprint: print, images, pull, requirements, settings, warnings },
    ...(preferences ? { preferences } : {}),
  };
}

function podLabels({ kind, metadata, template }: Workload): Record<string, string> {
  return kind === 'Pod' ? (metadata.labels ?? {}) : template.labels;
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

function collectImages(spec: PodSpec, settings: Settings, warnings: string[]): TaskImage[] {
  const images = new Map<string, TaskImage>();
  const add = (where: string, text: string | undefined, policy: string | undefined): void => {
    // With Never the kubelet would not pull for the pod either.
    if (!text || policy === 'Never') return;
    if (text.length > MAX_WRITTEN_LENGTH) {
      warnings.push(`${where}: image ${quote(text)} is left out: it is longer than any reference`);
      return;
    }
    const parsed = parseImageReference(text);
    if (!parsed.ok) {
      warnings.push(`${where}: image ${quote(text)} is left out: ${parsed.reason}`);
      return;
    }
    const { canonical } = parsed.reference;
    if (canonical.length > MAX_IMAGE_LENGTH || (images.size >= MAX_IMAGES && !images.has(canonical))) {
      const limit = `a task takes ${MAX_IMAGES} images of ${MAX_IMAGE_LENGTH} characters`;
      warnings.push(`${where}: image ${quote(text)} is left out: ${limit}`);
      return;
    }
    const always = (policy || pullPolicyOf(parsed.reference)) === 'Always';
    const pullPolicy = always || images.get(canonical)?.pullPolicy === 'Always' ? 'Always' : 'IfNotPresent';
    images.set(canonical, { image: canonical, pullPolicy });
  };
  const containers: Container[] = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
  const excluded = new Set(settings.excludeContainers);
  const names = new Set(containers.map(({ name }) => name));
  for (const { name, image, imagePullPolicy } of containers) {
    if (!excluded.has(name)) add(`container ${shown(name)}`, image, imagePullPolicy);
  }
  for (const name of excluded) {
    if (!names.has(name))
      warnings.push(`annotation ips/exclude-containers: there is no container ${shown(name)}`);
  }
  for (const volume of spec.volumes ?? []) {
    if (volume.image) add(`volume ${shown(volume.name)}`, volume.image.reference, volume.image.pullPolicy);
  }
  for (const text of settings.extraImages) add('annotation ips/extra-images', text, 'IfNotPresent');
  return [...images.values()].sort((a, b) => (a.image < b.image ? -1 : 1));
}

/** A name that the API server takes stands as it is. */
function shown(name: string): string {
  return /^[\w.-]{1,63}$/.test(name) ? name : quote(name);
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
