import { isOptedIn, PREWARM, parseSettings, type Settings } from './annotations.ts';
import { fingerprint, type PullIdentity, sha256, stableJson } from './fingerprint.ts';
import { parseImageReference, pullPolicyOf } from './image-reference.ts';
import type {
  Container,
  Deployment,
  KubernetesObject,
  ObjectMeta,
  OwnerReference,
  Pod,
  PodSpec,
} from './kubernetes.ts';
import type { NodeRequirements } from './node-matching.ts';
import type { TaskImage } from './prewarm-task.ts';

export type WorkloadKind = 'Deployment' | 'Pod';

export const WORKLOAD_API_VERSIONS: Record<WorkloadKind, string> = { Deployment: 'apps/v1', Pod: 'v1' };

/** What IPS keeps of a workload. */
export type Workload = {
  apiVersion: string;
  kind: WorkloadKind;
  metadata: ObjectMeta;
  template: { annotations: Record<string, string>; spec: PodSpec };
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
  settings: Settings;
  warnings: string[];
};

const BUILT_IN_GROUPS = ['v1', 'apps/v1', 'batch/v1'];
const NOTHING: PodSpec = {};
/** As many, and as long, as the schema of PrewarmTask takes. */
const MAX_IMAGES = 100;
const MAX_IMAGE_LENGTH = 512;
const MAX_PULL_SECRETS = 20;

export function isWorkloadKind(kind: unknown): kind is WorkloadKind {
  return kind === 'Deployment' || kind === 'Pod';
}

/** A pod of a Deployment is the Deployment's matter: it inherits the annotations, and must not count again. */
export function isControlledByBuiltIn(owners: OwnerReference[] | undefined): boolean {
  return (owners ?? []).some(
    (owner) => owner.controller === true && BUILT_IN_GROUPS.includes(owner.apiVersion),
  );
}

export function workloadOf(kind: WorkloadKind, object: KubernetesObject): Workload {
  const { name, namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp } = object.metadata;
  const { labels, annotations, ownerReferences, generation } = object.metadata;
  const metadata = JSON.parse(
    JSON.stringify({
      ...{ name, namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp },
      ...{ labels, annotations, ownerReferences, generation },
    }),
  ) as ObjectMeta;
  const apiVersion = WORKLOAD_API_VERSIONS[kind];
  if (kind === 'Pod') {
    const { spec, status } = object as Pod;
    const finished = status?.phase === 'Succeeded' || status?.phase === 'Failed';
    return {
      apiVersion,
      kind,
      metadata,
      template: { annotations: {}, spec: unbound(object as Pod, spec) },
      finished,
    };
  }
  const template = (object as Deployment).spec?.template;
  const spec = template?.spec ?? NOTHING;
  const templateAnnotations = template?.metadata?.annotations ?? {};
  const templateHash = sha256(stableJson(template ?? {}));
  const trimmed = { annotations: templateAnnotations, spec: podSpecInUse(spec) };
  return { apiVersion, kind, metadata, template: trimmed, templateHash, finished: false };
}

export function wantsPrewarm(workload: Workload): boolean {
  if (workload.finished || workload.metadata.deletionTimestamp) return false;
  if (isControlledByBuiltIn(workload.metadata.ownerReferences)) return false;
  return isOptedIn(workload.metadata.annotations, workload.template.annotations);
}

export function carriesLabel(workload: Workload): boolean {
  return workload.metadata.labels?.[PREWARM] === 'true';
}

