import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createAuthority } from '../../src/certs/authority.ts';
import { PREWARM } from '../../src/domain/annotations.ts';
import type { JsonPatchOperation } from '../../src/domain/json-patch.ts';
import type { PullStrategy } from '../../src/domain/node-strategy.ts';
import type { OpenBatch, PrewarmTask } from '../../src/domain/prewarm-task.ts';
import { warmerJob } from '../../src/domain/warmer-job.ts';
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts';
import { loadKubeConfig } from '../../src/kube/config.ts';
import { RESOURCES } from '../../src/kube/resources.ts';
import { kubectl } from '../cluster/cluster.ts';
import { DEPLOY } from './installed.ts';
import { loginAsIps } from './ips.ts';
import { createKit, deployment, type Kit, STRATEGIES, unique } from './kit.ts';
import { defineCustomResource } from './workloads.ts';

/** What somebody could do who stole the token of IPS's own account: less than its role says. */
const AS_IPS = ['--as', 'system:serviceaccount:ips-system:ips'];

type Container = Record<string, unknown> & { image: string; securityContext: Record<string, unknown> };
type PodSpec = Record<string, unknown> & {
  containers: [Container];
  initContainers: [Container];
  volumes: object[];
  securityContext: Record<string, unknown>;
};
type Job = {
  metadata: { name: string };
  spec: { template: { metadata: { labels: object }; spec: PodSpec } };
};

let kit: Kit;

beforeAll(async () => {
  kit = await createKit('policies');
  await kit.apply(deployment('web', { replicas: 0, images: ['registry.example/web:1'] }));
  await kit.kubectl(['label', 'deployment/web', 'team=shop']);
});

afterAll(async () => {
  await kit?.remove();
});

function job(strategy: PullStrategy): Job {
  const task: PrewarmTask = {
    metadata: { name: 'task', namespace: kit.namespace, uid: '00000000-0000-0000-0000-000000000000' },
    spec: { images: [{ image: 'registry.example/web:1', pullPolicy: 'IfNotPresent' }] },
  };
  const batch: OpenBatch = {
    ...{ jobName: unique('warmer'), round: 1, batch: 1, attempt: 0, strategy, images: [0] },
    ...{ nodes: ['node-a'], keys: 'aaaaaa', startedAt: new Date(0).toISOString() },
  };
  const { host } = kit.cluster.registry;
  const images = { workerImage: `${host}/pause:3.10`, workerImageLegacy: `${host}/noop:1` };
  return warmerJob(task, batch, { ...images, priorityClassName: '' }) as unknown as Job;
}

async function create(
  change: (pod: PodSpec, job: Job) => void,
  strategy: PullStrategy = 'image-volume',
): Promise<string> {
  const object = job(strategy);
  change(object.spec.template.spec, object);
  return kit.kubectl([...AS_IPS, 'create', '--dry-run=server', '-f', '-'], JSON.stringify(object));
}

