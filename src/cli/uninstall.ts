import { setTimeout as sleep } from 'node:timers/promises';
import { OUTPUT, PREWARM, WARMER_LABEL } from '../domain/annotations.ts';
import type { KubernetesObject } from '../domain/kubernetes.ts';
import { isControlled } from '../domain/workload.ts';
import {
  readCustomWorkloads,
  type WorkloadType,
  type WorkloadTypes,
  workloadTypes,
} from '../domain/workload-types.ts';
import { createKubeClient } from '../kube/client.ts';
import { loadKubeConfig } from '../kube/config.ts';
import { ignoreNotFound } from '../kube/errors.ts';
import { RESOURCES, type Resource } from '../kube/resources.ts';

export type UninstallOptions = {
  kubeconfig: string;
  userAgent: string;
  /** Beside those that are set in the cluster. */
  customWorkloads: WorkloadType[];
  /** Tells what would be done, and does nothing. */
  dryRun: boolean;
  say: (line: string) => void;
};

/** On everything that deploy/ makes. */
const OURS = 'app.kubernetes.io/part-of=image-prewarm-service';
const PAGE = 500;
const WAIT_MS = 120_000;

const of = (apiVersion: string) => (plural: string) => ({ apiVersion, plural });
/** What deploy/ makes: first what others depend on least, the namespaces with all that is left in them last. */
const OBJECTS: Resource[] = [
  ...['prometheusrules', 'servicemonitors', 'podmonitors'].map(of('monitoring.coreos.com/v1')),
  ...['certificates', 'issuers'].map(of('cert-manager.io/v1')),
  ...['validatingadmissionpolicybindings', 'validatingadmissionpolicies'].map(
    of('admissionregistration.k8s.io/v1'),
  ),
  ...['horizontalpodautoscalers'].map(of('autoscaling/v2')),
  ...['poddisruptionbudgets'].map(of('policy/v1')),
  ...['networkpolicies'].map(of('networking.k8s.io/v1')),
  ...['leases'].map(of('coordination.k8s.io/v1')),
  ...['services', 'configmaps', 'secrets'].map(of('v1')),
  ...['rolebindings', 'roles', 'clusterrolebindings', 'clusterroles'].map(of('rbac.authorization.k8s.io/v1')),
  ...['serviceaccounts'].map(of('v1')),
  ...['priorityclasses'].map(of('scheduling.k8s.io/v1')),
  ...['customresourcedefinitions'].map(of('apiextensions.k8s.io/v1')),
  ...['namespaces'].map(of('v1')),
];
/** What pods of IPS come of. */
const MAKERS: Resource[] = ['deployments', 'statefulsets'].map(of('apps/v1'));
const CONFIG_MAPS: Resource = { apiVersion: 'v1', plural: 'configmaps' };
/** Controllers copy annotations to what they keep of older templates. */
const REVISIONS: Resource = { apiVersion: 'apps/v1', plural: 'controllerrevisions' };

/**
 * Takes IPS out of a cluster, with the rights of whoever calls: first the webhook configuration, so that no apply meets
 * a webhook that is gone, then IPS itself, its tasks, what it wrote on workloads, and all that deploy/ made.
 */
