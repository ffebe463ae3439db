import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import type { KubernetesObject, PodSpec } from '../../src/domain/kubernetes.ts';
import type { PrewarmTask } from '../../src/domain/prewarm-task.ts';
import { type Cluster, imagesOn, kubectl, kubectlBoth, openCluster } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';

/** The cluster that the global set-up started. */
export async function testCluster(): Promise<Cluster> {
  const cluster = await openCluster(inject('clusterFolder'), () => {});
  if (!cluster) throw new Error('the test cluster is gone');
  return cluster;
}

export function unique(prefix: string): string {
  return `${prefix}-${randomBytes(3).toString('hex')}`;
}

export type Kit = {
  cluster: Cluster;
  namespace: string;
  /** kubectl in the test's namespace. */
  kubectl(args: string[], input?: string): Promise<string>;
  /** `kubectl apply` of an object; gives what it printed, warnings too. */
  apply(object: object, args?: string[]): Promise<string>;
  get<T extends KubernetesObject>(kind: string, name: string): Promise<T>;
  list<T extends KubernetesObject>(kind: string, args?: string[]): Promise<T[]>;
  tasks(): Promise<PrewarmTask[]>;
  /** Follows a kind of object: every state that the API server tells of is a row of its columns. */
  watch(kind: string, columns: string): { rows(): string[][]; stop(): void };
  /** Waits until a workload's `ips/status` matches. */
  status(workload: string, wanted: RegExp, timeoutMs?: number): Promise<Record<string, string>>;
  /** The names of the nodes whose containerd has the image, in order. */
  nodesWith(image: string): Promise<string[]>;
  remove(): Promise<void>;
};

/** A namespace of its own for a test file, on the cluster of all unless another is given. */
export async function createKit(prefix: string, own?: Cluster): Promise<Kit> {
  const cluster = own ?? (await testCluster());
  const namespace = unique(prefix);
  await kubectl(cluster, ['create', 'namespace', namespace]);
  const run = (args: string[], input?: string) =>
    kubectl(cluster, ['--namespace', namespace, ...args], input);
  await waitFor('the namespace to have its service account', () => run(['get', 'serviceaccount', 'default']));
  const json = async <T>(args: string[]): Promise<T> => JSON.parse(await run([...args, '-o', 'json'])) as T;
  const list = async <T>(kind: string, args: string[] = []) =>
    (await json<{ items: T[] }>(['get', kind, ...args])).items;
  return {
    cluster,
    namespace,
    kubectl: run,
    async apply(object, args = []) {
      const command = ['--namespace', namespace, 'apply', '-f', '-', ...args];
      const { stdout, stderr } = await kubectlBoth(cluster, command, JSON.stringify(object));
      return stderr + stdout;
    },
    get: (kind, name) => json(['get', kind, name]),
    list,
    watch(kind, columns) {
      const args = [
        '--namespace',
        namespace,
        'get',
        kind,
        '--watch',
        '--no-headers',
        '-o',
        `custom-columns=${columns}`,
      ];
      const child = spawn(cluster.binaries.path('kubectl'), args, {
        env: { ...process.env, KUBECONFIG: cluster.kubeconfigFile },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let text = '';
      child.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      return {
        // kubectl writes a row cell by cell: what is not yet ended by a newline is half a row.
        rows: () =>
          text
            .slice(0, text.lastIndexOf('\n') + 1)
            .trim()
            .split('\n')
            .map((line) => line.split(/\s+/)),
        stop: () => child.kill(),
      };
    },
    tasks: () => list<PrewarmTask>('prewarmtasks'),
    status: (workload, wanted, timeoutMs = 120_000) =>
      waitFor(
        `${workload} to have ips/status ${wanted}`,
        async () => {
          const { metadata } = await json<KubernetesObject>(['get', workload]);
          const annotations = metadata.annotations ?? {};
          if (wanted.test(annotations['ips/status'] ?? '')) return annotations;
          throw new Error(
            `ips/status is ${annotations['ips/status']}, ips/message ${annotations['ips/message']}`,
          );
        },
        { timeoutMs, everyMs: 200 },
      ),
    async nodesWith(image) {
      const found = await Promise.all(
        cluster.nodes.map(async ({ name }) =>
          (await imagesOn(cluster, name)).includes(image) ? [name] : [],
        ),
      );
      return found.flat();
    },
    async remove() {
      await kubectl(cluster, ['delete', 'namespace', namespace, '--timeout=90s']);
    },
  };
}

export type DeploymentOptions = {
  annotations?: Record<string, string>;
  templateAnnotations?: Record<string, string>;
  replicas?: number;
  images: string[];
  spec?: PodSpec;
};

export function deployment(name: string, options: DeploymentOptions): object {
  const { annotations, templateAnnotations, replicas = 1, images, spec } = options;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, ...(annotations ? { annotations } : {}) },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: {
          labels: { app: name },
          ...(templateAnnotations ? { annotations: templateAnnotations } : {}),
        },
        spec: {
          terminationGracePeriodSeconds: 0,
          ...spec,
          containers: images.map((image, index) => ({ name: `c${index}`, image })),
        },
      },
    },
  };
}

/** What holds for one way to pull images holds for the other; for `PULL_STRATEGY` of `startIps`. */
export const STRATEGIES = ['image-volume', 'injected-noop'] as const;

export const PREWARM = { 'ips/prewarm': 'true' };
export const WEB_NODES: PodSpec = { nodeSelector: { pool: 'web' } };

export type Pod = KubernetesObject & {
  spec: { nodeName?: string };
  status: { phase: string; conditions?: { type: string; status: string; lastTransitionTime: string }[] };
};

/** The messages of the Events about an object, oldest first. */
export async function eventsAbout(
  kit: Kit,
  name: string,
): Promise<{ type: string; reason: string; message: string }[]> {
  type Event = KubernetesObject & { type: string; reason: string; message: string };
  return kit.list<Event>('events', [
    '--field-selector',
    `involvedObject.name=${name}`,
    '--sort-by=.metadata.creationTimestamp',
  ]);
}
