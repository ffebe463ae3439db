import type { Logger } from 'pino';
import type { KubernetesObject } from '../domain/kubernetes.ts';
import { carriesLabel, readWorkload, wantsPrewarm } from '../domain/workload.ts';
import { resourceName, type WorkloadType, type WorkloadTypes } from '../domain/workload-types.ts';
import type { KubeClient } from '../kube/client.ts';
import { isForbidden, isNotFound } from '../kube/errors.ts';
import { label } from './workload-reconciler.ts';

/** To parse a megabyte takes ten milliseconds, in which nothing else goes on. */
const PAGE = 100;
/** Of metadata alone an object is a tenth. */
const METADATA_PAGE = 500;

export type ResyncOptions = {
  client: KubeClient;
  types: WorkloadTypes;
  excludedNamespaces: readonly string[];
  log: Logger;
};

/**
 * Looks at every workload of the cluster, a page at a time, and labels those that opted in without admission having
 * seen it: applied before IPS was there, or while it was away. The label brings them to the informers.
 */
export async function resyncWorkloads(
  options: ResyncOptions,
  only: Iterable<WorkloadType> = options.types.values(),
): Promise<void> {
  const { client, types, excludedNamespaces, log } = options;

  async function visit(type: WorkloadType, object: KubernetesObject): Promise<void> {
    const { namespace, name } = object.metadata;
    if (!namespace || excludedNamespaces.includes(namespace)) return;
    const workload = readWorkload(types, type, object);
    if (!wantsPrewarm(workload) || carriesLabel(workload)) return;
    const { kind } = type;
    try {
      await label(options, workload);
      log.info({ kind, namespace, name }, 'workload opted in while admission did not see it');
    } catch (error) {
      // One that cannot be patched must not keep the others cold.
      log.warn({ err: error, kind, namespace, name }, 'label not written');
    }
  }

  async function visitAll(type: WorkloadType): Promise<void> {
    // A pod's opt-in stands in its metadata; that of others may stand in their template.
    const metadataOnly = type.templatePath.length === 0;
    let next: string | undefined;
    do {
      const query = { limit: metadataOnly ? METADATA_PAGE : PAGE, continue: next };
      const page = await client.list(type, undefined, query, { metadataOnly });
      for (const object of page.items) await visit(type, object);
      next = page.continue;
    } while (next);
  }

  for (const type of only) {
    await visitAll(type).catch((error: unknown) => {
      // Whether a custom resource can be seen is its informer's to tell.
      if (type.custom && (isNotFound(error) || isForbidden(error))) return;
      log.warn({ err: error, resource: resourceName(type) }, 'resync failed, trying again later');
    });
  }
}
