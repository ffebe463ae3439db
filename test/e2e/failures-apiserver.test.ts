import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import { type Cluster, pushTestImage, startCluster, stopCluster } from '../cluster/cluster.ts';
import { blackHole, findComponent, kubectlInside } from '../cluster/disturb.ts';
import { waitFor } from '../cluster/run.ts';
import { type Ips, installIps, startIps } from './ips.ts';
import { createKit, deployment, type Kit, type Pod, PREWARM, unique, WEB_NODES } from './kit.ts';
import { witness } from './witness.ts';

/** A cluster of its own, since it is hurt. Its nodes are given up on sooner than the usual 50 s. */
const FLAGS = { controllerManager: ['--node-monitor-grace-period=20s'] };
const BATCH_NODE = {
  nodeSelector: { pool: 'batch' },
  tolerations: [{ key: 'dedicated', operator: 'Exists' }],
};

let cluster: Cluster;
let kit: Kit;
let ips: Ips;

beforeAll(async () => {
  cluster = await startCluster({
    name: `hurt-${process.pid}`,
    lifeline: true,
    say: () => {},
    flags: FLAGS,
  });
  await installIps(cluster);
  kit = await createKit('apiserver', cluster);
  ips = await startIps(cluster);
});

afterAll(async () => {
  await ips?.stop();
  if (cluster) await stopCluster(cluster);
});

type AuditEntry = {
  verb: string;
  userAgent: string;
  requestReceivedTimestamp: string;
  objectRef?: { resource: string; subresource?: string };
};