describe('the account of IPS may make', () => {
  test.each(STRATEGIES)('the Job that it makes with %s', async (strategy) => {
    expect(await create(() => {}, strategy)).toContain('created');
  });

  test.each<[string, (pod: PodSpec, job: Job) => void, RegExp]>([
    ['no other image', (pod) => (pod.containers[0].image = 'registry.example/miner:1'), /no image but/],
    ['no other command', (pod) => (pod.containers[0]['command'] = ['/bin/sh']), /no image but/],
    ['no other argument', (pod) => (pod.containers[0]['args'] = ['sleep']), /no image but/],
    [
      'no second container',
      (pod) =>
        pod.containers.push({ ...pod.containers[0], name: 'other', image: 'registry.example/miner:1' }),
      /no image but/,
    ],
    [
      'no init container',
      (pod) =>
        (pod['initContainers'] = [{ ...pod.containers[0], name: 'init', image: 'registry.example/x:1' }]),
      /no image but/,
    ],
    ['no token', (pod) => (pod['automountServiceAccountToken'] = true), /no token/],
    ['no token by default', (pod) => delete pod['automountServiceAccountToken'], /no token/],
    [
      'no folder of the host',
      (pod) => pod.volumes.push({ name: 'h', hostPath: { path: '/' } }),
      /mounts images/,
    ],
    ['no Secret', (pod) => pod.volumes.push({ name: 's', secret: { secretName: 's' } }), /mounts images/],
    [
      'no projected token',
      (pod) =>
        pod.volumes.push({ name: 't', projected: { sources: [{ serviceAccountToken: { path: 't' } }] } }),
      /mounts images/,
    ],
    [
      'no Secret as environment',
      (pod) => (pod.containers[0]['envFrom'] = [{ secretRef: { name: 's' } }]),
      /no environment/,
    ],
    ["not in the host's network", (pod) => (pod['hostNetwork'] = true), /no access to its host/],
    ["not among the host's processes", (pod) => (pod['hostPID'] = true), /no access to its host/],
    [
      'not privileged',
      (pod) => (pod.containers[0].securityContext = { privileged: true, capabilities: { drop: ['ALL'] } }),
      /no privileges/,
    ],
    [
      'no capability',
      (pod) => (pod.containers[0].securityContext['capabilities'] = { drop: ['ALL'], add: ['SYS_ADMIN'] }),
      /no privileges/,
    ],
    [
      'no image in the place of the worker',
      (pod) => (pod.containers[0]['volumeMounts'] = [{ name: 'image-0', mountPath: '/' }]),
      /under \/images/,
    ],
    [
      'no other priority',
      (pod) => (pod['priorityClassName'] = 'system-node-critical'),
      /priority of warmers/,
    ],
    [
      'not as root by its container',
      (pod) => Object.assign(pod.containers[0].securityContext, { runAsNonRoot: false, runAsUser: 0 }),
      /no privileges/,
    ],
    ['not as root', (pod) => (pod.securityContext['runAsNonRoot'] = false), /no privileges/],
    [
      'nothing when it starts',
      (pod) => (pod.containers[0]['lifecycle'] = { postStart: { exec: { command: ['/pause'] } } }),
      /nothing beside/,
    ],
    ['no Job that is not pinned', (_, object) => (object.spec.template.metadata.labels = {}), /pinned/],
  ])('%s', async (_, change, message) => {
    await expect(create(change)).rejects.toThrow(message);
  });

  test.each<[string, (pod: PodSpec) => void, RegExp]>([
    ['nothing of the image', (pod) => delete pod.containers[0]['command'], /no image but/],
    ['no other command in it', (pod) => (pod.containers[0]['command'] = ['/bin/sh']), /no image but/],
    ['no arguments to it', (pod) => (pod.containers[0]['args'] = ['/ips/other']), /no image but/],
    ['no no-op of others', (pod) => (pod.initContainers[0].image = 'registry.example/x:1'), /no image but/],
    ['no copy to elsewhere', (pod) => (pod.initContainers[0]['args'] = ['/etc/x']), /no image but/],
    ["not the image's own file", (pod) => (pod.containers[0]['volumeMounts'] = []), /from its volume/],
    [
      'no no-op from an image volume',
      (pod) => (pod.volumes = [{ name: 'noop', image: { reference: 'registry.example/x:1' } }]),
      /mounts images/,
    ],
    [
      'no probe in the image',
      (pod) => (pod.containers[0]['livenessProbe'] = { exec: { command: ['/bin/sh'] } }),
      /nothing beside/,
    ],
  ])('with the no-op %s', async (_, change, message) => {
    await expect(create(change, 'injected-noop')).rejects.toThrow(message);
  });
});

