import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { executedImages, PRIVATE_CREDENTIALS, pushTestImage } from '../cluster/cluster.ts';
import { pushForeign } from '../cluster/registry.ts';
import { waitFor } from '../cluster/run.ts';
import { type Ips, startIps } from './ips.ts';
import {
  createKit,
  deployment,
  eventsAbout,
  type Kit,
  type Pod,
  PREWARM,
  STRATEGIES,
  unique,
  WEB_NODES,
} from './kit.ts';

describe.each(STRATEGIES)('with %s', (strategy) => {
  let kit: Kit;
  let ips: Ips;

  beforeAll(async () => {
    kit = await createKit('images');
    ips = await startIps(kit.cluster, { env: { PULL_STRATEGY: strategy } });
  });

  afterAll(async () => {
    await ips?.stop();
    await kit?.remove();
  });

  async function createPullSecret(name: string, password: string): Promise<void> {
    const { username } = PRIVATE_CREDENTIALS;
    const login = [
      `--docker-server=${kit.cluster.privateRegistry.host}`,
      `--docker-username=${username}`,
      `--docker-password=${password}`,
    ];
    await kit.kubectl(['create', 'secret', 'docker-registry', name, ...login]);
  }

  /** Warmers of the namespace that are still there. */
  async function warmers(): Promise<string[]> {
    return (await kit.list<Pod>('pods', ['--selector', 'ips/warmer=true'])).map(
      (pod) => pod.metadata.name ?? '',
    );
  }

  test('images without an executable, with one, and from a registry with a password are warmed, and none is executed', async () => {
    const data = await pushTestImage(kit.cluster, `${unique('data')}:1`, 1_000_000);
    const program = await pushTestImage(kit.cluster, `${unique('program')}:1`, 1_000_000, {
      executable: 'trace',
    });
    const secret = await pushTestImage(kit.cluster, `${unique('secret')}:1`, 1_000_000, {
      executable: 'trace',
      private: true,
    });
    await createPullSecret('registry-login', PRIVATE_CREDENTIALS.password);
    const spec = { ...WEB_NODES, imagePullSecrets: [{ name: 'registry-login' }] };
    const images = [program, secret];
    await kit.apply(
      deployment('mixed', {
        annotations: { ...PREWARM, 'ips/extra-images': data },
        replicas: 0,
        images,
        spec,
      }),
    );
    await kit.status('deployment/mixed', /^Warm 2\/2 nodes$/);
    for (const image of [data, program, secret])
      expect(await kit.nodesWith(image)).toEqual(['node-a', 'node-b']);
    const executed = async () =>
      (await executedImages(kit.cluster)).filter((image) => images.includes(image)).sort();
    expect(await executed()).toEqual([]);

    // The trace works: what runs does leave one.
    await kit.kubectl(['scale', 'deployment/mixed', '--replicas=1']);
    await kit.kubectl(['rollout', 'status', 'deployment/mixed', '--timeout=60s']);
    expect(
      await waitFor('both containers to leave their trace', async () =>
        (await executed()).length >= 2 ? executed() : undefined,
      ),
    ).toEqual([...images].sort());
  });

  test('a wrong password is told as unauthorized, and the images that need none arrive', async () => {
    const open = await pushTestImage(kit.cluster, `${unique('open')}:1`, 1_000_000);
    const secret = await pushTestImage(kit.cluster, `${unique('locked')}:1`, 1_000_000, { private: true });
    await createPullSecret('wrong-login', 'wrong');
    const spec = { ...WEB_NODES, imagePullSecrets: [{ name: 'wrong-login' }] };
    await kit.apply(
      deployment('locked', { annotations: PREWARM, replicas: 0, images: [open, secret], spec }),
    );
    const annotations = await kit.status('deployment/locked', /^PartiallyFailed 0\/2 nodes/);
    expect(annotations['ips/message']).toBe(`${secret}: unauthorized on 2 nodes`);
    expect(await kit.nodesWith(open)).toEqual(['node-a', 'node-b']);
    expect(await kit.nodesWith(secret)).toEqual([]);
  });

  test('a missing image: the others arrive, the Deployment says which failed and why, and no pod is left waiting', async () => {
    const good = await pushTestImage(kit.cluster, `${unique('good')}:1`, 1_000_000);
    const missing = `${kit.cluster.registry.host}/${unique('missing')}:1`;
    await kit.apply(
      deployment('partly', { annotations: PREWARM, replicas: 0, images: [missing, good], spec: WEB_NODES }),
    );
    const annotations = await kit.status('deployment/partly', /^PartiallyFailed/);
    expect(annotations['ips/status']).toBe(`PartiallyFailed 0/2 nodes: ${missing}: not found on 2 nodes`);
    expect(annotations['ips/message']).toBe(`${missing}: not found on 2 nodes`);
    expect(await kit.nodesWith(good)).toEqual(['node-a', 'node-b']);

    const task = (await kit.tasks()).find((each) => each.metadata.name === annotations['ips/task']);
    expect(task?.status).toMatchObject({
      phase: 'PartiallyFailed',
      nodes: { eligible: 2, warm: 0, warming: 0, failed: 2 },
    });
    expect(task?.status?.failures?.map(({ node, image, reason }) => [node, image, reason]).sort()).toEqual([
      ['node-a', missing, 'not found'],
      ['node-b', missing, 'not found'],
    ]);
    const events = (await eventsAbout(kit, 'partly')).map(({ reason, message }) => ({ reason, message }));
    expect(events).toContainEqual({ reason: 'PrewarmFailed', message: annotations['ips/status'] });
    await waitFor('the warmers to be gone', async () => (await warmers()).length === 0);
    expect(await kit.list('jobs')).toEqual([]);
  });

  test('an image for other machines only is told with the architecture that it lacks', async () => {
    const image = await pushTestImage(kit.cluster, `${unique('mainframe')}:1`, 1_000_000);
    const foreign = await pushForeign(kit.cluster.registry, image, 's390x');
    const annotations = { ...PREWARM, 'ips/retry-limit': '0' };
    await kit.apply(deployment('foreign', { annotations, replicas: 0, images: [foreign], spec: WEB_NODES }));
    const { 'ips/message': told } = await kit.status('deployment/foreign', /^Failed 0\/2 nodes/);
    expect(told).toMatch(new RegExp(`^${foreign}: no variant for (amd64|arm64) on 2 nodes$`));
  });

  test('a task whose only image is missing ends Failed', async () => {
    const missing = `${kit.cluster.registry.host}/${unique('nothing')}:1`;
    await kit.apply(
      deployment('nothing', { annotations: PREWARM, replicas: 0, images: [missing], spec: WEB_NODES }),
    );
    const annotations = await kit.status('deployment/nothing', /^Failed/);
    expect(annotations['ips/status']).toBe(`Failed 0/2 nodes: ${missing}: not found on 2 nodes`);
  });

  test('pods that name their node start there in spite of a cordon and of NoSchedule, so their image is warmed there', async () => {
    const image = await pushTestImage(kit.cluster, `${unique('named')}:1`, 1_000_000, {
      executable: 'trace',
    });
    await kit.kubectl(['cordon', 'node-c']);
    try {
      await kit.apply(
        deployment('named', {
          annotations: PREWARM,
          replicas: 0,
          images: [image],
          spec: { nodeName: 'node-c' },
        }),
      );
      await kit.status('deployment/named', /^Warm 1\/1 nodes$/);
      expect(await kit.nodesWith(image)).toEqual(['node-c']);
      await kit.kubectl(['scale', 'deployment/named', '--replicas=1']);
      await kit.kubectl(['rollout', 'status', 'deployment/named', '--timeout=60s']);
    } finally {
      await kit.kubectl(['uncordon', 'node-c']);
    }
  });

  test('a workload that fits no node says why', async () => {
    const image = await pushTestImage(kit.cluster, `${unique('nowhere')}:1`, 1_000_000);
    await kit.apply(
      deployment('nowhere', {
        annotations: PREWARM,
        replicas: 0,
        images: [image],
        spec: { nodeSelector: { pool: 'gpu' } },
      }),
    );
    const annotations = await kit.status('deployment/nowhere', /^Pending: no node is eligible/);
    expect(annotations['ips/message']).toContain('node selector pool=gpu does not match');
    // Those of the tests before may still be on their way out.
    const jobs = (await kit.list('jobs')).filter(
      ({ metadata }) => metadata.labels?.['ips/task'] === annotations['ips/task'],
    );
    expect(jobs).toEqual([]);
  });
});
