import { afterAll, beforeAll, expect, test } from 'vitest';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import type { PrewarmTask } from '../../src/domain/prewarm-task.ts';
import { kubectl, pushTestImage } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, type Kit, type Pod, PREWARM, unique, WEB_NODES } from './kit.ts';

let kit: Kit;
let ips: Ips;

beforeAll(async () => {
  kit = await createKit('lifecycle');
  await kubectl(kit.cluster, ['delete', 'mutatingwebhookconfiguration', 'ips', '--ignore-not-found']);
});

afterAll(async () => {
  await ips?.stop();
  await kit?.remove();
});

const small = (name: string) => pushTestImage(kit.cluster, `${unique(name)}:1`, 1_000_000);

test('what was annotated before IPS was there is warmed once it runs', async () => {
  const images = { early: await small('early'), pod: await small('early-pod') };
  await kit.apply(
    deployment('early', { annotations: PREWARM, replicas: 0, images: [images.early], spec: WEB_NODES }),
  );
  const bare = {
    terminationGracePeriodSeconds: 0,
    ...WEB_NODES,
    containers: [{ name: 'c', image: images.pod }],
  };
  await kit.apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'early-pod', annotations: PREWARM },
    spec: bare,
  });
  expect((await kit.get<KubernetesObject>('deployment', 'early')).metadata.labels).toBeUndefined();

  ips = await startIps(kit.cluster);
  await kit.status('deployment/early', /^Warm 2\/2/);
  await kit.status('pod/early-pod', /^Warm 2\/2/);
  expect(await kit.nodesWith(images.early)).toEqual(['node-a', 'node-b']);
  expect(await kit.nodesWith(images.pod)).toEqual(['node-a', 'node-b']);
  expect((await kit.get<KubernetesObject>('deployment', 'early')).metadata.labels).toEqual({
    'ips/prewarm': 'true',
  });
});

test('with IPS stopped an apply works within 3 s, and is warmed once IPS is back', async () => {
  const image = await small('stopped');
  expect(await ips.stop()).toBe(0);
  const stopped = deployment('stopped', {
    ...{ annotations: PREWARM, replicas: 0 },
    ...{ images: [image], spec: WEB_NODES },
  });
  // The machine may be busy; what is waited for, is waited for each time.
  await waitFor('an apply within 3 s', async () => {
    const started = performance.now();
    await kit.apply(stopped, ['--dry-run=server']);
    return performance.now() - started < 3000;
  });
  await kit.apply(stopped);
  expect((await kit.get<KubernetesObject>('deployment', 'stopped')).metadata.labels).toBeUndefined();

  ips = await startIps(kit.cluster, { webhookPort: ips.webhookPort });
  await kit.status('deployment/stopped', /^Warm 2\/2/);
});

test('opting out while IPS is stopped takes effect once it is back', async () => {
  await ips.stop();
  await kit.kubectl(['annotate', 'deployment/stopped', 'ips/prewarm-']);
  ips = await startIps(kit.cluster, { webhookPort: ips.webhookPort });
  await waitFor('the label and the annotations to go', async () => {
    const { labels, annotations } = (await kit.get<KubernetesObject>('deployment', 'stopped')).metadata;
    return !labels && !Object.keys(annotations ?? {}).some((name) => name.startsWith('ips/'));
  });
  await waitFor('the task to go', async () => !(await ownersOfTasks()).includes('stopped'));
});

async function ownersOfTasks(): Promise<string[]> {
  return (await kit.tasks()).flatMap(
    (task) => task.metadata.ownerReferences?.map((owner) => owner.name) ?? [],
  );
}

async function phaseOf(name: string): Promise<string | undefined> {
  const tasks = await kit.tasks();
  return tasks.find((task) => task.metadata.ownerReferences?.[0]?.name === name)?.status?.phase;
}

/** A workload whose warmers are still at work: the image is large enough to catch them. */
async function startLongPull(name: string): Promise<string> {
  const image = await pushTestImage(kit.cluster, `${unique(name)}:1`, 500_000_000);
  await kit.apply(deployment(name, { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES }));
  await kit.status(`deployment/${name}`, /^Warming 0\/2/);
  expect(await phaseOf(name)).toBe('Warming');
  return image;
}

