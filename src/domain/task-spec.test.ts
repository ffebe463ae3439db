import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { DEFAULTS, type PrewarmTaskSpec, type PrewarmTaskStatus } from './prewarm-task.ts';
import { newTask, outputChanges, ownerReference, taskSpec } from './task-spec.ts';
import type { PrewarmPlan, Workload } from './workload.ts';

function plan(change: Partial<PrewarmPlan['settings']> = {}, rest: Partial<PrewarmPlan> = {}): PrewarmPlan {
  return {
    fingerprint: 'f'.repeat(32),
    images: [{ image: 'docker.io/library/app:1', pullPolicy: 'IfNotPresent' }],
    pull: { imagePullSecrets: [] },
    requirements: { nodeSelector: { disk: 'ssd' } },
    settings: { excludeContainers: [], extraImages: [], notify: [], ...change },
    warnings: [],
    ...rest,
  };
}

const BARE = {
  fingerprint: 'f'.repeat(32),
  images: [{ image: 'docker.io/library/app:1', pullPolicy: 'IfNotPresent' }],
  nodeRequirements: { nodeSelector: { disk: 'ssd' } },
  priority: 5,
  timeoutSeconds: 1800,
  retry: { limit: 3, strategy: 'exponential', delaySeconds: 10 },
};

describe('taskSpec', () => {
  it.each<{ what: string; plans: [PrewarmPlan, ...PrewarmPlan[]]; spec: Partial<PrewarmTaskSpec> }>([
    { what: 'writes the defaults of the schema where nobody asked for anything', plans: [plan()], spec: {} },
    {
      what: 'says all that somebody asked for',
      plans: [
        plan(
          {
            priority: 7,
            maxNodes: '10%',
            concurrentPulls: 5,
            timeoutSeconds: 60,
            retryLimit: 2,
            retryStrategy: 'linear',
            notify: ['b', 'a'],
          },
          { pull: { imagePullSecrets: ['s'], serviceAccountName: 'web', runtimeClassName: 'kata' } },
        ),
      ],
      spec: {
        imagePullSecrets: ['s'],
        serviceAccountName: 'web',
        runtimeClassName: 'kata',
        maxNodes: '10%',
        priority: 7,
        concurrentPulls: 5,
        timeoutSeconds: 60,
        retry: { limit: 2, strategy: 'linear', delaySeconds: 10 },
        notifiers: ['a', 'b'],
      },
    },
    { what: 'takes a single notifier', plans: [plan({ notify: ['a'] })], spec: { notifiers: ['a'] } },
    {
      what: 'takes no retry for an answer',
      plans: [plan({ retryLimit: 0 })],
      spec: { retry: { limit: 0, strategy: 'exponential', delaySeconds: 10 } },
    },
    {
      what: 'takes a strategy alone',
      plans: [plan({ retryStrategy: 'linear' })],
      spec: { retry: { limit: 3, strategy: 'linear', delaySeconds: 10 } },
    },
    {
      what: 'takes the highest priority, all notifiers once, and the rest from the oldest',
      plans: [
        plan({ priority: 6, notify: ['x', 'b'], timeoutSeconds: 60 }),
        plan({ priority: 9, notify: ['a', 'b'], timeoutSeconds: 90, concurrentPulls: 3 }),
        plan({ priority: 8 }),
      ],
      spec: { priority: 9, notifiers: ['a', 'b', 'x'], timeoutSeconds: 60 },
    },
    {
      what: 'takes the priority of a younger owner where the oldest has none',
      plans: [plan(), plan({ priority: 8 })],
      spec: { priority: 8 },
    },
  ])('$what', ({ plans, spec }) => {
    expect(taskSpec(plans)).toEqual({ ...BARE, ...spec });
  });

  it('does not push an owner that set no priority, and so has 5, behind because of one that set less', () => {
    expect(taskSpec([plan(), plan({ priority: 2 })]).priority).toBe(5);
    expect(taskSpec([plan({ priority: 2 }), plan()]).priority).toBe(5);
    expect(taskSpec([plan({ priority: 2 })]).priority).toBe(2);
  });
});

