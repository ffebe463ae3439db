import type { Logger } from 'pino';
import type { KubernetesObject } from '../domain/kubernetes.ts';
import {
  carriesLabel,
  type Workload,
  type WorkloadKind,
  wantsPrewarm,
  workloadOf,
} from '../domain/workload.ts';
import type { KubeClient } from '../kube/client.ts';
import { label, WORKLOAD_RESOURCES } from './workload-reconciler.ts';

const PAGE = 500;

/**
 * Looks at every workload of the cluster, a page at a time, and labels those that opted in without admission having
 * seen it: applied before IPS was there, or while it was away. The label brings them to the informers.
 */
export async function resyncWorkloads(options: {
  client: KubeClient;
  excludedNamespaces: readonly string[];
  log: Logger;
}): Promise<void> {
  const { client, excludedNamespaces, log } = options;

  async function visit(kind: WorkloadKind, object: KubernetesObject): Promise<void> {
    if (excludedNamespaces.includes(object.metadata.namespace ?? '')) return;
    const workload = workloadOf(kind, object);
    if (!wantsPrewarm(workload) || carriesLabel(workload)) return;
    const { namespace, name } = workload.metadata;
    try {
      await label(client, workload);
      log.info({ kind, namespace, name }, 'workload opted in while admission did not see it');
    } catch (error) {
      // One that cannot be patched must not keep the others cold.
      log.warn({ err: error, kind, namespace, name }, 'label not written');
    }
  }

  for (const kind of ['Deployment', 'Pod'] satisfies Workload['kind'][]) {
    let next: string | undefined;
    do {
      const query = { limit: PAGE, continue: next };
      // A pod's opt-in stands in its metadata; a Deployment's may stand in its template.
      const page = await client.list(WORKLOAD_RESOURCES[kind], undefined, query, {
        metadataOnly: kind === 'Pod',
      });
      for (const object of page.items) await visit(kind, object);
      next = page.continue;
    } while (next);
  }
}
