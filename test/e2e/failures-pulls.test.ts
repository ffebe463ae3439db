import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import { imageDigestOn, PRIVATE_CREDENTIALS, pushTestImage } from '../cluster/cluster.ts';
import { type RegistryFront, type RegistryFronts, startRegistryFronts } from '../cluster/fronts.ts';
import { waitFor } from '../cluster/run.ts';
import { type Ips, startIps } from './ips.ts';
import {
  createKit,
  deployment,
  eventsAbout,
  type Kit,
  PREWARM,
  STRATEGIES,
  testCluster,
  unique,
  WEB_NODES,
} from './kit.ts';

let kit: Kit;
let ips: Ips;
let fronts: RegistryFronts;
let jobs: { rows(): string[][]; stop(): void };

beforeAll(async () => {
  fronts = await startRegistryFronts(await testCluster());
});

afterAll(async () => {
  await fronts?.stop();
});

/** An image of 1 MB, by the name that it has behind a front. */
async function imageBehind(front: RegistryFront, name: string, options: { private?: boolean } = {}) {
  const image = await pushTestImage(kit.cluster, `${unique(name)}:1`, 1_000_000, options);
  return image.replace(/^[^/]+/, front.host);
}

type Start = { images: string[]; annotations?: Record<string, string>; secret?: string };

async function start(name: string, { images, annotations, secret }: Start): Promise<void> {
  const spec = { ...WEB_NODES, ...(secret ? { imagePullSecrets: [{ name: secret }] } : {}) };
  const all = { ...PREWARM, ...annotations };
  await kit.apply(deployment(name, { annotations: all, replicas: 0, images, spec }));
}

async function message(name: string, wanted: RegExp): Promise<void> {
  await waitFor(
    `deployment/${name} to have ips/message ${wanted}`,
    async () => {
      const { metadata } = await kit.get<KubernetesObject>('deployment', name);
      const told = metadata.annotations?.['ips/message'] ?? '';
      if (!wanted.test(told)) throw new Error(`ips/message is ${told}`);
      return true;
    },
    { everyMs: 500 },
  );
}

/** How many nodes each Job had that was made for a workload. */
async function jobSizes(name: string): Promise<number[]> {
  const { metadata } = await kit.get<KubernetesObject>('deployment', name);
  const own = jobs.rows().filter(([, , task]) => task === metadata.annotations?.['ips/task']);
  return [...new Map(own.map(([job, nodes]) => [job, Number(nodes)])).values()];
}

/** Warmers in all: one for each node and try, in however many Jobs. */
async function warmersOf(name: string): Promise<number> {
  return (await jobSizes(name)).reduce((sum, size) => sum + size, 0);
}

/** Of one try: two nodes, one of which asks again where it has to wait for the other; containerd asks up to five times. */
const MOST_REQUESTS = 3 * 5;

function loginSecret(name: string, front: RegistryFront, password: string): object {
  const { username } = PRIVATE_CREDENTIALS;
  const login = { auths: { [front.host]: { username, password } } };
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name },
    type: 'kubernetes.io/dockerconfigjson',
    stringData: { '.dockerconfigjson': JSON.stringify(login) },
  };
}