it('the schema has the defaults by which IPS goes', () => {
  const file = join(import.meta.dirname, '../../deploy/base/crd.yaml');
  const crd = parse(readFileSync(file, 'utf8'));
  const { priority, timeoutSeconds, ttlSecondsAfterFinished, retry } =
    crd.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties;
  expect({
    priority: priority.default,
    retryLimit: retry.properties.limit.default,
    retryStrategy: retry.properties.strategy.default,
    retryDelaySeconds: retry.properties.delaySeconds.default,
    timeoutSeconds: timeoutSeconds.default,
    ttlSecondsAfterFinished: ttlSecondsAfterFinished.default,
  }).toEqual(DEFAULTS);
});

it('taskSpec names no more notifiers than the PrewarmTask schema takes, however many owners there are', () => {
  const team = (from: number) => Array.from({ length: 15 }, (_, index) => `team-${from + index}`);
  const { notifiers = [] } = taskSpec([plan({ notify: team(10) }), plan({ notify: team(30) })]);
  expect(notifiers).toHaveLength(20);
});

describe('newTask', () => {
  it('is named by its fingerprint, in the namespace of its owners', () => {
    const owners = [{ apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: 'u1' }];
    const spec: PrewarmTaskSpec = { fingerprint: '0123456789abcdef', images: [] };
    expect(newTask('shop', spec, owners)).toEqual({
      apiVersion: 'ips.dev/v1alpha1',
      kind: 'PrewarmTask',
      metadata: { name: 'ips-0123456789ab', namespace: 'shop', ownerReferences: owners },
      spec,
    });
  });

  it('has owners that do not hold up its deletion, nor control it', () => {
    expect(ownerReference(workload({}))).toEqual({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      name: 'web',
      uid: 'u1',
    });
  });
});

function workload(annotations: Record<string, string> | undefined): Workload {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', uid: 'u1', ...(annotations ? { annotations } : {}) },
    template: { annotations: {}, labels: {}, warnings: [], spec: {} },
    finished: false,
    controlled: false,
  };
}

describe('outputChanges', () => {
  const nodes = { eligible: 2, warm: 2, warming: 0, failed: 0 };
  const warm: PrewarmTaskStatus = { phase: 'Warm', nodes, lastWarmedAt: 't1' };
  const failed: PrewarmTaskStatus = {
    phase: 'Failed',
    nodes: { ...nodes, warm: 0 },
    message: 'app:1: not found on 2 nodes',
  };
  const told = { 'ips/status': 'Warm 2/2 nodes', 'ips/task': 'ips-1', 'ips/last-warmed': 't1' };

  it.each<{
    what: string;
    present: Record<string, string> | undefined;
    status: PrewarmTaskStatus;
    task?: string;
    changes: Record<string, string | null> | undefined;
  }>([
    {
      what: 'everything at first',
      present: undefined,
      status: warm,
      task: 'ips-1',
      changes: { 'ips/status': 'Warm 2/2 nodes', 'ips/task': 'ips-1', 'ips/last-warmed': 't1' },
    },
    { what: 'nothing that stands there', present: told, status: warm, task: 'ips-1', changes: undefined },
    {
      what: 'nothing of others',
      present: { ...told, 'ips/prewarm': 'true', a: 'b' },
      status: warm,
      task: 'ips-1',
      changes: undefined,
    },
    {
      what: 'only what differs',
      present: { ...told, 'ips/status': 'Warming 1/2 nodes' },
      status: warm,
      task: 'ips-1',
      changes: { 'ips/status': 'Warm 2/2 nodes' },
    },
    {
      what: 'what went wrong, and no longer when it was well',
      present: told,
      status: failed,
      task: 'ips-1',
      changes: {
        'ips/status': 'Failed 0/2 nodes: app:1: not found on 2 nodes',
        'ips/last-warmed': null,
        'ips/message': 'app:1: not found on 2 nodes',
      },
    },
    {
      what: 'a message that is over',
      present: { ...told, 'ips/message': 'app:1: not found on 2 nodes' },
      status: { ...warm, message: '' },
      task: 'ips-1',
      changes: { 'ips/message': null },
    },
    {
      what: 'a task that is no more',
      present: { 'ips/status': 'Pending: no image to warm', 'ips/task': 'ips-1' },
      status: { phase: 'Pending', message: 'no image to warm' },
      changes: { 'ips/task': null, 'ips/message': 'no image to warm' },
    },
  ])('writes $what', ({ present, status, task, changes }) => {
    expect(outputChanges(workload(present), status, task)).toEqual(changes);
  });
});
