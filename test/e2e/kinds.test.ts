import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { KubernetesObject, OwnerReference } from '../../src/domain/kubernetes.ts';
import { kubectl, pushTestImage } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, type Kit, PREWARM, unique, WEB_NODES } from './kit.ts';
import { defineCustomResource, KINDS, made } from './workloads.ts';

/**
 * Every kind on the real API server with its real controller. Of Argo there is the name of its Rollout and no controller:
 * what one does here, IPS sees in the objects alone.
 */

const ROLLOUTS = 'rollouts.argoproj.io';
const FLEETS = 'fleets.shop.example';
const SECRETIVE = 'vaults.shop.example';
const CUSTOM_WORKLOADS = [
  `${ROLLOUTS}/v1alpha1:Rollout:spec.template`,
  `${FLEETS}/v1alpha1:Fleet:spec.groups.workers.podTemplate`,
  `${SECRETIVE}/v1alpha1:Vault:spec.template`,
].join();
const BUILT_INS = (Object.keys(KINDS) as (keyof typeof KINDS)[]).filter((kind) => kind !== 'Rollout');

let kit: Kit;
let ips: Ips;
let pause: string;
let startedMs: number;

beforeAll(async () => {
  kit = await createKit('kinds');
  pause = `${kit.cluster.registry.host}/pause:3.10`;
  const env = { CUSTOM_WORKLOADS, MAX_ACTIVE_TASKS: '20', RESYNC_SECONDS: '3600' };
  startedMs = Date.now();
  ips = await startIps(kit.cluster, { env });
});

afterAll(async () => {
  await ips?.stop();
  await kit?.remove();
  for (const each of [ROLLOUTS, FLEETS])
    await kubectl(kit.cluster, ['delete', 'crd', each, '--ignore-not-found']);
  await kubectl(kit.cluster, [
    'delete',
    'clusterrole,clusterrolebinding',
    'ips-fleets',
    '--ignore-not-found',
  ]);
});

/** Opted in by its template, as its pods then are too; the images that only IPS pulls come by annotation. */
function optedIn(image: string, args: string[] = []) {
  const containers = [{ name: 'c', image: pause, args }];
  return {
    templateAnnotations: { ...PREWARM, 'ips/extra-images': image },
    spec: { ...WEB_NODES, containers },
  };
}

const small = (name: string) => pushTestImage(kit.cluster, `${unique(name)}:1`, 100_000);

const ownersOfTasks = async (): Promise<string[]> =>
  (await kit.tasks())
    .flatMap(({ metadata }) => metadata.ownerReferences?.map(({ kind, name }) => `${kind}/${name}`) ?? [])
    .sort();

const stateOf = (resource: string, state: string) =>
  ips.metric('ips_custom_workloads', `resource="${resource}",state="${state}"`);

const seen = async <T extends KubernetesObject>(kind: string, name: string) => kit.get<T>(kind, name);

