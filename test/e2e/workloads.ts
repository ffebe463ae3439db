import type { KubernetesObject, PodSpec } from '../../src/domain/kubernetes.ts';
import { type Cluster, kubectl } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';

/** Objects of every kind that starts pods, none of which does so before it is told to. */

export type WorkloadOptions = {
  annotations?: Record<string, string>;
  templateAnnotations?: Record<string, string>;
  spec: PodSpec;
};

type Made = Required<KubernetesObject> & { spec: object };
type Make = (name: string, options: WorkloadOptions) => Made;

const NEVER = '0 0 1 1 *';

export const KINDS = {
  Deployment: withReplicas('Deployment'),
  StatefulSet: withReplicas('StatefulSet'),
  ReplicaSet: withReplicas('ReplicaSet'),
  DaemonSet: (name, options) => made('apps/v1', 'DaemonSet', name, options, selecting(name, options)),
  Job: (name, options) =>
    made('batch/v1', 'Job', name, options, { suspend: true, template: template({}, options, 'Never') }),
  CronJob: (name, options) => {
    const metadata = { annotations: options.templateAnnotations ?? {} };
    const jobTemplate = { metadata, spec: { template: template({}, options, 'Never') } };
    return made('batch/v1', 'CronJob', name, options, { schedule: NEVER, jobTemplate });
  },
  Pod: (name, options) => made('v1', 'Pod', name, options, options.spec),
  Rollout: (name, options) =>
    made('argoproj.io/v1alpha1', 'Rollout', name, options, { replicas: 0, ...selecting(name, options) }),
} as const satisfies Record<string, Make>;

/** Of OpenKruise, as deploy/components/custom-workload names it. */
export const cloneSet: Make = (name, options) =>
  made('apps.kruise.io/v1alpha1', 'CloneSet', name, options, selecting(name, options));

function withReplicas(kind: string): Make {
  return (name, options) =>
    made('apps/v1', kind, name, options, { replicas: 0, ...selecting(name, options) });
}

function selecting(name: string, options: WorkloadOptions): object {
  const labels = { app: name };
  return { selector: { matchLabels: labels }, template: template(labels, options) };
}

function template(labels: object, options: WorkloadOptions, restartPolicy = 'Always'): object {
  const spec = { terminationGracePeriodSeconds: 0, restartPolicy, ...options.spec };
  return { metadata: { labels, annotations: options.templateAnnotations ?? {} }, spec };
}

export function made(
  apiVersion: string,
  kind: string,
  name: string,
  { annotations = {} }: Pick<WorkloadOptions, 'annotations'>,
  spec: object,
): Made {
  return { apiVersion, kind, metadata: { name, annotations }, spec };
}

/** A definition with no more of a schema than the API server asks for; of Argo's Rollout, its name and nothing else. */
export async function defineCustomResource(cluster: Cluster, resource: string, kind: string): Promise<void> {
  const [plural = '', ...rest] = resource.split('.');
  const version = {
    ...{ name: 'v1alpha1', served: true, storage: true },
    schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
  };
  const definition = {
    ...{ apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition' },
    metadata: { name: resource },
    spec: { group: rest.join('.'), scope: 'Namespaced', names: { plural, kind }, versions: [version] },
  };
  await kubectl(cluster, ['apply', '-f', '-'], JSON.stringify(definition));
  // `kubectl wait` gives up at once where the definition has no conditions yet.
  await waitFor(`${resource} to be established`, () =>
    kubectl(cluster, ['wait', '--for=condition=Established', `crd/${resource}`]),
  );
}