/** Derives what has to be where. Whatever is wrong becomes a warning, and the rest goes on. */
export function planOf(workload: Workload): PrewarmPlan {
  const { spec } = workload.template;
  const { settings, warnings } = parseSettings(workload.metadata.annotations, workload.template.annotations);
  const images = collectImages(spec, settings, warnings);
  const pull: PullIdentity = {
    imagePullSecrets: (spec.imagePullSecrets ?? [])
      .flatMap((secret) => secret.name ?? [])
      .slice(0, MAX_PULL_SECRETS),
    ...(spec.serviceAccountName ? { serviceAccountName: spec.serviceAccountName } : {}),
    ...(spec.runtimeClassName ? { runtimeClassName: spec.runtimeClassName } : {}),
  };
  const requirements = requirementsOf(spec);
  const everyStart = images.some((image) => image.pullPolicy === 'Always');
  const print = fingerprint({
    namespace: workload.metadata.namespace ?? '',
    images,
    pull,
    requirements,
    ...(settings.maxNodes ? { maxNodes: settings.maxNodes } : {}),
    ...(everyStart && workload.templateHash ? { templateHash: workload.templateHash } : {}),
  });
  return { fingerprint: print, images, pull, requirements, settings, warnings };
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
    const parsed = parseImageReference(text);
    if (!parsed.ok) {
      warnings.push(`${where}: image ${JSON.stringify(text)} is left out: ${parsed.reason}`);
      return;
    }
    const { canonical } = parsed.reference;
    if (canonical.length > MAX_IMAGE_LENGTH || (images.size >= MAX_IMAGES && !images.has(canonical))) {
      const limit = `a task takes ${MAX_IMAGES} images of ${MAX_IMAGE_LENGTH} characters`;
      warnings.push(`${where}: image ${JSON.stringify(text)} is left out: ${limit}`);
      return;
    }
    const always = (policy || pullPolicyOf(parsed.reference)) === 'Always';
    const pullPolicy = always || images.get(canonical)?.pullPolicy === 'Always' ? 'Always' : 'IfNotPresent';
    images.set(canonical, { image: canonical, pullPolicy });
  };
  const containers: Container[] = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
  const excluded = new Set(settings.excludeContainers);
  for (const container of containers) {
    if (excluded.delete(container.name)) continue;
    add(`container ${container.name}`, container.image, container.imagePullPolicy);
  }
  for (const name of excluded)
    warnings.push(`annotation ips/exclude-containers: there is no container ${name}`);
  for (const volume of spec.volumes ?? []) {
    if (volume.image) add(`volume ${volume.name}`, volume.image.reference, volume.image.pullPolicy);
  }
  for (const text of settings.extraImages) add('annotation ips/extra-images', text, 'IfNotPresent');
  return [...images.values()].sort((a, b) => (a.image < b.image ? -1 : 1));
}

/**
 * Where the scheduler put a pod is an answer, not a wish. Binding leaves no trace in `managedFields` (the API server's
 * binding REST handler writes the store directly), whereas a user who sets `spec.nodeName` owns the field.
 */
function unbound(pod: Pod, spec: PodSpec = NOTHING): PodSpec {
  const { nodeName, ...rest } = podSpecInUse(spec);
  const wished = (pod.metadata.managedFields ?? []).some(
    (entry) => !entry.subresource && ownsNodeName(entry.fieldsV1),
  );
  return wished && nodeName ? { nodeName, ...rest } : rest;
}

function ownsNodeName(fields: Record<string, unknown> | undefined): boolean {
  const spec = fields?.['f:spec'];
  return typeof spec === 'object' && spec !== null && 'f:nodeName' in spec;
}

/** The fields in use: the rest of a pod template is not kept in memory. */
function podSpecInUse(spec: PodSpec): PodSpec {
  const {
    nodeName,
    nodeSelector,
    affinity,
    tolerations,
    imagePullSecrets,
    serviceAccountName,
    runtimeClassName,
    os,
  } = spec;
  const container = ({ name, image, imagePullPolicy }: Container) => ({ name, image, imagePullPolicy });
  const required = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return JSON.parse(
    JSON.stringify({
      ...{ nodeName, nodeSelector, tolerations, imagePullSecrets, serviceAccountName, runtimeClassName, os },
      affinity: required && { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: required } },
      containers: spec.containers?.map(container),
      initContainers: spec.initContainers?.map(container),
      volumes: spec.volumes?.filter((volume) => volume.image).map(({ name, image }) => ({ name, image })),
    }),
  ) as PodSpec;
}
