import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Job, KubernetesObject } from '../../src/domain/kubernetes.ts';
import type { PrewarmTask } from '../../src/domain/prewarm-task.ts';
import { pushTestImage } from '../cluster/cluster.ts';
import { type RegistryFront, type RegistryFronts, startRegistryFronts } from '../cluster/fronts.ts';
import { run, waitFor } from '../cluster/run.ts';
import { enter } from '../cluster/sandbox.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, eventsAbout, type Kit, PREWARM, unique, WEB_NODES } from './kit.ts';

type Names = [string, string, string, string];

let kit: Kit;
let other: Kit;
let ips: Ips;
let fronts: RegistryFronts;
let jobs: ReturnType<Kit['watch']>;
let collectedTwice: Promise<void>;

beforeAll(async () => {
  kit = await createKit('tasks');
  other = await createKit('others');
  fronts = await startRegistryFronts(kit.cluster);
  jobs = kit.watch('jobs', 'NAME:.metadata.name,TASK:.metadata.labels.ips/task');
  ips = await startIps(kit.cluster, {
    env: { COLLECTED_RETRY_SECONDS: '30', MAX_NAMESPACE_TASKS: '2', RESYNC_SECONDS: '5' },
  });
  collectedTwice = collectTwice();
  collectedTwice.catch(() => {}); // told by the test that waits for it
});

afterAll(async () => {
  jobs?.stop();
  await ips?.stop();
  await fronts?.stop();
  await kit?.remove();
  await other?.remove();
});

const small = (name: string) => pushTestImage(kit.cluster, `${unique(name)}:1`, 1_000_000);

/** A task by hand, on node-b: node-a pulls one image at a time, and a slow one would hold up all others. */
async function makeTask(name: string, images: string[], spec: object = {}, where = kit): Promise<void> {
  await where.apply({
    apiVersion: 'ips.dev/v1alpha1',
    kind: 'PrewarmTask',
    metadata: { name },
    spec: {
      images: images.map((image) => ({ image, pullPolicy: 'IfNotPresent' })),
      nodeRequirements: {
        nodeSelector: { ...WEB_NODES.nodeSelector, 'topology.kubernetes.io/zone': 'zone-b' },
      },
      ...spec,
    },
  });
}

const taskNamed = (name: string, where = kit) => where.get<PrewarmTask>('prewarmtask', name);

async function phase(name: string, wanted: RegExp, where = kit): Promise<PrewarmTask> {
  return waitFor(
    `${name} to be ${wanted}`,
    async () => {
      const task = await taskNamed(name, where);
      if (wanted.test(task.status?.phase ?? '')) return task;
      throw new Error(JSON.stringify(task.status));
    },
    { timeoutMs: 60_000 },
  );
}

/** The names of the tasks in the order in which their first Jobs were made. */
function begun(): string[] {
  return [...new Set(jobs.rows().flatMap(([, task]) => task ?? []))];
}

