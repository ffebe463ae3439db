import { describe, expect, it } from 'vitest';
import { deadlineMs, fleetOf, MAX_NAMED } from './fleet.ts';
import type { PrewarmTask, PrewarmTaskSpec, PrewarmTaskStatus } from './prewarm-task.ts';
import type { Workload } from './workload.ts';

const MADE = '2026-01-01T00:00:00.000Z';
const NODES = { eligible: 4, warm: 1, warming: 0, failed: 0 };

function minutes(count: number): string {
  return new Date(Date.parse(MADE) + count * 60_000).toISOString();
}

function workload(name: string, annotations: Record<string, string> = { 'ips/prewarm': 'true' }): Workload {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'shop', uid: `uid-${name}`, creationTimestamp: MADE, annotations },
    template: {
      annotations: {},
      labels: {},
      warnings: [],
      spec: { containers: [{ name: 'main', image: 'app:1' }] },
    },
    finished: false,
    controlled: false,
  };
}

function task(
  owners: string[],
  status?: PrewarmTaskStatus,
  spec: Partial<PrewarmTaskSpec> = {},
): PrewarmTask {
  const ownerReferences = owners.map((name) => ({
    ...{ apiVersion: 'apps/v1', kind: 'Deployment', name, uid: `uid-${name}` },
  }));
  return {
    metadata: { name: 'task', namespace: 'shop', creationTimestamp: MADE, ownerReferences },
    spec: { images: [{ image: 'app:1', pullPolicy: 'IfNotPresent' }], ...spec },
    ...(status ? { status } : {}),
  };
}

function failure(node: string, image: string, reason: string) {
  return { node, image, reason, message: 'm', time: MADE };
}

describe('the phases', () => {
  it('count each workload that opted in once, by its task', () => {
    const workloads = [
      ...['a', 'b', 'c', 'new'].map((name) => workload(name)),
      workload('out', { 'ips/prewarm': 'false' }),
    ];
    const { phases } = fleetOf(workloads, [
      task(['a', 'b'], { phase: 'Warm' }),
      task(['c', 'gone'], { phase: 'Failed', coldSince: MADE }),
      task([], { phase: 'Warming' }),
    ]);
    expect(phases).toEqual({ Pending: 1, Warming: 0, Warm: 2, PartiallyFailed: 0, Failed: 1, Cancelled: 0 });
  });
});

describe('a cold workload', () => {
  const since = { sinceMs: Date.parse(minutes(5)) };
  const made = { sinceMs: Date.parse(MADE) };
  it.each<{ what: string; task?: PrewarmTask; cold: object[] }>([
    {
      what: 'has waited since its task is cold',
      task: task(['a'], { phase: 'Warming', nodes: NODES, coldSince: minutes(5) }),
      cold: [{ ...since, warmRatio: 0.25 }],
    },
    {
      what: 'has waited since its task was made while nobody looked at it',
      task: task(['a']),
      cold: [{ ...made, warmRatio: 0 }],
    },
    { what: 'has waited since it was made while it has no task', cold: [{ ...made, warmRatio: 0 }] },
    { what: 'is none when it is warm', task: task(['a'], { phase: 'Warm', nodes: NODES }), cold: [] },
    { what: 'is none without a node', task: task(['a'], { phase: 'Pending' }), cold: [] },
    {
      what: 'is none when its task was cancelled',
      task: task(['a'], { phase: 'Cancelled', coldSince: MADE }),
      cold: [],
    },
  ])('$what', ({ task, cold }) => {
    const named = { namespace: 'shop', kind: 'Deployment', name: 'a' };
    const found = fleetOf([workload('a')], task ? [task] : []).cold;
    expect(found).toEqual(cold.map((each) => ({ ...named, ...each })));
  });

  it('is none without a task when there is nothing to warm', () => {
    const none = workload('a', { 'ips/prewarm': 'true', 'ips/exclude-containers': 'main' });
    expect(fleetOf([none], [])).toMatchObject({ phases: { Pending: 1 }, cold: [] });
  });

  it('is left out when many others have waited longer', () => {
    const names = Array.from({ length: MAX_NAMED + 50 }, (_, index) => `w${index}`);
    const tasks = names.map((name, index) =>
      task([name], { phase: 'Pending', nodes: NODES, coldSince: minutes(1000 - index) }),
    );
    const { cold } = fleetOf(
      names.map((name) => workload(name)),
      tasks,
    );
    expect(cold).toHaveLength(MAX_NAMED);
    expect(cold[0]?.name).toBe(names.at(-1));
  });
});

