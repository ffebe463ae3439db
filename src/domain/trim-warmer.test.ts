import { describe, expect, it } from 'vitest';
import { TASK_LABEL } from './annotations.ts';
import type { Job, Pod } from './kubernetes.ts';
import { COMPLETION_INDEX } from './pinning.ts';
import { JOB_NAME, trimJob, trimWarmer } from './trim-warmer.ts';

const metadata = {
  name: 'ips-1',
  namespace: 'web',
  uid: 'uid-1',
  resourceVersion: '7',
  creationTimestamp: '2026-01-01T00:00:00Z',
  labels: { [TASK_LABEL]: 'ips-a', [JOB_NAME]: 'ips-job', [COMPLETION_INDEX]: '4', 'controller-uid': 'x' },
  annotations: { a: 'b' },
  ownerReferences: [
    { apiVersion: 'batch/v1', kind: 'Job', name: 'ips-job', uid: 'uid-job', controller: true },
  ],
  managedFields: [{ subresource: 'status' }],
};
const kept = {
  ...{ name: 'ips-1', namespace: 'web', uid: 'uid-1', resourceVersion: '7' },
  labels: { [TASK_LABEL]: 'ips-a', [JOB_NAME]: 'ips-job', [COMPLETION_INDEX]: '4' },
  ownerReferences: [{ kind: 'Job', name: 'ips-job', uid: 'uid-job' }],
};

describe('trimWarmer', () => {
  it('keeps what outcomes are read from', () => {
    const state = { waiting: { reason: 'ErrImagePull', message: 'not found' } };
    const pod = {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata },
      spec: { nodeName: 'node-a', containers: [{ name: 'warm', image: 'pause' }] },
      status: {
        ...{ phase: 'Pending', hostIP: '10.0.0.1', qosClass: 'BestEffort' },
        containerStatuses: [{ name: 'warm', image: 'pause', ready: false, restartCount: 0, state }],
      },
    };
    expect(trimWarmer(pod as Pod)).toEqual({
      metadata: kept,
      spec: { nodeName: 'node-a' },
      status: {
        phase: 'Pending',
        initContainerStatuses: [],
        containerStatuses: [{ name: 'warm', image: 'pause', state }],
      },
    });
  });

  it('takes a pod of which nothing is told yet', () => {
    expect(trimWarmer({ metadata: { name: 'a' } })).toEqual({
      metadata: { name: 'a', labels: {} },
      spec: {},
      status: { initContainerStatuses: [], containerStatuses: [] },
    });
  });
});

describe('trimJob', () => {
  it('keeps how far it is', () => {
    const condition = { type: 'Complete', status: 'True', reason: 'CompletionsReached', message: 'done' };
    const job = {
      metadata,
      spec: { completions: 50, parallelism: 50, template: { spec: {} } },
      status: {
        ...{ succeeded: 49, failed: 1, completedIndexes: '0-48', failedIndexes: '49', ready: 0 },
        conditions: [{ ...condition, lastProbeTime: '2026-01-01T00:00:00Z' }],
        uncountedTerminatedPods: { succeeded: ['a'] },
      },
    };
    expect(trimJob(job as Job)).toEqual({
      metadata: kept,
      spec: { completions: 50 },
      status: {
        ...{ succeeded: 49, failed: 1, completedIndexes: '0-48', failedIndexes: '49' },
        conditions: [condition],
      },
    });
  });
});
