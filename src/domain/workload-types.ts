import type { KubernetesObject, PodSpec, Toleration } from './kubernetes.ts';
import { readList, record } from './unchecked.ts';

/** A kind of object that starts pods, and where its pod template stands. */
export type WorkloadType = {
  apiVersion: string;
  kind: string;
  plural: string;
  /** Field by field; none for a pod, which is its own template. */
  templatePath: readonly string[];
  /** Named by the operator: the cluster may not have it, or not let us see it. */
  custom?: true;
  /** One that ended has nothing left to start. */
  isFinished?(object: KubernetesObject): boolean;
  /** What its controller makes of the template's pod spec before the scheduler sees it. */
  podSpec?(spec: PodSpec): PodSpec;
};

/** By `typeKey`: two groups may each have a kind of the same name. */
export type WorkloadTypes = ReadonlyMap<string, WorkloadType>;

const TEMPLATE = ['spec', 'template'];

const BUILT_INS: readonly WorkloadType[] = [
  { apiVersion: 'apps/v1', kind: 'Deployment', plural: 'deployments', templatePath: TEMPLATE },
  { apiVersion: 'apps/v1', kind: 'StatefulSet', plural: 'statefulsets', templatePath: TEMPLATE },
  {
    ...{ apiVersion: 'apps/v1', kind: 'DaemonSet', plural: 'daemonsets', templatePath: TEMPLATE },
    podSpec: asDaemon,
  },
  { apiVersion: 'apps/v1', kind: 'ReplicaSet', plural: 'replicasets', templatePath: TEMPLATE },
  {
    ...{ apiVersion: 'batch/v1', kind: 'Job', plural: 'jobs', templatePath: TEMPLATE },
    isFinished: (job) =>
      conditionsOf(job).some(({ type, status }) => status === 'True' && ENDS_OF_JOB.includes(type)),
  },
  {
    ...{ apiVersion: 'batch/v1', kind: 'CronJob', plural: 'cronjobs' },
    templatePath: ['spec', 'jobTemplate', ...TEMPLATE],
  },
  {
    ...{ apiVersion: 'v1', kind: 'Pod', plural: 'pods', templatePath: [] },
    isFinished: (pod) => ENDS_OF_POD.includes(statusOf(pod)?.['phase']),
  },
];
const ENDS_OF_JOB: readonly unknown[] = ['Complete', 'Failed'];
const ENDS_OF_POD: readonly unknown[] = ['Succeeded', 'Failed'];

/** The setting CUSTOM_WORKLOADS where it is not set. */
export const DEFAULT_CUSTOM_WORKLOADS = 'rollouts.argoproj.io/v1alpha1:Rollout:spec.template';

/** All types that IPS knows: Kubernetes' own, and those that the operator named. */
export function workloadTypes(custom: readonly WorkloadType[]): WorkloadTypes {
  return new Map([...BUILT_INS, ...custom].map((type) => [typeKey(type.apiVersion, type.kind), type]));
}

/** `apps/Deployment`, `/Pod`: of whatever version. */
export function typeKey(apiVersion: string, kind: string): string {
  return `${groupOf(apiVersion)}/${kind}`;
}

export function typeOf(types: WorkloadTypes, apiVersion: unknown, kind: unknown): WorkloadType | undefined {
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') return undefined;
  return types.get(typeKey(apiVersion, kind));
}

/** `rollouts.argoproj.io`, as kubectl and CRDs name a resource; those of Kubernetes itself by their plural alone. */
export function resourceName({ plural, apiVersion, custom }: WorkloadType): string {
  return custom ? `${plural}.${groupOf(apiVersion)}` : plural;
}

function groupOf(apiVersion: string): string {
  return apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
}

const LABEL = '[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?';
const CUSTOM = new RegExp(
  `^(?<plural>${LABEL})\\.(?<group>${LABEL}(?:\\.${LABEL})+)/(?<version>${LABEL}):` +
    '(?<kind>[A-Z][A-Za-z0-9]{0,62}):(?<path>spec(?:\\.[A-Za-z][-A-Za-z0-9]*)+)$',
);
const SHAPE = `must be PLURAL.GROUP/VERSION:KIND:PATH, such as ${DEFAULT_CUSTOM_WORKLOADS}`;

/**
 * Reads types as the operator names them, each `PLURAL.GROUP/VERSION:KIND:PATH`, separated by commas. The path begins with `spec`, since
 * that is the part of an object that IPS's account may not change (deploy/base/policies.yaml).
 */
export function readCustomWorkloads(text: string): { types: WorkloadType[]; errors: string[] } {
  const items = text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item && item !== 'none');
  const types = new Map<string, WorkloadType>();
  const errors: string[] = [];
  for (const item of items) {
    const { plural, group, version, kind, path } = CUSTOM.exec(item)?.groups ?? {};
    if (!plural || !kind || !path) {
      errors.push(`${JSON.stringify(item)} ${SHAPE}; PATH begins with spec and leads to the pod template`);
      continue;
    }
    const apiVersion = `${group}/${version}`;
    const key = typeKey(apiVersion, kind);
    if (group === 'ips.dev') errors.push(`${JSON.stringify(item)} is of IPS itself`);
    else if (types.has(key)) errors.push(`${JSON.stringify(item)} names ${kind} of ${group} a second time`);
    types.set(key, { apiVersion, kind, plural, templatePath: path.split('.'), custom: true });
  }
  return { types: [...types.values()], errors };
}

/** What stands at the path of the pod template; nothing where the way there ends, as in an object without a schema. */
export function templateAt(
  object: KubernetesObject,
  path: readonly string[],
): Record<string, unknown> | undefined {
  let at: unknown = object;
  for (const field of path) {
    const fields = record(at);
    at = fields && Object.hasOwn(fields, field) ? fields[field] : undefined;
  }
  return record(at);
}

function statusOf(object: KubernetesObject): Record<string, unknown> | undefined {
  return record((object as { status?: unknown }).status);
}

function conditionsOf(object: KubernetesObject): Record<string, unknown>[] {
  return readList(statusOf(object)?.['conditions'], '', [], (fields) => fields) ?? [];
}

const exists = (key: string, effect: string): Toleration => ({ key, operator: 'Exists', effect });
/** AddOrUpdateDaemonPodTolerations in k8s.io/kubernetes/pkg/controller/daemon/util. */
const DAEMON_TOLERATIONS: readonly Toleration[] = [
  exists('node.kubernetes.io/not-ready', 'NoExecute'),
  exists('node.kubernetes.io/unreachable', 'NoExecute'),
  exists('node.kubernetes.io/disk-pressure', 'NoSchedule'),
  exists('node.kubernetes.io/memory-pressure', 'NoSchedule'),
  exists('node.kubernetes.io/pid-pressure', 'NoSchedule'),
  exists('node.kubernetes.io/unschedulable', 'NoSchedule'),
];
const HOST_NETWORK_TOLERATION = exists('node.kubernetes.io/network-unavailable', 'NoSchedule');

function asDaemon(spec: PodSpec): PodSpec {
  const added = [...DAEMON_TOLERATIONS, ...(spec.hostNetwork ? [HOST_NETWORK_TOLERATION] : [])];
  return { ...spec, tolerations: [...(spec.tolerations ?? []), ...added] };
}
