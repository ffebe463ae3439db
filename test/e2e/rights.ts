import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import type { PrewarmTask } from '../../src/domain/prewarm-task.ts';
import { jobName } from '../../src/domain/warmer-job.ts';
import { waitFor } from '../cluster/run.ts';
import { startContender } from '../conformance/fixtures.ts';
import { loginAsIps } from './ips.ts';
import { type Kit, unique } from './kit.ts';
import { cloneSet, KINDS } from './workloads.ts';

/**
 * Makes IPS use each of its rights, for the test that compares its role with the audit log in both directions. Nothing
 * here waits for two things to meet by chance: what IPS does seldom is brought about by objects that ask for it.
 */
export async function useEveryRight(kit: Kit): Promise<void> {
  await disownWhatNeverOptedIn(kit);
  await meetTakenJob(kit);
  await lead(kit);
}

/** With IPS's own account, as IPS does with COORDINATION=lease. */
async function lead(kit: Kit): Promise<void> {
  const kubeconfig = await loginAsIps(kit.cluster, unique('lead'));
  const settings = { kubeconfig, namespace: 'ips-system', name: 'ips', identity: 'rights', expiresMs: 6000 };
  const leader = await startContender(settings);
  await waitFor('it to lead', () => leader.ask('acquire', 'task:x/y') as Promise<boolean>);
  await leader.end();
  const args = ['get', 'lease', 'ips', '-n', 'ips-system', '-o', 'jsonpath={.spec.holderIdentity}'];
  await waitFor('it to be free again', async () => (await kit.kubectl(args)) === '');
}

/** IPS's informers hold what opted in and nothing else, so that it reads these live. */
async function disownWhatNeverOptedIn(kit: Kit): Promise<void> {
  const stale = { 'ips/status': 'Warm 2/2 nodes' };
  const image = `${kit.cluster.registry.host}/pause:3.10`;
  const spec = { nodeSelector: { pool: 'nowhere' }, containers: [{ name: 'c', image }] };
  const objects = [...Object.values(KINDS), cloneSet].map((make) =>
    make('never', { annotations: stale, spec }),
  );
  const owners = await Promise.all(
    objects.map(async (object) => {
      const stored = JSON.parse(await kit.apply(object, ['-o', 'json'])) as Required<KubernetesObject>;
      const { apiVersion, kind, metadata } = stored;
      return { apiVersion, kind, name: metadata.name, uid: metadata.uid };
    }),
  );
  const task = await createTask(kit, { ownerReferences: owners });
  await waitFor('IPS to take away what stood on them, and the task', async () => {
    const kinds = owners.map(({ kind, name }) => kit.get<KubernetesObject>(kind, name ?? ''));
    const annotations = (await Promise.all(kinds)).map(({ metadata }) => metadata.annotations ?? {});
    if (annotations.some((each) => Object.hasOwn(each, 'ips/status'))) return false;
    return (await kit.tasks()).every(({ metadata }) => metadata.uid !== task.metadata.uid);
  });
}

/** A Job stands where IPS wants to make one, and another claims to be of a task that does not know it. */
async function meetTakenJob(kit: Kit): Promise<void> {
  const task = await createTask(kit, {});
  const { name = '', uid = '' } = task.metadata;
  await kit.apply(suspendedJob(jobName(uid, 1, 1, 0), {}));
  const owner = { apiVersion: 'ips.dev/v1alpha1', kind: 'PrewarmTask', name, uid };
  const labels = { 'ips/warmer': 'true', 'ips/task': name };
  await kit.apply(suspendedJob('stray', { labels, ownerReferences: [owner] }));
  await waitFor('IPS to remove the stray', async () => {
    const jobs = await kit.list<KubernetesObject>('jobs');
    return jobs.every(({ metadata }) => metadata.name !== 'stray');
  });

  const somewhere = { spec: { nodeRequirements: { nodeSelector: { pool: 'web' } } } };
  await kit.kubectl(['patch', 'pwt', name, '--type=merge', '--patch', JSON.stringify(somewhere)]);
  await waitFor('IPS to plan a batch', async () => {
    const { status } = await kit.get<PrewarmTask>('pwt', name);
    return status?.batches?.[0]?.jobName === jobName(uid, 1, 1, 0);
  });
  await kit.kubectl(['delete', 'job', jobName(uid, 1, 1, 0)]);
  await waitFor(
    'the task to fail',
    async () => (await kit.get<PrewarmTask>('pwt', name)).status?.phase === 'Failed',
  );
}

/** Of an image that is not there, for nodes that are not there. */
async function createTask(kit: Kit, metadata: object): Promise<PrewarmTask> {
  const object = {
    apiVersion: 'ips.dev/v1alpha1',
    kind: 'PrewarmTask',
    metadata: { name: unique('by-hand'), ...metadata },
    spec: {
      images: [{ image: `${kit.cluster.registry.host}/missing:1`, pullPolicy: 'IfNotPresent' }],
      nodeRequirements: { nodeSelector: { pool: 'nowhere' } },
      retry: { limit: 0 },
    },
  };
  return JSON.parse(await kit.apply(object, ['-o', 'json'])) as PrewarmTask;
}

function suspendedJob(name: string, metadata: object): object {
  const spec = { restartPolicy: 'Never', containers: [{ name: 'c', image: 'registry.invalid/none:1' }] };
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, ...metadata },
    spec: { suspend: true, template: { spec } },
  };
}
