import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import type { PrewarmTask } from '../../src/domain/prewarm-task.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { RESOURCES } from '../../src/kube/resources.ts';
import { NODES } from '../cluster/cluster.ts';
import type { RedisServer } from '../cluster/redis.ts';
import type { Scene } from './faults.ts';
import { leftBehind, unendedTasks, unkeptWishes, type Violation } from './invariants.ts';
import type { Load } from './load.ts';

/** What is asked of the cluster, of Redis and of the replicas once all faults are mended. */

/** Twice the time after which a replica counts as dead. */
const EXPIRES_MS = 240_000;
type Lease = KubernetesObject & { spec?: { holderIdentity?: string } };
const leases = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases' };

/** With the workloads there: all warm or told why not, nobody at work. */
export async function atRest(
  { replicas }: Scene,
  client: KubeClient,
  { wishes, nodes }: Load,
  { namespace, pool }: { namespace: string; pool: string },
): Promise<Violation[]> {
  const list = async <T extends KubernetesObject>(resource: { apiVersion: string; plural: string }) =>
    (await client.list<T>(resource, namespace, {})).items;
  const [deployments, tasks, jobs, pods] = await Promise.all([
    list(RESOURCES.deployments),
    list<PrewarmTask>(RESOURCES.tasks),
    list(RESOURCES.jobs),
    list(RESOURCES.pods),
  ]);
  const real = NODES.filter(({ labels }) => labels['pool'] === 'web').length;
  const seen = {
    deployments,
    tasks,
    nodes: new Map([
      [pool, nodes.size],
      ['web', real],
    ]),
  };
  const answers = await Promise.all(
    replicas.all.map(({ ips }) => fetch(`${ips.url}/readyz`).catch(() => undefined)),
  );
  return [
    ...unendedTasks(tasks),
    ...unkeptWishes(wishes.values(), seen),
    ...leftBehind({ Jobs: names(jobs), warmers: names(pods.filter(isWarmer)) }),
    ...answers.flatMap((answer, index) =>
      answer?.ok ? [] : [{ invariant: 'every replica is back', what: `replica ${index} is not ready` }],
    ),
  ];
}

/** With the workloads removed. */
export async function objectsGone(client: KubeClient, namespace: string): Promise<Violation[]> {
  const list = async (resource: { apiVersion: string; plural: string }) =>
    names((await client.list(resource, namespace, {})).items);
  // The one that the manifests bring is there, and nobody's.
  const held = (await client.list<Lease>(leases, 'ips-system', {})).items.filter(
    ({ spec }) => spec?.holderIdentity,
  );
  return leftBehind({
    tasks: await list(RESOURCES.tasks),
    Jobs: await list(RESOURCES.jobs),
    pods: await list(RESOURCES.pods),
    Leases: names(held),
  });
}

/** With the replicas ended in order, which give back what they have; those that died could not. */
export async function keysGone({ redis }: Scene, expiring: boolean): Promise<Violation[]> {
  const keys = await Promise.all(redis.map((server) => keysOf(server, expiring)));
  const told = keys.flatMap((each, index) => each.map((key) => `${key} of server ${index}`));
  return leftBehind({ 'keys in Redis': told });
}

/** With `expiring`, those are left out that go by themselves, soon enough: a dead replica's share has to wait for that. */
async function keysOf(server: RedisServer, expiring: boolean): Promise<string[]> {
  const keys = (await server.command('--scan')).split('\n').filter(Boolean);
  if (!expiring) return keys;
  const left = await Promise.all(keys.map(async (key) => Number(await server.command('PTTL', key))));
  return keys.filter((_, index) => (left[index] ?? 0) === -1 || (left[index] ?? 0) > EXPIRES_MS);
}

const names = (objects: KubernetesObject[]) => objects.map(({ metadata }) => metadata.name ?? '');

function isWarmer({ metadata }: KubernetesObject): boolean {
  return metadata.labels?.['ips/warmer'] === 'true';
}
