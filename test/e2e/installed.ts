import { mkdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { type Cluster, kubectl } from '../cluster/cluster.ts';
import { type Metric, readMetric } from './ips.ts';

export const DEPLOY = join(import.meta.dirname, '../../deploy');

/** IPS as its users have it: from its image and manifests, in pods, reached through its Service. */
export async function installAsPods(cluster: Cluster, image: string): Promise<void> {
  await kubectl(cluster, ['apply', '--validate=strict', '-k', await overlay(cluster, image)]);
  await kubectl(cluster, ['-n', 'ips-system', 'rollout', 'status', 'deployment/ips', '--timeout=120s']);
}

/** What a user changes: where the images are. */
async function overlay(cluster: Cluster, image: string): Promise<string> {
  const folder = join(cluster.folder, 'overlay');
  await mkdir(folder, { recursive: true });
  const colon = image.lastIndexOf(':');
  const settings = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'ips', namespace: 'ips-system' },
    data: { WORKER_IMAGE: `${cluster.registry.host}/pause:3.10` },
  };
  const kustomization = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    resources: [relative(folder, DEPLOY)],
    images: [
      { name: 'image-prewarm-service', newName: image.slice(0, colon), newTag: image.slice(colon + 1) },
    ],
    patches: [{ patch: JSON.stringify(settings) }],
  };
  await writeFile(join(folder, 'kustomization.yaml'), JSON.stringify(kustomization));
  return folder;
}

/** Asked through the API server and the Service, as Prometheus in the cluster would. */
export function metricOfPods(cluster: Cluster): Metric {
  return async (name, labels) => {
    const path = '/api/v1/namespaces/ips-system/services/ips:http/proxy/metrics';
    return readMetric(await kubectl(cluster, ['get', '--raw', path]), name, labels);
  };
}

/** Every object that the API server has, Events aside: `KIND NAMESPACE NAME`. */
export async function everything(cluster: Cluster): Promise<string[]> {
  const kinds = await kubectl(cluster, ['api-resources', '--verbs=list', '-o', 'name']);
  const listable = kinds.split('\n').filter((kind) => kind && !/^events/.test(kind));
  const columns = 'custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name';
  const args = [
    'get',
    listable.join(),
    '--all-namespaces',
    '--ignore-not-found',
    '--no-headers',
    '-o',
    columns,
  ];
  return (await kubectl(cluster, args)).split('\n').flatMap((line) => line.trim().replace(/\s+/g, ' ') || []);
}

/** How many admissions went through without the webhook, because it did not answer. */
export async function failOpenCount(cluster: Cluster): Promise<number> {
  const text = await kubectl(cluster, ['get', '--raw', '/metrics']);
  return text
    .split('\n')
    .filter((line) => line.startsWith('apiserver_admission_webhook_fail_open_count{'))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}