describe('whose turn it is', () => {
  /** A task whose pulls go on until it is removed: its registry answers nobody. */
  async function hold(front: RegistryFront, where = kit): Promise<string> {
    const name = unique('holds');
    await makeTask(name, [(await small(name)).replace(/^[^/]+/, front.host)], {}, where);
    await phase(name, /^Warming$/, where);
    return name;
  }

  async function waits(name: string): Promise<void> {
    await waitFor(`${name} to wait for its turn`, async () => {
      const { status } = await taskNamed(name);
      return status?.phase === 'Pending' && status.message === 'waiting for its turn';
    });
  }

  test('two tasks of a namespace at most warm at once, and three in all; then the one of the highest priority, then the oldest', async () => {
    const front = await fronts.open(kit.cluster.registry, 'silent');
    const held = [await hold(front), await hold(front)];
    const [low, first, second, high] = ['low', 'first', 'second', 'high'].map(unique) as Names;
    await makeTask(low, [await small('low')], { priority: 2 });
    await waits(low);
    // The third turn is for others.
    const elsewhere = unique('elsewhere');
    await makeTask(elsewhere, [await small('elsewhere')], { priority: 1 }, other);
    await phase(elsewhere, /^Warm$/, other);
    const third = await hold(front, other);

    await makeTask(first, [await small('first')]);
    // A creation time counts whole seconds.
    await waitFor('the next second', async () => {
      const { metadata } = await taskNamed(first);
      return Date.now() > Date.parse(metadata.creationTimestamp ?? '') + 1100;
    });
    await makeTask(second, [await small('second')]);
    await makeTask(high, [await small('high')], { priority: 9 });
    const waiting = [high, first, second, low];
    for (const name of waiting) await waits(name);
    expect(begun().filter((name) => waiting.includes(name))).toEqual([]);
    expect(await ips.metric('ips_active_tasks')).toBe(3);

    await kit.kubectl(['delete', 'prewarmtask', ...held]);
    await other.kubectl(['delete', 'prewarmtask', third]);
    for (const name of waiting) await phase(name, /^Warm$/);
    const order = begun().filter((name) => waiting.includes(name));
    // Two turns are free at once: who is first of these is not certain.
    expect([order.slice(0, 2).sort(), ...order.slice(2)]).toEqual([[high, first].sort(), second, low]);
  });

  test('three tasks with misspelt images do not hold up a fourth', async () => {
    const misspelt = [unique('misspelt'), unique('misspelt'), unique('misspelt')];
    for (const name of misspelt)
      await makeTask(name, [`${kit.cluster.registry.host}/${name}:1`], { priority: 10 });
    const right = unique('right');
    await makeTask(right, [await small('right')], { priority: 1 });
    await phase(right, /^Warm$/);
    for (const name of misspelt) {
      const { status } = await phase(name, /^Failed$/);
      expect(status?.failures?.[0]).toMatchObject({ reason: 'not found' });
      // It waits for its next try, and for nothing else.
      expect(status).not.toHaveProperty('wantsSince');
      expect(status?.retryAt).toBeDefined();
    }
    await kit.kubectl(['delete', 'prewarmtask', ...misspelt]);
  });
});

describe('the end of a task', () => {
  test('a cancelled task ends its Jobs within 2 s, for good', async () => {
    const front = await fronts.open(kit.cluster.registry, 'silent');
    const name = unique('cancelled');
    const image = await small(name);
    await makeTask(name, [image.replace(/^[^/]+/, front.host)]);
    const [job] = await waitFor('its Job', async () => {
      const found = await kit.list<Job>('jobs', ['--selector', `ips/task=${name}`]);
      return found.length > 0 && found;
    });
    const startedMs = Date.now();
    const patch = JSON.stringify({ spec: { cancelled: true } });
    await kit.kubectl([
      'patch',
      'prewarmtask',
      name,
      '--type=merge',
      '-p',
      patch,
      '--field-manager=canceller',
    ]);
    await phase(name, /^Cancelled$/);
    await waitFor('its warmers and Jobs to go', async () => {
      const left = await Promise.all(
        ['jobs', 'pods'].map((kind) => kit.list<KubernetesObject>(kind, ['--selector', `ips/task=${name}`])),
      );
      return left.flat().length === 0;
    });
    // The API server's time of the cancelling write, in whole seconds: it was not before kubectl began.
    const text = await kit.kubectl(['get', 'prewarmtask', name, '-o', 'json', '--show-managed-fields']);
    type Managed = { metadata: { managedFields: { manager: string; time: string }[] } };
    const { managedFields } = (JSON.parse(text) as Managed).metadata;
    const written = managedFields.find(({ manager }) => manager === 'canceller')?.time;
    const cancelledMs = Math.max(startedMs, Date.parse(written ?? ''));
    expect((await removedMs(job?.metadata.name ?? '')) - cancelledMs).toBeLessThanOrEqual(2000);
    const { status } = await taskNamed(name);
    for (const field of ['batches', 'retryAt', 'wantsSince', 'coldSince'])
      expect(status).not.toHaveProperty(field);
  });

  test('a task made by hand goes some time after it ended, and leaves no Job', async () => {
    const name = unique('brief');
    await makeTask(name, [await small('brief')], { ttlSecondsAfterFinished: 0 });
    await waitFor(
      'the task to go',
      async () => !(await kit.tasks()).some(({ metadata }) => metadata.name === name),
      { timeoutMs: 90_000 },
    );
    expect(begun()).toContain(name);
    await waitFor(
      'its Jobs to go',
      async () => (await kit.list('jobs', ['--selector', `ips/task=${name}`])).length === 0,
    );
  });
});