async function nothingIsLeftOf(name: string): Promise<void> {
  await waitFor(`task, Jobs and warmers of ${name} to go`, async () => {
    if ((await ownersOfTasks()).includes(name)) return false;
    const left = await Promise.all(
      ['jobs', 'pods'].map((kind) => kit.list<Pod>(kind, ['--selector', 'ips/warmer=true'])),
    );
    return left.flat().length === 0;
  });
}

test('opting out removes the label and the open work', async () => {
  await startLongPull('leaving');
  await kit.kubectl(['annotate', 'deployment/leaving', 'ips/prewarm=false', '--overwrite']);
  const { labels, annotations } = (await kit.get<KubernetesObject>('deployment', 'leaving')).metadata;
  expect(labels).toBeUndefined();
  expect(Object.keys(annotations ?? {}).filter((name) => name.startsWith('ips/'))).toEqual(['ips/prewarm']);
  await nothingIsLeftOf('leaving');
});

test('deleting the workload removes its task and the open work, also while IPS is stopped', async () => {
  await startLongPull('deleted');
  await kit.kubectl(['delete', 'deployment', 'deleted']);
  await nothingIsLeftOf('deleted');

  await startLongPull('orphan');
  await ips.kill();
  await kit.kubectl(['delete', 'deployment', 'orphan']);
  await nothingIsLeftOf('orphan');
  ips = await startIps(kit.cluster, { webhookPort: ips.webhookPort });
});

test('IPS killed in the middle of a round goes on after its restart, without a second Job', async () => {
  const image = await startLongPull('killed');
  await ips.kill();
  // Nobody writes it now: it was caught in the middle.
  expect(await phaseOf('killed')).toBe('Warming');
  ips = await startIps(kit.cluster, { webhookPort: ips.webhookPort });
  const annotations = await kit.status('deployment/killed', /^Warm 2\/2/);
  expect(await kit.nodesWith(image)).toEqual(['node-a', 'node-b']);
  expect(await ips.metric('ips_job_creation_total', 'result="created"')).toBe(0);
  const task = (await kit.tasks()).find((each) => each.metadata.name === annotations['ips/task']);
  expect(task?.status).toMatchObject({ phase: 'Warm', round: 1, batch: 1 });
});

test('a second workload with the same needs becomes an owner of the same task; with one gone the task stays, with both it goes', async () => {
  const image = await small('twins');
  for (const name of ['twin-a', 'twin-b']) {
    await kit.apply(
      deployment(name, { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES }),
    );
  }
  await kit.status('deployment/twin-a', /^Warm/);
  const { 'ips/task': task } = await kit.status('deployment/twin-b', /^Warm/);
  const owners = async () =>
    (await kit.tasks())
      .find((each) => each.metadata.name === task)
      ?.metadata.ownerReferences?.map(({ name }) => name);
  expect((await owners())?.sort()).toEqual(['twin-a', 'twin-b']);
  await kit.kubectl(['delete', 'deployment', 'twin-a']);
  await waitFor('the task to lose one owner', async () => (await owners())?.join() === 'twin-b');
  const left = await kit.get<PrewarmTask>('prewarmtask', task ?? '');
  expect(left.status).toMatchObject({ phase: 'Warm', round: 1 });
  await kit.kubectl(['delete', 'deployment', 'twin-b']);
  await waitFor('the task to go', async () => (await owners()) === undefined);
});

test('a changed image makes a new task, and the old one goes', async () => {
  const [before, after] = [await small('v1'), await small('v2')];
  await kit.apply(
    deployment('rolling', { annotations: PREWARM, replicas: 0, images: [before], spec: WEB_NODES }),
  );
  const { 'ips/task': first } = await kit.status('deployment/rolling', /^Warm/);
  await kit.apply(
    deployment('rolling', { annotations: PREWARM, replicas: 0, images: [after], spec: WEB_NODES }),
  );
  await waitFor('the new image on both nodes', async () => (await kit.nodesWith(after)).length === 2);
  await waitFor('the Deployment to be warm by another task', async () => {
    const { 'ips/task': second } = await kit.status('deployment/rolling', /^Warm 2\/2/);
    return second !== first;
  });
  await waitFor(
    'the old task to go',
    async () => !(await kit.tasks()).some((task) => task.metadata.name === first),
  );
});
