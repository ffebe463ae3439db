import { describe, expect, it } from 'vitest';
import type { KubernetesObject, PodSpec } from './kubernetes.ts';
import { compileNodeMatcher } from './node-matching.ts';
import { planOf, type Workload, wantsPrewarm, workloadOf } from './workload.ts';
import {
  DEFAULT_CUSTOM_WORKLOADS,
  readCustomWorkloads,
  resourceName,
  templateAt,
  typeOf,
  workloadTypes,
} from './workload-types.ts';

const SETTING = `${DEFAULT_CUSTOM_WORKLOADS}, statefulsets.kruise.example/v1beta1:StatefulSet:spec.group.pod-template`;
const TYPES = workloadTypes(readCustomWorkloads(SETTING).types);
const OPTED_IN = { 'ips/prewarm': 'true' };
const SPEC: PodSpec = { containers: [{ name: 'main', image: 'app:1', imagePullPolicy: 'Always' }] };

function read(apiVersion: string, kind: string, rest: object, metadata: object = {}): Workload {
  const named = { name: 'web', namespace: 'shop', uid: 'u1', annotations: OPTED_IN, ...metadata };
  const object = { apiVersion, kind, metadata: named, ...rest } as KubernetesObject;
  const type = typeOf(TYPES, apiVersion, kind);
  if (!type) throw new Error(`${kind} is no workload`);
  return workloadOf(TYPES, type, object);
}

const labelled = (labels: object) => ({ spec: { template: { metadata: { labels }, spec: SPEC } } });
const PLAIN = labelled({ app: 'web' });

