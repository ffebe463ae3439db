import type { Lease } from '../domain/kubernetes.ts';
import type { KubeClient } from './client.ts';
import { isConflict, isNotFound } from './errors.ts';
import { RESOURCES, type Resource } from './resources.ts';

/** One Lease, read, written and watched. It is part of the installation: nothing here may make one. */
export function createLeaseApi(client: KubeClient, namespace: string, name = 'ips') {
  // A watch is of all namespaces otherwise, for which there is no right.
  const here: Resource = {
    ...RESOURCES.leases,
    plural: `namespaces/${encodeURIComponent(namespace)}/${RESOURCES.leases.plural}`,
  };

  return {
    read(): Promise<Lease> {
      return client.get<Lease>(RESOURCES.leases, namespace, name).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
        const text = `IPS_LEASE_MISSING: there is no Lease ${namespace}/${name}; apply the manifests of IPS again`;
        throw new Error(text, { cause: error });
      });
    },
    /** Undefined where it is no longer the version that was read. */
    replace(lease: Lease): Promise<Lease | undefined> {
      return client.replace<Lease>(RESOURCES.leases, lease).catch((error: unknown) => {
        if (isConflict(error)) return undefined;
        throw error;
      });
    },
    /** Resolves when the server ends the watch. */
    watch(onChange: (lease: Lease) => void, signal: AbortSignal): Promise<void> {
      const query = { fieldSelector: `metadata.name=${name}`, timeoutSeconds: 300 };
      return client.watch(
        here,
        query,
        ({ type, object }) => void ((type === 'ADDED' || type === 'MODIFIED') && onChange(object)),
        signal,
      );
    },
  };
}