describe('the account of IPS may change', () => {
  const patch = (target: string[], value: object, type = 'merge') =>
    kubectl(kit.cluster, [...AS_IPS, 'patch', ...target, '--type', type, '--patch', JSON.stringify(value)]);
  const userJob = (value: object) => patch(['--namespace', kit.namespace, 'job/batch'], value);
  const web = (value: object) => patch(['--namespace', kit.namespace, 'deployment/web'], value);

  test('its own label and annotations of a workload', async () => {
    const metadata = { labels: { [PREWARM]: 'true' }, annotations: { 'ips/status': 'Warm 1/1 nodes' } };
    expect(await web({ metadata })).toContain('patched');
  });

  test('the same of a Job that is not its own, and nothing else of it', async () => {
    const spec = { restartPolicy: 'Never', containers: [{ name: 'c', image: 'registry.example/batch:1' }] };
    await kit.apply({
      ...{ apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'batch' } },
      spec: { suspend: true, template: { spec } },
    });
    expect(await userJob({ metadata: { annotations: { 'ips/status': 'Warm 1/1 nodes' } } })).toContain(
      'patched',
    );
    await expect(userJob({ spec: { suspend: false } })).rejects.toThrow(/nothing of a workload but/);
    await expect(userJob({ metadata: { annotations: { a: 'b' } } })).rejects.toThrow(
      /no label and no annotation/,
    );
  });

  test('no status of a custom resource that keeps it among the rest', async () => {
    await defineCustomResource(kit.cluster, 'rollouts.argoproj.io', 'Rollout');
    onTestFinished(async () => {
      await kubectl(kit.cluster, ['delete', 'crd', 'rollouts.argoproj.io']);
    });
    await kit.apply({
      ...{ apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout', metadata: { name: 'web' } },
      ...{ spec: { replicas: 1 }, status: { phase: 'Healthy' } },
    });
    const rollout = (value: object) => patch(['--namespace', kit.namespace, 'rollout/web'], value);
    expect(await rollout({ metadata: { labels: { [PREWARM]: 'true' } } })).toContain('patched');
    await expect(rollout({ spec: { replicas: 2 } })).rejects.toThrow(/nothing of a workload but/);
    await expect(rollout({ status: { phase: 'Degraded' } })).rejects.toThrow(/nothing of a workload but/);
  });

  test.each<[string, object, RegExp]>([
    ['not what a workload runs', { spec: { replicas: 3 } }, /nothing of a workload but/],
    ['no label of others', { metadata: { labels: { team: 'mine' } } }, /no label and no annotation/],
    ['no label of others away', { metadata: { labels: { team: null } } }, /no label and no annotation/],
    ['no annotation of others', { metadata: { annotations: { a: 'b' } } }, /no label and no annotation/],
    ['no finalizer', { metadata: { finalizers: ['ips.dev/stay'] } }, /no owner and no finalizer/],
  ])('%s', async (_, value, message) => {
    await expect(web(value)).rejects.toThrow(message);
  });
});

describe('the account of IPS may change in its webhook configuration', () => {
  const WEBHOOK = '/webhooks/0';
  let client: KubeClient;

  beforeAll(async () => {
    await kubectl(kit.cluster, ['apply', '-f', join(DEPLOY, 'base/webhook.yaml')]);
    client = createKubeClient(loadKubeConfig(await loginAsIps(kit.cluster, 'policies')), {
      userAgent: 'test',
    });
  });

  afterAll(async () => {
    await kubectl(kit.cluster, ['delete', 'mutatingwebhookconfiguration', 'ips']);
  });

  const patch = (...operations: JsonPatchOperation[]) =>
    client.jsonPatch(RESOURCES.webhookConfigurations, undefined, 'ips', operations);

  test('caBundle', async () => {
    const authority = await createAuthority({ commonName: 'CA', now: new Date(), validityDays: 1 });
    const value = Buffer.from(authority.cert).toString('base64');
    const patched = await patch({ op: 'add', path: `${WEBHOOK}/clientConfig/caBundle`, value });
    expect(patched).toMatchObject({ webhooks: [{ clientConfig: { caBundle: value } }, {}] });
  });

  test.each<[string, JsonPatchOperation]>([
    ['not whether it may block', { op: 'add', path: `${WEBHOOK}/failurePolicy`, value: 'Fail' }],
    ['not how long it may block', { op: 'add', path: `${WEBHOOK}/timeoutSeconds`, value: 30 }],
    ['not who is called', { op: 'add', path: `${WEBHOOK}/clientConfig/service/path`, value: '/x' }],
    ['not what it is called for', { op: 'add', path: `${WEBHOOK}/rules/0/resources`, value: ['secrets'] }],
    ['not in which namespaces', { op: 'add', path: `${WEBHOOK}/namespaceSelector`, value: {} }],
    ['not under which conditions', { op: 'add', path: `${WEBHOOK}/matchConditions`, value: [] }],
    ['not which webhooks there are', { op: 'remove', path: WEBHOOK }],
    ['not what is written on it', { op: 'add', path: '/metadata/labels', value: { a: 'b' } }],
  ])('%s', async (_, operation) => {
    await expect(patch(operation)).rejects.toThrow(/nothing but caBundle/);
  });
});
