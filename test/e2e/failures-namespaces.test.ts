import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKubeClient } from '../../src/kube/client.ts';
import { loadKubeConfig } from '../../src/kube/config.ts';
import { isNamespaceTerminating } from '../../src/kube/errors.ts';
import { pushTestImage } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, eventsAbout, type Kit, type Pod, PREWARM, unique, WEB_NODES } from './kit.ts';

/** What namespaces and runtimes ask of pods, warmers too: warmed, or told why not while the user still looks. */
const TOLD_MS = 60_000;

let ips: Ips;
let kits: Kit[];

beforeAll(async () => {
  kits = [await createKit('nodes')];
  // All at once: who waits for a quota must not keep the others waiting. A machine that is busy with them may keep
  // admission waiting: hence the resync.
  ips = await startIps(kit().cluster, { env: { MAX_ACTIVE_TASKS: '20', RESYNC_SECONDS: '5' } });
});

afterAll(async () => {
  await ips?.stop();
  const names = (kits ?? []).map((each) => each.namespace);
  await kit().kubectl(['delete', 'namespaces', ...names, '--timeout=90s']);
});

function kit(): Kit {
  const [first] = kits;
  if (!first) throw new Error('there is no namespace yet');
  return first;
}

async function namespaceWith(name: string, object: object | undefined): Promise<Kit> {
  const made = await createKit(name);
  kits.push(made);
  if (object) await made.apply(object);
  return made;
}

const newImage = (name: string) => pushTestImage(kit().cluster, `${unique(name)}:1`, 1_000_000);

const workload = (image: string, spec = WEB_NODES) =>
  deployment('app', { annotations: PREWARM, replicas: 0, images: [image], spec });

const quota = (hard: Record<string, string>) => ({
  apiVersion: 'v1',
  kind: 'ResourceQuota',
  metadata: { name: 'limited' },
  spec: { hard },
});

const limitRange = (limits: object) => ({
  apiVersion: 'v1',
  kind: 'LimitRange',
  metadata: { name: 'limited' },
  spec: { limits: [{ type: 'Container', ...limits }] },
});

/** Tells, as `kubectl describe` shows it, why nothing is warmed; within the time that was promised. */
async function toldWhy(where: Kit, why: RegExp): Promise<void> {
  await waitFor(
    `the Deployment to say ${why}`,
    async () => {
      const { metadata } = await where.get('deployment', 'app');
      const message = metadata.annotations?.['ips/message'] ?? '';
      if (!why.test(message)) throw new Error(`ips/message is ${message}`);
      const events = await eventsAbout(where, 'app');
      return events.some((event) => event.type === 'Warning' && why.test(event.message));
    },
    { timeoutMs: TOLD_MS, everyMs: 500 },
  );
}

describe.concurrent('a namespace', () => {
  test.each([
    {
      what: 'a quota of pods',
      object: quota({ pods: '0' }),
      why: /: no warmer: exceeded quota: limited, requested: pods=1, used: pods=0, limited: pods=0 on 2 nodes$/,
    },
    {
      what: 'a quota of pod objects',
      object: quota({ 'count/pods': '0' }),
      why: /: no warmer: exceeded quota: limited, requested: count\/pods=1, .* on 2 nodes$/,
    },
    {
      what: 'a quota of requested processors',
      object: quota({ 'requests.cpu': '5m' }),
      why: /: no warmer: exceeded quota: limited, requested: requests.cpu=10m, .*limited: requests.cpu=5m on 2 nodes$/,
    },
    {
      what: 'a quota of memory limits',
      object: quota({ 'limits.memory': '32Mi' }),
      why: /: no warmer: exceeded quota: limited, requested: limits.memory=\d+Mi, .* on 2 nodes$/,
    },
    {
      what: 'a quota of Jobs',
      object: quota({ 'count/jobs.batch': '0' }),
      why: /: no warmer: exceeded quota: limited, requested: count\/jobs.batch=1, .* on 2 nodes$/,
    },
    {
      what: 'a LimitRange under what warmers may use',
      object: limitRange({ max: { memory: '32Mi' } }),
      why: /: no warmer: maximum memory usage per Container is 32Mi, but limit is 64Mi on 2 nodes$/,
    },
    {
      what: 'a LimitRange above what warmers ask for',
      object: limitRange({ min: { cpu: '50m' } }),
      why: /: no warmer: .*minimum cpu usage per Container is 50m, but request is 10m.* on 2 nodes$/,
    },
  ])('with $what says why nothing is warmed; without it all is warmed', async ({ object, why }) => {
    const where = await namespaceWith('refused', object);
    const image = await newImage('refused');
    await where.apply(workload(image));
    await toldWhy(where, why);
    await where.kubectl(['delete', object.kind, 'limited']);
    await where.status('deployment/app', /^Warm 2\/2 nodes$/);
  });

  test('with a quota for one pod is warmed, one node after the other', async () => {
    const where = await namespaceWith('narrow', quota({ pods: '1' }));
    await where.apply(workload(await newImage('narrow')));
    await where.status('deployment/app', /^Warm 2\/2 nodes$/);
  });

  test('with a LimitRange that sets defaults is warmed', async () => {
    const defaults = { default: { cpu: '50m', memory: '32Mi' }, defaultRequest: { cpu: '20m' } };
    const where = await namespaceWith('defaults', limitRange(defaults));
    await where.apply(workload(await newImage('defaults')));
    await where.status('deployment/app', /^Warm 2\/2 nodes$/);
  });

  test('that enforces the restricted Pod Security profile is warmed', async () => {
    const where = await namespaceWith('restricted', undefined);
    const enforce = 'pod-security.kubernetes.io/enforce=restricted';
    await where.kubectl(['label', 'namespace', where.namespace, enforce]);
    // The profile is in force: a pod that promises nothing is turned away.
    const spec = { containers: [{ name: 'c', image: 'registry.invalid/none:1' }] };
    const plain = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'plain' }, spec };
    await expect(where.apply(plain)).rejects.toThrow('violates PodSecurity "restricted');
    await where.apply(workload(await newImage('restricted')));
    await where.status('deployment/app', /^Warm 2\/2 nodes$/);
  });
});