describe.each(STRATEGIES)('with %s', (strategy) => {
  beforeAll(async () => {
    kit = await createKit('pulls');
    jobs = kit.watch('jobs', 'NAME:.metadata.name,NODES:.spec.completions,TASK:.metadata.labels.ips/task');
    // All at once: they mostly wait. A machine that is busy with them may keep admission waiting: hence the resync.
    const env = { PULL_STRATEGY: strategy, MAX_ACTIVE_TASKS: '20', RESYNC_SECONDS: '5' };
    ips = await startIps(kit.cluster, { env });
  });

  afterAll(async () => {
    jobs?.stop();
    await ips?.stop();
    await kit?.remove();
  });

  describe.concurrent('pulls that fail', () => {
    test('two bad images among five are named, with reason and nodes; the other three are warm', async () => {
      const push = (name: string, options = {}) =>
        pushTestImage(kit.cluster, `${unique(name)}:1`, 1_000_000, options);
      const good = await Promise.all(['one', 'two', 'three'].map((name) => push(name)));
      const missing = `${kit.cluster.registry.host}/${unique('missing')}:1`;
      const locked = await push('locked', { private: true });
      await start('five', { images: [missing, ...good, locked] });
      const annotations = await kit.status('deployment/five', /^PartiallyFailed 0\/2 nodes/);
      const told = annotations['ips/message']?.split('; ').sort();
      expect(told).toEqual([`${missing}: not found on 2 nodes`, `${locked}: unauthorized on 2 nodes`].sort());
      const task = (await kit.tasks()).find((each) => each.metadata.name === annotations['ips/task']);
      const failures = task?.status?.failures?.map(({ node, image, reason }) => `${node} ${image} ${reason}`);
      const expected = ['node-a', 'node-b'].flatMap((node) => [
        `${node} ${missing} not found`,
        `${node} ${locked} unauthorized`,
      ]);
      expect(failures?.sort()).toEqual(expected.sort());
      for (const image of good) expect(await kit.nodesWith(image)).toEqual(['node-a', 'node-b']);
      expect(await eventsAbout(kit, 'five')).toContainEqual(
        expect.objectContaining({
          type: 'Warning',
          reason: 'PrewarmFailed',
          message: annotations['ips/status'],
        }),
      );
    });

    test('a pull secret that is corrected warms the workload without a touch, after one node has asked', async () => {
      const front = await fronts.open(kit.cluster.privateRegistry, 'pass');
      const image = await imageBehind(front, 'mended', { private: true });
      await kit.apply(loginSecret('login', front, 'wrong'));
      await start('mended', { images: [image], secret: 'login' });
      const annotations = await kit.status('deployment/mended', /^Failed 0\/2 nodes/);
      expect(annotations['ips/message']).toBe(`${image}: unauthorized on 2 nodes`);
      const before = await kit.get<KubernetesObject & { spec: object }>('deployment', 'mended');
      await kit.apply(loginSecret('login', front, PRIVATE_CREDENTIALS.password));
      const asked = (await front.requests()).length;
      expect(asked).toBeLessThanOrEqual(MOST_REQUESTS);

      await kit.status('deployment/mended', /^Warm 2\/2 nodes$/);
      expect(await kit.nodesWith(image)).toEqual(['node-a', 'node-b']);
      const after = await kit.get<KubernetesObject & { spec: object }>('deployment', 'mended');
      expect([after.metadata.uid, after.spec]).toEqual([before.metadata.uid, before.spec]);
      expect(await jobSizes('mended')).toEqual([2, 1, 1]);
    });

    test.each([
      { what: 'without saying until when', name: 'limited', retryAfter: undefined },
      { what: 'with Retry-After', name: 'limited-until', retryAfter: '30' },
    ])(
      'a registry that limits pulls $what is told, asked as configured, and warm when it lets go',
      async (row) => {
        const front = await fronts.open(kit.cluster.registry, 'limited', row.retryAfter);
        const image = await imageBehind(front, row.name);
        const annotations = { 'ips/retry-limit': '2', 'ips/retry-strategy': 'linear' };
        await start(row.name, { images: [image], annotations });
        await message(row.name, /: rate limited on (2 nodes|node-[ab])$/);
        await waitFor('a second try', async () => (await warmersOf(row.name)) > 2);
        const requests = (await front.requests()).length;
        await front.set('pass');
        expect(requests).toBeGreaterThan(0);
        expect(requests).toBeLessThanOrEqual(2 * MOST_REQUESTS);
        await kit.status(`deployment/${row.name}`, /^Warm 2\/2 nodes$/);
        expect(await warmersOf(row.name)).toBeLessThanOrEqual((1 + 2) * 2);
        expect(await eventsAbout(kit, row.name)).toContainEqual(
          expect.objectContaining({ type: 'Warning', message: expect.stringMatching(/: rate limited on /) }),
        );
      },
    );

    test('a tag that moved is warmed again at a rollout where its policy is Always, and not where it is IfNotPresent', async () => {
      // The API server's defaults: Always for latest, IfNotPresent for any other tag.
      const names = { always: `${unique('moved')}:latest`, kept: `${unique('kept')}:1` };
      const push = (name: string) => pushTestImage(kit.cluster, name, 1_000_000);
      const images = { always: await push(names.always), kept: await push(names.kept) };
      const digests = (image: string) =>
        Promise.all(['node-a', 'node-b'].map((node) => imageDigestOn(kit.cluster, node, image)));
      await start('always', { images: [images.always] });
      await start('kept', { images: [images.kept] });
      const { 'ips/task': first } = await kit.status('deployment/always', /^Warm 2\/2 nodes$/);
      const { 'ips/task': only } = await kit.status('deployment/kept', /^Warm 2\/2 nodes$/);
      const before = { always: await digests(images.always), kept: await digests(images.kept) };
      expect(before.kept[0]).toMatch(/^sha256:/);

      await push(names.always);
      await push(names.kept);
      await kit.kubectl(['rollout', 'restart', 'deployment/kept']);
      await kit.kubectl(['rollout', 'restart', 'deployment/always']);
      const [moved] = await waitFor('both nodes to have the new image', async () => {
        const now = await digests(images.always);
        return now[0] !== before.always[0] && now[0] === now[1] && now;
      });
      expect(moved).toMatch(/^sha256:/);
      await waitFor('the Deployment to be warm by another task', async () => {
        const annotations = await kit.status('deployment/always', /^Warm 2\/2 nodes$/);
        return annotations['ips/task'] !== first;
      });
      // What came before it in the queue had its turn.
      expect(await digests(images.kept)).toEqual(before.kept);
      const task = (await kit.tasks()).find((each) => each.metadata.name === only);
      expect(task?.status).toMatchObject({ phase: 'Warm', round: 1, batch: 1 });
      expect(await warmersOf('kept')).toBe(2);
    });

    // What lasts longest, once.
    if (strategy !== 'image-volume') return;

    test('a registry that is down for a minute is asked as configured, and all is warm once it is back', async () => {
      const front = await fronts.open(kit.cluster.registry, 'pass');
      const image = await imageBehind(front, 'down');
      await front.set('down');
      const downAt = Date.now();
      await start('down', { images: [image] });
      await message('down', /: registry unreachable on (2 nodes|node-[ab])$/);
      const told = await eventsAbout(kit, 'down');
      expect(told).toContainEqual(
        expect.objectContaining({ type: 'Warning', message: expect.stringMatching(/registry unreachable/) }),
      );
      await waitFor('a minute to pass', async () => Date.now() - downAt > 60_000, { timeoutMs: 70_000 });
      expect((await kit.get<KubernetesObject>('deployment', 'down')).metadata.annotations).toMatchObject({
        'ips/status': 'Warming 0/2 nodes',
      });
      await front.set('pass');
      // By default after 10, 20 and 40 s: the third of them finds it back.
      await kit.status('deployment/down', /^Warm 2\/2 nodes$/);
      const warmers = await warmersOf('down');
      expect(warmers).toBeGreaterThan(2);
      expect(warmers).toBeLessThanOrEqual((1 + 3) * 2);
      // Of the one that found it; nothing was left over from before.
      expect((await front.requests()).length).toBeLessThanOrEqual(MOST_REQUESTS);
    });

    test('a registry that cuts every connection is tried as configured, and then left alone', async () => {
      const front = await fronts.open(kit.cluster.registry, 'reset');
      const image = await imageBehind(front, 'reset');
      const annotations = { 'ips/retry-limit': '2', 'ips/retry-strategy': 'linear' };
      await start('reset', { images: [image], annotations });
      const { 'ips/message': told } = await kit.status('deployment/reset', /^Failed 0\/2 nodes/);
      expect(told).toBe(`${image}: registry unreachable on 2 nodes`);
      const requests = await front.requests();
      expect(await warmersOf('reset')).toBe((1 + 2) * 2);
      expect(requests.length).toBeGreaterThanOrEqual(3 * 2);
      expect(requests.length).toBeLessThanOrEqual(3 * MOST_REQUESTS);
      // Nobody waits with a warmer that the kubelet would go on trying.
      const left = await waitFor('twenty seconds without a request', async () => {
        const now = await front.requests();
        return Date.now() - (now.at(-1)?.atMs ?? 0) > 20_000 && now;
      });
      expect(left).toEqual(requests);
    });

    test('a slow registry is waited for: one try, each layer fetched once by each node', async () => {
      const front = await fronts.open(kit.cluster.registry, 'slow');
      const image = await imageBehind(front, 'slow');
      const startedAt = Date.now();
      await start('slow', { images: [image] });
      const { 'ips/task': task } = await kit.status('deployment/slow', /^Warm 2\/2 nodes$/);
      expect(Date.now() - startedAt).toBeGreaterThan(10_000);
      const { status } = (await kit.tasks()).find((each) => each.metadata.name === task) ?? {};
      expect(status).toMatchObject({ round: 1, batch: 1 });
      const blobs = (await front.requests()).filter(({ path }) => path.includes('/blobs/'));
      // Of each node: the configuration and the layer.
      expect(blobs).toHaveLength(4);
    });
  });
});
