import { afterAll, beforeAll, expect, test } from 'vitest';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import { pushTestImage } from '../cluster/cluster.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, type Kit, type Pod, PREWARM, unique, WEB_NODES } from './kit.ts';

let kit: Kit;
let ips: Ips;
let image: string;

beforeAll(async () => {
  kit = await createKit('admission');
  ips = await startIps(kit.cluster);
  image = await pushTestImage(kit.cluster, `${unique('admission')}:1`, 1_000_000, { executable: 'trace' });
});

afterAll(async () => {
  await ips?.stop();
  await kit?.remove();
});

/** Admission reviews that IPS has seen, of any kind. */
async function reviews(): Promise<number> {
  const results = ['labelled', 'unlabelled', 'unchanged', 'pinned', 'denied', 'invalid'];
  const counts = await Promise.all(
    results.map((result) => ips.metric('ips_admission_requests_total', `result="${result}"`)),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

test('a server-side dry run shows the label and creates nothing', async () => {
  const before = await reviews();
  const answer = await kit.apply(
    deployment('dry', { annotations: PREWARM, images: [image], spec: WEB_NODES }),
    ['--dry-run=server', '-o', 'json'],
  );
  expect((JSON.parse(answer) as KubernetesObject).metadata.labels).toEqual({ 'ips/prewarm': 'true' });
  expect(await reviews()).toBe(before + 1);
  // Something that came after it has been warmed: IPS would have acted on the dry run by now, too.
  await kit.apply(deployment('wet', { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES }));
  await kit.status('deployment/wet', /^Warm/);
  expect(
    (await kit.tasks()).flatMap((task) => task.metadata.ownerReferences?.map((owner) => owner.name)),
  ).toEqual(['wet']);
  await expect(kit.get('deployment', 'dry')).rejects.toThrow('not found');
});

test('an unannotated Deployment and its pods are never sent to IPS', async () => {
  const before = await reviews();
  await kit.apply(deployment('plain', { replicas: 3, images: [image], spec: WEB_NODES }));
  await kit.kubectl(['rollout', 'status', 'deployment/plain', '--timeout=60s']);
  await kit.kubectl(['scale', 'deployment/plain', '--replicas=1']);
  expect(await reviews()).toBe(before);
});

test('an annotated Deployment is sent once, its ReplicaSet, its pods and what IPS writes on it never', async () => {
  const before = await reviews();
  await kit.apply(
    deployment('once', { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES }),
  );
  await kit.status('deployment/once', /^Warm/);
  // All its nodes have the image (by the task of `wet`): no warmer is pinned on its account.
  expect(await reviews()).toBe(before + 1);
});

test('the same Deployment applied ten times makes one task and one set of Jobs; scaling makes none', async () => {
  const own = await pushTestImage(kit.cluster, `${unique('ten')}:1`, 1_000_000, { executable: 'trace' });
  const jobs = () => ips.metric('ips_job_creation_total', 'result="created"');
  const before = await jobs();
  const object = deployment('ten', { annotations: PREWARM, images: [own], spec: WEB_NODES });
  for (let time = 0; time < 10; time += 1) await kit.apply(object);
  await kit.status('deployment/ten', /^Warm 2\/2/);
  for (let time = 0; time < 3; time += 1) await kit.apply(object);
  expect(await jobs()).toBe(before + 1);

  await kit.kubectl(['scale', 'deployment/ten', '--replicas=5']);
  await kit.kubectl(['rollout', 'status', 'deployment/ten', '--timeout=60s']);
  const tasks = (await kit.tasks()).filter((task) => task.spec.images[0]?.image === own);
  expect(tasks.map((task) => task.status?.round)).toEqual([1]);
  expect(await jobs()).toBe(before + 1);
});

test('wrong annotation values are warned about at apply, and the rest goes on', async () => {
  const annotations = { ...PREWARM, 'ips/priority': '11', 'ips/timeout': 'soon', 'ips/prority': '3' };
  const printed = await kit.apply(
    deployment('wrong', { annotations, replicas: 0, images: [image], spec: WEB_NODES }),
  );
  expect(printed).toContain(
    'Warning: ips: annotation ips/priority: "11" must be a whole number from 1 to 10; ignored',
  );
  expect(printed).toContain('Warning: ips: annotation ips/timeout: "soon" must be a duration');
  expect(printed).toContain('Warning: ips: annotation ips/prority is not known');
  await kit.status('deployment/wrong', /^Warm/);
  const no = await kit.apply(
    deployment('no', { annotations: { 'ips/prewarm': 'yes' }, replicas: 0, images: [image] }),
  );
  expect(no).toContain(
    'Warning: ips: annotation ips/prewarm: "yes" must be "true" or "false"; not prewarmed',
  );
});

test('admission never touches the pod template', async () => {
  await kit.apply(
    deployment('template', { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES }),
  );
  type Stored = KubernetesObject & {
    spec: { template: { metadata: { labels: object; annotations?: object } } };
  };
  const stored = await kit.get<Stored>('deployment', 'template');
  expect(stored.metadata.labels).toEqual({ 'ips/prewarm': 'true' });
  expect(stored.spec.template.metadata).toEqual({ labels: { app: 'template' } });
});

test('a warmer that nobody pinned is not let in', async () => {
  const job = {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'stray' },
    spec: {
      completionMode: 'Indexed',
      completions: 1,
      parallelism: 1,
      backoffLimitPerIndex: 0,
      template: {
        metadata: { labels: { 'ips/warmer': 'true' } },
        spec: { restartPolicy: 'Never', containers: [{ name: 'c', image }] },
      },
    },
  };
  const denied = await ips.metric('ips_admission_requests_total', 'result="denied"');
  await kit.apply(job);
  await expect
    .poll(() => ips.metric('ips_admission_requests_total', 'result="denied"'), { timeout: 60_000 })
    .toBeGreaterThan(denied);
  expect(await kit.list<Pod>('pods', ['--selector', 'batch.kubernetes.io/job-name=stray'])).toEqual([]);
  await kit.kubectl(['delete', 'job', 'stray']);
});