test('a namespace that is being deleted is known by the answer to what would be made there', async () => {
  const where = await createKit('ending');
  const held = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'held', finalizers: ['ips.test/held'] },
  };
  await where.apply(held);
  await where.kubectl(['delete', 'namespace', where.namespace, '--wait=false']);
  const client = createKubeClient(loadKubeConfig(where.cluster.kubeconfigFile), { userAgent: 'test' });
  const refusal = await client
    .create({ apiVersion: 'v1', plural: 'configmaps' }, where.namespace, {
      ...held,
      metadata: { name: 'new' },
    })
    .catch((error: unknown) => error);
  expect(refusal).toMatchObject({ status: 403 });
  expect(isNamespaceTerminating(refusal)).toBe(true);
  await where.kubectl(['patch', 'configmap', 'held', '--patch', '{"metadata":{"finalizers":null}}']);
  await where.kubectl(['wait', '--for=delete', `namespace/${where.namespace}`, '--timeout=90s']);
});

describe.concurrent('a RuntimeClass', () => {
  type Options = { handler?: string; scheduling?: object; overhead?: object };

  async function runtimeClass(options: Options, name = unique('runtime')): Promise<string> {
    const { handler = 'runc', ...rest } = options;
    await kit().apply({
      apiVersion: 'node.k8s.io/v1',
      kind: 'RuntimeClass',
      metadata: { name, labels: { test: 'ips' } },
      handler,
      ...rest,
    });
    return name;
  }

  afterAll(async () => {
    await kit().kubectl(['delete', 'runtimeclasses', '--selector', 'test=ips']);
  });

  test('decides the nodes by its node selector and tolerations, beside those of the workload', async () => {
    const name = await runtimeClass({
      scheduling: {
        nodeSelector: { 'topology.kubernetes.io/zone': 'zone-b' },
        tolerations: [{ key: 'dedicated', operator: 'Exists', effect: 'NoSchedule' }],
      },
      overhead: { podFixed: { cpu: '20m', memory: '8Mi' } },
    });
    const where = await namespaceWith('runtime', undefined);
    const image = await newImage('runtime');
    const watch = where.watch(
      'pods',
      'NODE:.spec.nodeName,CPU:.spec.overhead.cpu,CLASS:.spec.runtimeClassName',
    );
    try {
      await where.apply(workload(image, { runtimeClassName: name }));
      await where.status('deployment/app', /^Warm 2\/2 nodes$/);
      expect(await where.nodesWith(image)).toEqual(['node-b', 'node-c']);
      expect(watch.rows()).toEqual(
        expect.arrayContaining([
          ['node-b', '20m', name],
          ['node-c', '20m', name],
        ]),
      );
    } finally {
      watch.stop();
    }
  });

  test('that does not exist is told, and once it does all is warmed', async () => {
    const name = unique('later');
    const where = await namespaceWith('later', undefined);
    await where.apply(workload(await newImage('later'), { ...WEB_NODES, runtimeClassName: name }));
    await toldWhy(
      where,
      new RegExp(`no node is eligible: .*RuntimeClass ${name} not found \\(\\d nodes?\\)`),
    );
    expect(await where.list<Pod>('jobs')).toEqual([]);
    await runtimeClass({}, name);
    await where.status('deployment/app', /^Warm 2\/2 nodes$/);
  });

  test.each([
    {
      what: 'whose overhead fits no node',
      options: { overhead: { podFixed: { cpu: '1k' } } },
      why: /no node is eligible: .*: node has less cpu than its overhead of 1k needs \(2 nodes\)/,
    },
    {
      what: 'whose handler no node has',
      options: { handler: 'nowhere' },
      why: /no node is eligible: .*: node has no runtime handler nowhere \(2 nodes\)/,
    },
    {
      what: 'whose node selector matches no node',
      options: { scheduling: { nodeSelector: { runtime: 'nowhere' } } },
      why: /no node is eligible: .*: node selector runtime=nowhere does not match \(2 nodes\)/,
    },
  ])('$what is told', async ({ options, why }) => {
    const where = await namespaceWith('unfit', undefined);
    const spec = { ...WEB_NODES, runtimeClassName: await runtimeClass(options) };
    await where.apply(workload(await newImage('unfit'), spec));
    await toldWhy(where, why);
  });
});
