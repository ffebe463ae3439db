import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { RESOURCES } from '../../src/kube/resources.ts';
import { waitFor } from '../../test/cluster/run.ts';
import { atOnce } from './at-once.ts';
import { commonImage, POOL } from './nodes.ts';

/**
 * The opted-in workloads that are there all the time: Deployments without replicas, each with its own five of the
 * images that every node has, so that each has its own task and is warm on every node of the pool.
 */

export const IMAGES = 5;
const NAMESPACES = 10;

export const standingNamespaces = Array.from({ length: NAMESPACES }, (_, index) => `standing-${index}`);

/** A different choice for each of 500: steps of 1 to 13 from each of the 40 images. */
export function standingImages(index: number): string[] {
  const step = 1 + (Math.floor(index / 40) % 13);
  return Array.from({ length: IMAGES }, (_, at) => commonImage(index + at * step));
}

export function deployment(name: string, images: string[], annotations: Record<string, string>) {
  const labels = { app: name };
  const containers = images.map((image, index) => ({ name: `c${index}`, image }));
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, annotations },
    spec: {
      replicas: 0,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { nodeSelector: { pool: POOL }, containers } },
    },
  };
}

export async function createNamespace(client: KubeClient, name: string): Promise<void> {
  const namespaces = { apiVersion: 'v1', plural: 'namespaces' };
  await client.create<KubernetesObject>(namespaces, undefined, {
    ...{ apiVersion: 'v1', kind: 'Namespace', metadata: { name } },
  });
  const accounts = { apiVersion: 'v1', plural: 'serviceaccounts' };
  await waitFor('the service account', () => client.get(accounts, name, 'default'));
}

export async function addStanding(client: KubeClient, count: number): Promise<void> {
  for (const namespace of standingNamespaces) await createNamespace(client, namespace);
  const indexes = Array.from({ length: count }, (_, index) => index);
  await atOnce(10, indexes, (index) => {
    const object = deployment(`standing-${index}`, standingImages(index), { 'ips/prewarm': 'true' });
    const namespace = standingNamespaces[index % NAMESPACES] ?? '';
    return client.create<KubernetesObject>(RESOURCES.deployments, namespace, object);
  });
}

/** How many Deployments of the namespace say that all these nodes are warm. */
export async function warmIn(client: KubeClient, namespace: string, nodes: number): Promise<number> {
  const { items } = await client.list(RESOURCES.deployments, namespace, {}, { metadataOnly: true });
  const said = (object: KubernetesObject) => object.metadata.annotations?.['ips/status'];
  return items.filter((object) => said(object) === `Warm ${nodes}/${nodes} nodes`).length;
}

const BURST = 1_000;
export const BURST_NAMESPACE = 'burst';

/** Bare pods of one template, as a batch system makes them; nobody schedules them. Gives how many were admitted. */
export async function burst(client: KubeClient): Promise<number> {
  await createNamespace(client, BURST_NAMESPACE);
  const containers = standingImages(0).map((image, index) => ({ name: `c${index}`, image }));
  const indexes = Array.from({ length: BURST }, (_, index) => index);
  await atOnce(20, indexes, (index) =>
    client.create<KubernetesObject>({ apiVersion: 'v1', plural: 'pods' }, BURST_NAMESPACE, {
      ...{ apiVersion: 'v1', kind: 'Pod' },
      metadata: { name: `burst-${index}`, annotations: { 'ips/prewarm': 'true' } },
      ...{ spec: { schedulerName: 'nobody', nodeSelector: { pool: POOL }, containers } },
    }),
  );
  return BURST;
}