describe('a kind of Kubernetes', () => {
  const images = new Map<string, string>();
  const admitted = new Map<string, KubernetesObject>();

  beforeAll(async () => {
    // A cordoned node is for DaemonSets alone.
    await kit.kubectl(['cordon', 'node-b']);
    for (const kind of BUILT_INS) {
      const image = await small(kind.toLowerCase());
      images.set(kind, image);
      // Those that start pods at once are opted in themselves: a Pod has no template.
      const own = kind === 'Pod' ? { annotations: optedIn(image).templateAnnotations } : {};
      const object = KINDS[kind]('web', { ...optedIn(image, ['-v']), ...own });
      admitted.set(kind, JSON.parse(await kit.apply(object, ['-o', 'json'])));
    }
  });

  afterAll(async () => {
    await kit.kubectl(['uncordon', 'node-b']);
  });

  test.each(BUILT_INS)('%s is labelled at admission, warmed, and told', async (kind) => {
    expect(admitted.get(kind)?.metadata.labels).toMatchObject(PREWARM);
    const nodes = kind === 'DaemonSet' ? ['node-a', 'node-b'] : ['node-a'];
    await kit.status(`${kind}/web`, new RegExp(`^Warm ${nodes.length}/${nodes.length}`));
    expect(await kit.nodesWith(images.get(kind) ?? '')).toEqual(nodes);
  });

  test('is told without a rollout, and its controller copies nothing of that onward', async () => {
    for (const kind of ['StatefulSet', 'DaemonSet', 'CronJob', 'Job'])
      expect([kind, (await seen(kind, 'web')).metadata.generation]).toEqual([kind, 1]);
    const revisions = await kit.list('controllerrevisions');
    expect(revisions.map(({ metadata }) => metadata.ownerReferences?.[0]?.kind).sort()).toEqual([
      'DaemonSet',
      'StatefulSet',
    ]);
  });

  test('has children that add no task', async () => {
    await kit.kubectl(['scale', 'deployment/web', 'statefulset/web', 'replicaset/web', '--replicas=2']);
    await kit.kubectl(['create', 'job', 'once', '--from=cronjob/web']);
    await waitFor('pods of every controller', async () => {
      const owners = (await kit.list('pods')).flatMap(({ metadata }) => metadata.ownerReferences ?? []);
      const kinds = new Set(owners.filter(({ name }) => !name.startsWith('ips-')).map(({ kind }) => kind));
      return ['ReplicaSet', 'StatefulSet', 'DaemonSet', 'Job'].every((each) => kinds.has(each));
    });
    expect(await ownersOfTasks()).toEqual(BUILT_INS.map((kind) => `${kind}/web`).sort());
    for (const kind of ['pods', 'jobs', 'replicasets']) {
      const labelled = await kit.list(kind, ['--selector', 'ips/prewarm=true']);
      expect([kind, labelled.map(({ metadata }) => metadata.name)]).toEqual([kind, ['web']]);
    }
    const rounds = (await kit.tasks()).map(({ status }) => status?.round);
    expect(new Set(rounds)).toEqual(new Set([1]));
  });

  test('Job that ends has nothing left to warm', async () => {
    await kit.kubectl(['patch', 'job/web', '--type=merge', '--patch', '{"spec":{"suspend":false}}']);
    await kit.kubectl(['wait', 'job/web', '--for=condition=Complete', '--timeout=60s']);
    await waitFor('its task to go', async () => !(await ownersOfTasks()).includes('Job/web'));
  });

  test('is left when it opts out', async () => {
    const kinds = BUILT_INS.filter((kind) => kind !== 'Job');
    // Its own word goes before that of its template.
    for (const kind of kinds)
      await kit.kubectl(['annotate', `${kind}/web`, 'ips/prewarm=false', '--overwrite']);
    await waitFor('the tasks to go', async () => (await ownersOfTasks()).length === 0);
    for (const kind of kinds) {
      const { labels, annotations } = (await seen(kind, 'web')).metadata;
      expect([kind, labels?.['ips/prewarm']]).toEqual([kind, undefined]);
      expect([kind, Object.keys(annotations ?? {})]).not.toEqual([
        kind,
        expect.arrayContaining(['ips/status']),
      ]);
    }
  });
});