/** What IPS asked for since that moment, by verb and resource, as the API server counted it. */
async function requestsSince(start: number): Promise<Map<string, number>> {
  const lines = (await readFile(join(cluster.folder, 'logs/audit.log'), 'utf8')).split('\n').filter(Boolean);
  const counts = new Map<string, number>();
  for (const entry of lines.map((line) => JSON.parse(line) as AuditEntry)) {
    expect(entry.userAgent).toMatch(/^image-prewarm-service\/\d+\.\d+\.\d+$/);
    if (Date.parse(entry.requestReceivedTimestamp) < start) continue;
    const what = `${entry.verb} ${entry.objectRef?.resource}`;
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  return counts;
}

/** At most these many lists of any resource; pods and Deployments have one more, for opt-ins that were missed. */
const MOST_LISTS = 4;
/** Rollouts are not installed here, and then asked for by the clock, in case they come: not sooner than this. */
const ASKED_AGAIN_MS = 5_000;

async function expectNoStorm(start: number): Promise<void> {
  const counts = await requestsSince(start);
  const byTheClock = MOST_LISTS + (Date.now() - start) / ASKED_AGAIN_MS;
  // The log works: there is something in it.
  expect(counts.get('list deployments')).toBeGreaterThan(0);
  console.error(`• ${[...counts].map(([what, count]) => `${what} ${count}`).join(', ')}`);
  for (const [what, count] of counts) {
    // Events are listed to see why a warmer waits, once for each look at it.
    const most = what === 'list rollouts' ? byTheClock : MOST_LISTS;
    if (what.startsWith('list') && what !== 'list events')
      expect([what, count <= most]).toEqual([what, true]);
    if (what.startsWith('watch')) expect([what, count <= 12]).toEqual([what, true]);
  }
}

async function apply(name: string, image: string, spec = WEB_NODES): Promise<void> {
  await kit.apply(deployment(name, { annotations: PREWARM, replicas: 0, images: [image], spec }));
}

const push = (name: string, size = 1_000_000) => pushTestImage(cluster, `${unique(name)}:1`, size);

test('an API server that is killed in the middle of a round and is back after 10 s: the round ends, few lists', async () => {
  const [before, after] = [await push('before', 500_000_000), await push('after')];
  await apply('before', before);
  await kit.status('deployment/before', /^Warming 0\/2/);
  const start = Date.now();
  const restart = await findComponent(cluster, 'kube-apiserver').kill();
  await sleep(10_000);
  restart();
  await waitFor('the API server', () => kit.kubectl(['get', '--raw', '/readyz']));
  await kit.status('deployment/before', /^Warm 2\/2 nodes$/);
  await apply('after', after);
  await kit.status('deployment/after', /^Warm 2\/2 nodes$/);
  expect(await kit.nodesWith(before)).toEqual(['node-a', 'node-b']);
  expect(await kit.nodesWith(after)).toEqual(['node-a', 'node-b']);
  await expectNoStorm(start);
});

test('a black hole of a minute between IPS and the API server: nothing is lost, no restart, few lists', async () => {
  const [during, meanwhile] = [await push('during', 500_000_000), await push('meanwhile')];
  await apply('during', during);
  await kit.status('deployment/during', /^Warming 0\/2/);
  const start = Date.now();
  const lift = await blackHole(cluster);
  try {
    // The webhook is out of reach as well, so this one comes in without its label.
    const object = deployment('meanwhile', {
      ...{ annotations: PREWARM, replicas: 0, images: [meanwhile], spec: WEB_NODES },
    });
    const args = ['--namespace', kit.namespace];
    await kubectlInside(cluster, [...args, 'apply', '-f', '-'], JSON.stringify(object));
    const read = await kubectlInside(cluster, [...args, 'get', 'deployment', 'meanwhile', '-o', 'json']);
    expect((JSON.parse(read) as KubernetesObject).metadata.labels).toBeUndefined();
    await sleep(start + 60_000 - Date.now());
    expect((await fetch(`${ips.url}/healthz`)).status).toBe(200);
  } finally {
    await lift();
  }
  const lifted = Date.now();
  await kit.status('deployment/during', /^Warm 2\/2 nodes$/);
  const seconds = Math.round((Date.now() - lifted) / 1000);
  await kit.status('deployment/meanwhile', /^Warm 2\/2 nodes$/);
  console.error(`• told ${seconds} s after, warm all ${Math.round((Date.now() - lifted) / 1000)} s after`);
  expect(await kit.nodesWith(meanwhile)).toEqual(['node-a', 'node-b']);
  await expectNoStorm(start);
}, 240_000);

test('opted out and in again, a workload waits until the Job of the task before is gone', async () => {
  const seen = await witness(kit);
  onTestFinished(seen.stop);
  const image = await push('again');
  // Nobody makes pods of Jobs now, nor removes what has no owner any more.
  const controllers = findComponent(cluster, 'kube-controller-manager');
  controllers.freeze();
  onTestFinished(controllers.thaw);
  const optIn = (value: string) =>
    kit.kubectl(['annotate', '--overwrite', 'deployment/again', `ips/prewarm=${value}`]);
  const task = () => kit.tasks().then((tasks) => tasks.find(({ spec }) => spec.images[0]?.image === image));
  await apply('again', image);
  const first = await waitFor('a task', task);
  await waitFor('its Job', async () => seen.jobs(first.metadata.uid) === 1);
  await optIn('false');
  await waitFor('the end of the task', async () => !(await task()));
  await optIn('true');
  const second = await waitFor('another task at work', async () => {
    const found = await task();
    return found?.status?.phase && found;
  });
  expect(second.metadata.name).toBe(first.metadata.name);
  controllers.thaw();
  await kit.status('deployment/again', /^Warm 2\/2 nodes$/);
  // One for both nodes, or one for each, where a pod of the first goes later.
  expect(seen.jobs(second.metadata.uid)).toBeGreaterThan(0);
  expect(seen.overlaps()).toEqual([]);
});

test('a real node that dies in the middle of a pull ends the task and says so; back again, it is warmed', async () => {
  const image = await push('dying', 500_000_000);
  const both = { tolerations: BATCH_NODE.tolerations };
  const kubelet = findComponent(cluster, 'kubelet', 'node-c');
  const containerd = findComponent(cluster, 'containerd', 'node-c');
  await apply('dying', image, both);
  await waitFor(
    'a warmer on node-c',
    async () =>
      (await kit.list<Pod>('pods')).some(
        ({ spec, status }) => spec.nodeName === 'node-c' && status.phase === 'Pending',
      ),
    { everyMs: 50 },
  );
  containerd.freeze();
  const restart = await kubelet.kill();
  try {
    await kit.status('deployment/dying', /^Warm 2\/2 nodes$/);
    const message = await waitFor('the reason', async () => {
      const { metadata } = await kit.get<KubernetesObject>('deployment', 'dying');
      return metadata.annotations?.['ips/message'];
    });
    expect(message).toBe('not warmed: node-c (node is not ready)');
  } finally {
    containerd.thaw();
    restart();
  }
  await kit.status('deployment/dying', /^Warm 3\/3 nodes$/);
  expect(await kit.nodesWith(image)).toEqual(['node-a', 'node-b', 'node-c']);
});
