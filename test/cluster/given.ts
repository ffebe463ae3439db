import { realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Cluster, openCluster } from './cluster.ts';

/**
 * The cluster whose kubeconfig the user passed on purpose (`make test-e2e KUBECONFIG=…`; the Makefile hands it on as
 * IPS_TEST_KUBECONFIG). The tests look into each node's containerd, so it has to be one that `make cluster-up` started.
 */
export async function givenCluster(say: (line: string) => void): Promise<Cluster | undefined> {
  const file = process.env['IPS_TEST_KUBECONFIG'];
  if (!file) return undefined;
  const cluster = await openCluster(dirname(await realpath(file)), say);
  if (!cluster) {
    throw new Error(
      `KUBECONFIG=${file} is not that of a running cluster from "make cluster-up". The tests look into each node's ` +
        'containerd, so they cannot use another; leave KUBECONFIG out and they start one of their own.',
    );
  }
  say(`using the cluster in ${cluster.folder}`);
  return cluster;
}