describe('a custom resource', () => {
  test('that is not there, or may not be seen, holds nothing up, and is said', async () => {
    expect((await fetch(`${ips.url}/readyz`)).status).toBe(200);
    await waitFor('the metrics to say so', async () => {
      const states = [
        stateOf(ROLLOUTS, 'absent'),
        stateOf(FLEETS, 'forbidden'),
        stateOf(SECRETIVE, 'forbidden'),
      ];
      return (await Promise.all(states)).every((each) => each === 1);
    });
    const lines = (await ips.logLines()).filter(({ resource }) => resource === SECRETIVE);
    expect(lines).toEqual([
      expect.objectContaining({ level: 50, msg: expect.stringContaining('get, list, watch and patch') }),
    ]);
    expect(await ips.metric('ips_watch_errors_total', `resource="${ROLLOUTS}"`)).toBe(0);
  });

  test('is found when its definition is installed later, and warmed', async () => {
    await defineCustomResource(kit.cluster, ROLLOUTS, 'Rollout');
    const image = await small('rollout');
    const stored = JSON.parse(await kit.apply(KINDS.Rollout('web', optedIn(image)), ['-o', 'json']));
    expect(stored.metadata.labels).toEqual(PREWARM);
    await kit.status('rollout/web', /^Warm 2\/2/);
    expect(await kit.nodesWith(image)).toEqual(['node-a', 'node-b']);
    expect(await stateOf(ROLLOUTS, 'watched')).toBe(1);
    expect(await stateOf(ROLLOUTS, 'absent')).toBe(0);
  });

  test('counts in place of what it owns', async () => {
    const { uid = '' } = (await seen('rollout', 'web')).metadata;
    const owner: OwnerReference = {
      ...{ apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout', name: 'web', uid, controller: true },
    };
    const child = KINDS.ReplicaSet('child', optedIn(await small('child')));
    const metadata = { ...child.metadata, ownerReferences: [owner] };
    const stored = JSON.parse(await kit.apply({ ...child, metadata }, ['-o', 'json']));
    expect(stored.metadata.labels).toBeUndefined();
    // One of another group with the same kind is no controller that IPS knows.
    const other = KINDS.ReplicaSet('other', optedIn(await small('other')));
    const foreign = [{ ...owner, apiVersion: 'other.example/v1' }];
    await kit.apply({ ...other, metadata: { ...other.metadata, ownerReferences: foreign } });
    await waitFor('a task of the other', async () => (await ownersOfTasks()).includes('ReplicaSet/other'));
    expect(await ownersOfTasks()).not.toContain('ReplicaSet/child');
  });

  test.each<[string, object]>([
    ['is a text', { spec: 'text' }],
    ['is missing', { spec: undefined }],
    ['has other things than templates', { spec: { template: 'text', jobTemplate: 7 } }],
    ['has lists', { spec: { template: { metadata: [], spec: [] }, jobTemplate: [] } }],
  ])('whose spec %s is let through, opted in or not', async (_, rest) => {
    for (const annotations of [{}, PREWARM]) {
      const object = {
        ...made('argoproj.io/v1alpha1', 'Rollout', unique('odd'), { annotations }, {}),
        ...rest,
      };
      const stored = JSON.parse(
        await kit.kubectl(['apply', '-f', '-', '-o', 'json'], JSON.stringify(object)),
      );
      expect(stored.metadata.labels ?? {}).toEqual(annotations);
    }
  });

  test('with a deeper template is warmed once the operator gave IPS the rights and the rule', async () => {
    await defineCustomResource(kit.cluster, FLEETS, 'Fleet');
    const image = await small('fleet');
    const pods = { metadata: {}, spec: optedIn(image).spec };
    const spec = { groups: { workers: { podTemplate: pods } } };
    const annotations = optedIn(image).templateAnnotations;
    // Before IPS may see it: it is found then.
    await kit.apply(made('shop.example/v1alpha1', 'Fleet', 'early', { annotations }, spec));
    const verbs = '--verb=get,list,watch,patch';
    await kubectl(kit.cluster, ['create', 'clusterrole', 'ips-fleets', verbs, `--resource=${FLEETS}`]);
    const account = '--serviceaccount=ips-system:ips';
    await kubectl(kit.cluster, [
      'create',
      'clusterrolebinding',
      'ips-fleets',
      '--clusterrole=ips-fleets',
      account,
    ]);
    const rule = {
      ...{ apiGroups: ['shop.example'], apiVersions: ['v1alpha1'], resources: ['fleets'] },
      ...{ operations: ['CREATE', 'UPDATE'], scope: 'Namespaced' },
    };
    const patch = JSON.stringify([{ op: 'add', path: '/webhooks/0/rules/-', value: rule }]);
    await kubectl(kit.cluster, [
      'patch',
      'mutatingwebhookconfiguration',
      'ips',
      '--type=json',
      '--patch',
      patch,
    ]);
    await kit.status('fleet/early', /^Warm 2\/2/);
    await waitFor('a fleet to be labelled at admission', async () => {
      const fleet = made('shop.example/v1alpha1', 'Fleet', unique('late'), { annotations }, spec);
      return JSON.parse(await kit.apply(fleet, ['-o', 'json'])).metadata.labels?.['ips/prewarm'] === 'true';
    });
    expect(await kit.nodesWith(image)).toEqual(['node-a', 'node-b']);
  });

  test('is let go when its definition is removed, and nothing else', async () => {
    await kubectl(kit.cluster, ['delete', 'crd', ROLLOUTS, '--timeout=60s']);
    await waitFor('the tasks of Rollouts to go', async () =>
      (await ownersOfTasks()).every((each) => !each.startsWith('Rollout')),
    );
    await waitFor('it to be missed', async () => (await stateOf(ROLLOUTS, 'absent')) === 1, {
      timeoutMs: 200_000,
    });
    expect((await fetch(`${ips.url}/readyz`)).status).toBe(200);
    expect((await ownersOfTasks()).some((each) => each.startsWith('Fleet'))).toBe(true);
    // What cannot be seen is asked for calmly.
    const asked = await requestsFor(SECRETIVE);
    expect(asked.length).toBeGreaterThan(1);
    for (const [index, ms] of asked.entries()) expect(ms - (asked[index - 1] ?? 0)).toBeGreaterThan(4_000);
  });

  test('is found again', async () => {
    await defineCustomResource(kit.cluster, ROLLOUTS, 'Rollout');
    await kit.apply(KINDS.Rollout('again', optedIn(await small('again'))));
    await kit.status('rollout/again', /^Warm 2\/2/);
    const image = await small('after');
    await kit.apply(KINDS.Deployment('after', optedIn(image)));
    await kit.status('deployment/after', /^Warm 2\/2/);
  });
});

/** When IPS asked the API server for a resource that its informer watches, by the audit log. */
async function requestsFor(resource: string): Promise<number[]> {
  const [plural, ...group] = resource.split('.');
  const log = await readFile(`${kit.cluster.folder}/logs/audit.log`, 'utf8');
  const path = `/apis/${group.join('.')}/v1alpha1/${plural}?labelSelector`;
  const lines = log.split('\n').filter((line) => line.includes(path) && line.includes('"ResponseComplete"'));
  const times = lines.map((line) => JSON.parse(line) as { requestReceivedTimestamp: string });
  return times.map((each) => Date.parse(each.requestReceivedTimestamp)).filter((ms) => ms > startedMs);
}