describe('failures', () => {
  it('are told by image and kind of reason, the most nodes first, three of a workload', () => {
    const failures = [
      failure('n1', 'app:1', 'no warmer: exceeded quota: a'),
      failure('n2', 'app:1', 'no warmer: exceeded quota: b'),
      failure('n1', 'app:1', 'not found'),
      failure('n1', 'base:1', 'not found'),
      failure('n1', 'side:1', 'not found'),
    ];
    const { failures: told } = fleetOf(
      [workload('a')],
      [task(['a'], { phase: 'PartiallyFailed', failures })],
    );
    const named = { namespace: 'shop', kind: 'Deployment', name: 'a' };
    expect(told).toEqual([
      { ...named, image: 'app:1', reason: 'no warmer', nodes: 2 },
      { ...named, image: 'app:1', reason: 'not found', nodes: 1 },
      { ...named, image: 'base:1', reason: 'not found', nodes: 1 },
    ]);
  });

  it('of a workload that is warm are history', () => {
    const failures = [failure('gone', 'app:1', 'timed out')];
    expect(fleetOf([workload('a')], [task(['a'], { phase: 'Warm', failures })]).failures).toEqual([]);
  });
});

describe('the deadline of a task', () => {
  const batch = {
    ...{ jobName: 'j', round: 1, batch: 1, attempt: 0, nodes: ['n1'], keys: 'k', images: [0] },
    startedAt: minutes(10),
  };
  it.each<{ what: string; status?: PrewarmTaskStatus; spec?: Partial<PrewarmTaskSpec>; due?: string }>([
    {
      what: 'is the time-out of its oldest batch',
      status: {
        phase: 'Warming',
        nodes: NODES,
        batches: [{ ...batch, startedAt: minutes(20) }, batch],
      },
      spec: { timeoutSeconds: 300 },
      due: minutes(15),
    },
    {
      what: 'is 30 min after it last did something while it waits for its turn',
      status: { phase: 'Pending', nodes: NODES, coldSince: MADE, lastWarmedAt: minutes(7) },
      spec: { timeoutSeconds: 300 },
      due: minutes(37),
    },
    {
      what: 'counts from its next try when it waits for that',
      status: { phase: 'Failed', nodes: NODES, coldSince: MADE, finishedAt: MADE, retryAt: minutes(10) },
      due: minutes(40),
    },
    { what: 'counts from when it was made when nobody has looked at it', due: minutes(30) },
    { what: 'is none when it is warm', status: { phase: 'Warm', nodes: NODES } },
    { what: 'is none without a node', status: { phase: 'Pending', nodes: { ...NODES, eligible: 0 } } },
    {
      what: 'is none when it was cancelled',
      status: { phase: 'Warming', nodes: NODES },
      spec: { cancelled: true },
    },
  ])('$what', ({ status, spec, due }) => {
    expect(deadlineMs(task(['a'], status, spec))).toBe(due && Date.parse(due));
  });

  it('is told by the name of the task, the earliest first', () => {
    const late = {
      ...task([]),
      metadata: { ...task([]).metadata, name: 'late', creationTimestamp: minutes(5) },
    };
    expect(fleetOf([], [late, task([])]).deadlines).toEqual([
      { namespace: 'shop', task: 'task', atMs: Date.parse(minutes(30)) },
      { namespace: 'shop', task: 'late', atMs: Date.parse(minutes(35)) },
    ]);
  });
});