/** When the API server was asked to remove a Job, by its audit log. */
async function removedMs(job: string): Promise<number> {
  const log = await readFile(join(kit.cluster.folder, 'logs/audit.log'), 'utf8');
  const line = log
    .split('\n')
    .find((each) => each.includes('"verb":"delete"') && each.includes(`/jobs/${job}`));
  const { requestReceivedTimestamp } = JSON.parse(line ?? '{}') as { requestReceivedTimestamp?: string };
  return Date.parse(requestReceivedTimestamp ?? '');
}

async function listed(image: string): Promise<boolean> {
  type Node = KubernetesObject & { status: { images: { names: string[] }[] } };
  const node = await kit.get<Node>('node', 'node-b');
  return node.status.images.some(({ names }) => names.includes(image));
}

/** It takes long, and nothing while it waits for the kubelet: the other tests run meanwhile. */
async function collectTwice(): Promise<void> {
  const image = await small('collected');
  await kit.apply(
    deployment('collected', { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES }),
  );
  await kit.status('deployment/collected', /^Warm 2\/2 nodes$/);
  const { socket, ctr } = {
    socket: join(kit.cluster.folder, 'node-b', 'containerd.sock'),
    ctr: kit.cluster.binaries.path('ctr'),
  };
  /** As its garbage collector does it, by the runtime; the node's status tells within a minute. */
  const collect = async () => {
    await waitFor('the node to list the image', async () => listed(image), { timeoutMs: 90_000 });
    await run(
      ...enter(kit.cluster.sandbox, ctr, [
        '--address',
        socket,
        '-n',
        'k8s.io',
        'images',
        'rm',
        '--sync',
        image,
      ]),
    );
    expect(await kit.nodesWith(image)).toEqual(['node-a']);
  };
  await collect();
  await waitFor('the image to be back', async () => (await kit.nodesWith(image)).length === 2, {
    timeoutMs: 90_000,
  });
  await collect();
  const told = await kit.status('deployment/collected', /^PartiallyFailed 1\/2 nodes/);
  const wanted = new RegExp(
    `^${image}: collected again and again on node-b, the disk is too small; next try at 20\\d\\d-.*Z$`,
  );
  expect(told['ips/message']).toMatch(wanted);
  expect(await kit.nodesWith(image)).toEqual(['node-a']);
  const { status } = await taskNamed(told['ips/task'] ?? '');
  expect(status?.failures).toEqual([
    expect.objectContaining({ node: 'node-b', image, reason: 'collected again and again' }),
  ]);
  expect(status?.collected).toMatchObject([{ times: 2, images: [0] }]);
  expect(await ips.metric('ips_collected_nodes_total')).toBe(1);
  expect(await eventsAbout(kit, 'collected')).toContainEqual(
    expect.objectContaining({ type: 'Warning', reason: 'PrewarmFailed', message: told['ips/status'] }),
  );
  await kit.status('deployment/collected', /^Warm 2\/2 nodes$/);
  expect(await kit.nodesWith(image)).toEqual(['node-a', 'node-b']);
}

test('an image that the kubelet removes is brought again, at once the first time, later the second, and its user is told', async () => {
  await collectedTwice;
}, 400_000);