export async function uninstall(options: UninstallOptions): Promise<void> {
  const { kubeconfig, userAgent, dryRun, say } = options;
  const client = createKubeClient(loadKubeConfig(kubeconfig), { userAgent });
  const done = dryRun ? 'would be removed' : 'removed';
  let found = 0;
  let failed = 0;

  /** One thing that cannot be taken away keeps none of the others. */
  async function take(what: string, action: () => Promise<unknown>): Promise<void> {
    found += 1;
    try {
      if (!dryRun) await action().catch(ignoreNotFound);
      say(`${what} ${done}`);
    } catch (error) {
      failed += 1;
      say(`${what} not removed: ${error instanceof Error ? error.message : error}`);
    }
  }

  async function* every(resource: Resource, labelSelector?: string): AsyncGenerator<KubernetesObject> {
    let next: string | undefined;
    do {
      const query = { limit: PAGE, continue: next, labelSelector };
      const page = await client.list(resource, undefined, query, { metadataOnly: true }).catch(orNothing);
      yield* page.items;
      next = page.continue;
    } while (next);
  }

  async function removeAll(resource: Resource, labelSelector?: string): Promise<void> {
    for await (const { metadata } of every(resource, labelSelector)) {
      const { namespace: where, name = '' } = metadata;
      const what = `${resource.plural}/${where ? `${where}/` : ''}${name}`;
      await take(what, () => client.remove(resource, where, name));
    }
  }

  async function gone(what: string, resource: Resource, labelSelector?: string): Promise<void> {
    const end = Date.now() + WAIT_MS;
    for (let told = false; !dryRun; told = true) {
      const left: string[] = [];
      for await (const { metadata } of every(resource, labelSelector)) left.push(metadata.name ?? '');
      if (left.length === 0) return;
      if (Date.now() > end) {
        failed += left.length;
        return say(
          `${left.length} ${what} do not end, as on a node that is gone: ${left.slice(0, 5).join(', ')}`,
        );
      }
      if (!told) say(`waiting for ${left.length} ${what} to end`);
      await sleep(500);
    }
  }

  /** The custom resources that this cluster's IPS takes for workloads. */
  async function typesInUse(): Promise<WorkloadTypes> {
    type ConfigMap = KubernetesObject & { data?: Record<string, string> };
    const { items } = await client.list<ConfigMap>(CONFIG_MAPS, undefined, { labelSelector: OURS });
    const set = items.flatMap(({ data }) => readCustomWorkloads(data?.['CUSTOM_WORKLOADS'] ?? '').types);
    return workloadTypes([...options.customWorkloads, ...set]);
  }

  async function clean(resource: Resource): Promise<void> {
    for await (const object of every(resource)) {
      const patch = cleaned(types, object);
      if (!patch) continue;
      const { namespace: where, name = '' } = object.metadata;
      const what = `${resource.plural}/${where}/${name}: what IPS wrote on it`;
      await take(what, () => client.mergePatch(resource, where, name, patch));
    }
  }

  const types = await typesInUse();
  await removeAll(RESOURCES.webhookConfigurations, OURS);
  for (const resource of MAKERS) await removeAll(resource, OURS);
  await gone('pods of IPS', RESOURCES.pods, OURS);
  await removeAll(RESOURCES.tasks);
  await removeAll(RESOURCES.jobs, `${WARMER_LABEL}=true`);
  await gone('warmers', RESOURCES.pods, `${WARMER_LABEL}=true`);
  for (const resource of [...types.values(), REVISIONS]) await clean(resource);
  for (const resource of OBJECTS) await removeAll(resource, OURS);
  await gone('namespaces of IPS', { apiVersion: 'v1', plural: 'namespaces' }, OURS);
  if (found === 0) say('nothing of IPS is in this cluster');
  if (failed > 0) throw new Error(`${failed} things are left, see above; mend that and run this again`);
}

/** The patch that takes away what IPS wrote on a workload; undefined where there is nothing. */
function cleaned(types: WorkloadTypes, { metadata }: KubernetesObject): object | undefined {
  const names = Object.values(OUTPUT).filter((name) => Object.hasOwn(metadata.annotations ?? {}, name));
  // On what a controller made, the label came with its template: it is the user's.
  const label =
    Object.hasOwn(metadata.labels ?? {}, PREWARM) && !isControlled(types, metadata.ownerReferences);
  if (names.length === 0 && !label) return undefined;
  return {
    metadata: {
      ...(label ? { labels: { [PREWARM]: null } } : {}),
      ...(names.length > 0 ? { annotations: Object.fromEntries(names.map((name) => [name, null])) } : {}),
    },
  };
}

/** A kind that the cluster does not know has no objects: the custom resource may be gone already. */
function orNothing(error: unknown): { items: KubernetesObject[]; continue: undefined } {
  ignoreNotFound(error);
  return { items: [], continue: undefined };
}