describe('the type of an object', () => {
  it.each<{ apiVersion: unknown; kind: unknown; resource: string | undefined }>([
    { apiVersion: 'apps/v1', kind: 'Deployment', resource: 'deployments' },
    { apiVersion: 'apps/v1', kind: 'StatefulSet', resource: 'statefulsets' },
    { apiVersion: 'apps/v1', kind: 'DaemonSet', resource: 'daemonsets' },
    { apiVersion: 'apps/v1', kind: 'ReplicaSet', resource: 'replicasets' },
    { apiVersion: 'batch/v1', kind: 'Job', resource: 'jobs' },
    { apiVersion: 'batch/v1', kind: 'CronJob', resource: 'cronjobs' },
    { apiVersion: 'v1', kind: 'Pod', resource: 'pods' },
    { apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout', resource: 'rollouts.argoproj.io' },
    { apiVersion: 'argoproj.io/v9', kind: 'Rollout', resource: 'rollouts.argoproj.io' },
    { apiVersion: 'kruise.example/v1', kind: 'StatefulSet', resource: 'statefulsets.kruise.example' },
    { apiVersion: 'other.example/v1', kind: 'StatefulSet', resource: undefined },
    { apiVersion: 'v1', kind: 'Deployment', resource: undefined },
    { apiVersion: 'apps/v1', kind: 'Pod', resource: undefined },
    { apiVersion: 'apps/v1', kind: 'deployment', resource: undefined },
    { apiVersion: '', kind: '', resource: undefined },
    { apiVersion: undefined, kind: 7, resource: undefined },
  ])('$apiVersion $kind is $resource', ({ apiVersion, kind, resource }) => {
    const type = typeOf(TYPES, apiVersion, kind);
    expect(type && resourceName(type)).toBe(resource);
  });
});

describe('the plan of a workload', () => {
  const template = { metadata: { annotations: { 'ips/priority': '9' } }, spec: SPEC };

  it.each<{ apiVersion: string; kind: string; spec: object }>([
    { apiVersion: 'apps/v1', kind: 'Deployment', spec: { template } },
    { apiVersion: 'apps/v1', kind: 'StatefulSet', spec: { template } },
    { apiVersion: 'apps/v1', kind: 'DaemonSet', spec: { template } },
    { apiVersion: 'apps/v1', kind: 'ReplicaSet', spec: { template } },
    { apiVersion: 'batch/v1', kind: 'Job', spec: { template } },
    { apiVersion: 'batch/v1', kind: 'CronJob', spec: { jobTemplate: { spec: { template } } } },
    { apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout', spec: { template } },
    {
      apiVersion: 'kruise.example/v1beta1',
      kind: 'StatefulSet',
      spec: { group: { 'pod-template': template } },
    },
  ])('$apiVersion $kind reads its pod template', ({ apiVersion, kind, spec }) => {
    const { images, settings } = planOf(read(apiVersion, kind, { spec }));
    expect(images).toEqual([{ image: 'docker.io/library/app:1', pullPolicy: 'Always' }]);
    expect(settings.priority).toBe(9);
  });

  it.each<[string, object]>([
    ['nothing', {}],
    ['a text', { spec: 'text' }],
    ['a list', { spec: { group: [] } }],
    ['null', { spec: { group: null } }],
    ['a text as template', { spec: { group: { 'pod-template': 'text' } } }],
  ])('finds no image where the way to the template is %s', (_, rest) => {
    expect(planOf(read('kruise.example/v1', 'StatefulSet', rest)).images).toEqual([]);
  });

  it('goes by fields of its own only', () => {
    expect(templateAt({ metadata: {} }, ['constructor', 'prototype'])).toBeUndefined();
    expect(templateAt({ metadata: {} }, ['__proto__'])).toBeUndefined();
  });

  it.each<{ what: string; apiVersion: string; kind: string; rest: object; metadata?: object; same: boolean }>(
    [
      {
        ...{ what: 'replicas, which scaling changes', apiVersion: 'apps/v1', kind: 'StatefulSet' },
        ...{ rest: { spec: { ...PLAIN.spec, replicas: 9 } }, same: true },
      },
      {
        ...{ what: 'another generation', apiVersion: 'apps/v1', kind: 'DaemonSet', rest: PLAIN },
        ...{
          metadata: {
            generation: 7,
            annotations: { ...OPTED_IN, 'deprecated.daemonset.template.generation': '7' },
          },
        },
        same: true,
      },
      {
        ...{ what: 'suspension', apiVersion: 'batch/v1', kind: 'Job' },
        ...{ rest: { spec: { ...PLAIN.spec, suspend: true, parallelism: 4 } }, same: true },
      },
      {
        ...{ what: 'the labels that the API server gives its template', apiVersion: 'batch/v1', kind: 'Job' },
        rest: labelled({
          ...{ app: 'web', 'controller-uid': 'x', 'job-name': 'web' },
          ...{ 'batch.kubernetes.io/controller-uid': 'x', 'batch.kubernetes.io/job-name': 'web' },
        }),
        same: true,
      },
      {
        ...{ what: 'the label of a Deployment that let it go', apiVersion: 'apps/v1', kind: 'ReplicaSet' },
        ...{ rest: labelled({ app: 'web', 'pod-template-hash': 'x' }), same: true },
      },
      {
        ...{ what: 'another label', apiVersion: 'batch/v1', kind: 'Job' },
        ...{ rest: labelled({ app: 'other' }), same: false },
      },
    ],
  )('$kind with $what has the same fingerprint: $same', ({ apiVersion, kind, rest, metadata, same }) => {
    const { fingerprint } = planOf(read(apiVersion, kind, rest, metadata));
    expect(fingerprint === planOf(read(apiVersion, kind, PLAIN)).fingerprint).toBe(same);
  });

  it('is the same task for all kinds that run the same on the same nodes', () => {
    const kinds = ['Deployment', 'StatefulSet', 'ReplicaSet'].map((kind) => read('apps/v1', kind, PLAIN));
    const prints = [...kinds, read('batch/v1', 'Job', PLAIN)].map((each) => planOf(each).fingerprint);
    expect(new Set(prints).size).toBe(1);
  });
});

describe('a DaemonSet', () => {
  const daemon = (spec: PodSpec) =>
    planOf(read('apps/v1', 'DaemonSet', { spec: { template: { spec } } })).requirements;
  const fits = (spec: PodSpec, key: string, effect: string) =>
    compileNodeMatcher(daemon(spec))({
      metadata: { name: 'n' },
      spec: { taints: [{ key: `node.kubernetes.io/${key}`, effect }] },
    }) === undefined;

  it.each<{ key: string; effect: string; bears: boolean }>([
    { key: 'not-ready', effect: 'NoExecute', bears: true },
    { key: 'unreachable', effect: 'NoExecute', bears: true },
    { key: 'disk-pressure', effect: 'NoSchedule', bears: true },
    { key: 'memory-pressure', effect: 'NoSchedule', bears: true },
    { key: 'pid-pressure', effect: 'NoSchedule', bears: true },
    { key: 'unschedulable', effect: 'NoSchedule', bears: true },
    { key: 'network-unavailable', effect: 'NoSchedule', bears: false },
    { key: 'out-of-service', effect: 'NoExecute', bears: false },
  ])('bears $key:$effect as its controller lets its pods: $bears', ({ key, effect, bears }) => {
    expect(fits(SPEC, key, effect)).toBe(bears);
  });

  it('in the network of its host bears a node without a network', () => {
    expect(fits({ ...SPEC, hostNetwork: true }, 'network-unavailable', 'NoSchedule')).toBe(true);
  });

  it('goes to cordoned nodes, where a Deployment does not', () => {
    const node = { metadata: { name: 'n' }, spec: { unschedulable: true } };
    expect(compileNodeMatcher(daemon(SPEC))(node)).toBeUndefined();
    const { requirements } = planOf(read('apps/v1', 'Deployment', PLAIN));
    expect(compileNodeMatcher(requirements)(node)).toBeDefined();
  });

  it('keeps its own tolerations', () => {
    const own = [{ key: 'dedicated', operator: 'Exists' }];
    expect(daemon({ ...SPEC, tolerations: own }).tolerations).toEqual(expect.arrayContaining(own));
  });
});

describe('what has nothing left to start', () => {
  const ended = (type: string, status = 'True') => ({ status: { conditions: [{ type, status }] } });

  it.each<{ what: string; kind: string; rest: object; wants: boolean }>([
    { what: 'new', kind: 'Job', rest: {}, wants: true },
    { what: 'running', kind: 'Job', rest: { status: { active: 1 } }, wants: true },
    { what: 'suspended', kind: 'Job', rest: { spec: { suspend: true }, ...ended('Suspended') }, wants: true },
    { what: 'failing', kind: 'Job', rest: ended('FailureTarget'), wants: true },
    { what: 'complete', kind: 'Job', rest: ended('Complete'), wants: false },
    { what: 'failed', kind: 'Job', rest: ended('Failed'), wants: false },
    { what: 'not failed', kind: 'Job', rest: ended('Failed', 'False'), wants: true },
    { what: 'of an odd status', kind: 'Job', rest: { status: { conditions: 'none' } }, wants: true },
    { what: 'suspended', kind: 'CronJob', rest: { spec: { suspend: true } }, wants: true },
  ])('a $kind that is $what is warmed: $wants', ({ kind, rest, wants }) => {
    expect(wantsPrewarm(read('batch/v1', kind, rest))).toBe(wants);
  });

  it("IPS's own warmers are no workloads", () => {
    const labels = { 'ips/warmer': 'true' };
    expect(wantsPrewarm(read('batch/v1', 'Job', PLAIN, { labels }))).toBe(false);
    expect(wantsPrewarm(read('v1', 'Pod', { spec: SPEC }, { labels }))).toBe(false);
  });
});

describe('CUSTOM_WORKLOADS', () => {
  it('names types by resource, kind and path', () => {
    expect(readCustomWorkloads(' rollouts.argoproj.io/v1alpha1:Rollout:spec.template ,')).toEqual({
      types: [
        {
          ...{ apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout', plural: 'rollouts', custom: true },
          templatePath: ['spec', 'template'],
        },
      ],
      errors: [],
    });
  });

  it.each(['none', '', ' , '])('%j names none', (text) => {
    expect(readCustomWorkloads(text)).toEqual({ types: [], errors: [] });
  });

  it.each([
    'Rollout',
    'rollouts/v1:Rollout:spec.template',
    'deployments.apps/v1:Deployment:spec.template',
    'rollouts.argoproj.io:Rollout:spec.template',
    'rollouts.argoproj.io/v1:rollout:spec.template',
    'rollouts.argoproj.io/v1:Rollout',
    'rollouts.argoproj.io/v1:Rollout:',
    'rollouts.argoproj.io/v1:Rollout:template',
    'rollouts.argoproj.io/v1:Rollout:spec',
    'rollouts.argoproj.io/v1:Rollout:spec.roles[0].template',
    'rollouts.argoproj.io/v1:Rollout:spec.__proto__',
    'rollouts.argoproj.io/v1:Rollout:.spec.template',
    'Rollouts.argoproj.io/v1:Rollout:spec.template',
  ])('refuses %s, and says how it has to look', (text) => {
    expect(readCustomWorkloads(text).errors).toEqual([
      `${JSON.stringify(text)} must be PLURAL.GROUP/VERSION:KIND:PATH, such as ${DEFAULT_CUSTOM_WORKLOADS}; PATH begins with spec and leads to the pod template`,
    ]);
  });

  it('tells every mistake', () => {
    const twice = 'rollouts.argoproj.io/v1beta1:Rollout:spec.template';
    const own = 'prewarmtasks.ips.dev/v1alpha1:PrewarmTask:spec.template';
    expect(readCustomWorkloads([DEFAULT_CUSTOM_WORKLOADS, twice, own, 'x'].join()).errors).toEqual([
      `"${twice}" names Rollout of argoproj.io a second time`,
      `"${own}" is of IPS itself`,
      expect.stringMatching(/^"x" must be/),
    ]);
  });
});
