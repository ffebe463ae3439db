import { describe, expect, it } from 'vitest';
import type { Struck } from './faults.ts';
import { latePods, looseLimits, overLimits, type Told } from './limits.ts';

type More = { type?: string; waiting?: string; task?: string };

function pod(atMs: number, name: string, phase: string, more: More = {}): Told {
  const state = { waiting: { reason: more.waiting ?? 'ContainerCreating' } };
  const status = { phase, containerStatuses: [{ name: 'warm', image: 'x', state }] };
  const metadata = { name, uid: name, labels: { 'ips/task': more.task ?? 't' } };
  const object = { metadata, spec: { nodeName: 'a', containers: [] }, status };
  return { atMs, type: more.type ?? 'MODIFIED', object };
}

function at(events: Told[], loose: { fromMs: number; toMs: number }[] = []) {
  const { most, violations } = overLimits(events, { limits: { pulls: 2, tasks: 1 }, loose });
  return { most: most.pulls, object: violations[0]?.object };
}

const TWO = [pod(1, 'a', 'Pending'), pod(2, 'b', 'Pending')];

describe('more at once than there may be', () => {
  it('is the first that begins beside as many as there may be', () => {
    expect(at(TWO)).toEqual({ most: 2, object: undefined });
    const events = [...TWO, pod(3, 'c', 'Pending'), pod(4, 'd', 'Pending')];
    expect(at(events)).toEqual({ most: 4, object: 'c' });
  });

  it.each([
    ['has its images', pod(3, 'a', 'Running')],
    ['is gone', pod(3, 'a', 'Pending', { type: 'DELETED' })],
    ['failed, and is tried again by the kubelet', pod(3, 'a', 'Pending', { waiting: 'ImagePullBackOff' })],
  ])('is none where one of them %s', (_, event) => {
    expect(at([...TWO, event, pod(4, 'c', 'Pending')])).toEqual({ most: 2, object: undefined });
  });

  it('is none that began while it was not promised, or that a list tells of before it tells who ended', () => {
    const loose = [{ fromMs: 3, toMs: 3 }];
    const events = [...TWO, pod(3, 'c', 'Pending'), pod(4, 'b', 'Running')];
    expect(at(events, loose)).toEqual({ most: 2, object: undefined });
    expect(at([...TWO, pod(3, 'c', 'Pending', { type: 'LISTED' })]).object).toBeUndefined();
  });

  it('is of tasks, too', () => {
    const events = [pod(1, 'a', 'Pending'), pod(2, 'b', 'Pending', { task: 'other' })];
    expect(at(events)).toEqual({ most: 2, object: 'b' });
    expect(at([pod(1, 'a', 'Pending'), pod(2, 'a', 'Running'), ...events.slice(1)]).object).toBeUndefined();
  });
});

describe('limits are not promised', () => {
  const struck = (kind: Struck['kind'], target = 0): Struck => ({
    ...{ kind, target, atMs: 0, forMs: 0, fromMs: 1_000, toMs: 2_000 },
  });

  it('while the server that counts is hurt, and a while after; with the other servers and replicas they are', () => {
    expect(looseLimits([struck('redis-kill'), struck('redis-flush')])).toHaveLength(2);
    const others = [struck('redis-kill', 1), struck('kill'), struck('freeze'), struck('clock')];
    expect(looseLimits(others)).toEqual([]);
    expect(looseLimits([struck('terminate')])).toEqual([{ fromMs: 1_000, toMs: 11_000 }]);
  });

  it('for a pod that the Job controller makes when its node was given up', () => {
    const made = (uid: string, time: string, job?: string): Told => {
      const creationTimestamp = `2026-01-01T00:00:${time}Z`;
      const ownerReferences = job ? [{ apiVersion: 'batch/v1', kind: 'Job', name: job, uid: job }] : [];
      return {
        ...{ atMs: 0, type: 'ADDED' },
        object: { metadata: { uid, creationTimestamp, ownerReferences }, spec: { containers: [] } },
      };
    };
    const pods = [made('early', '24', 'job'), made('late', '25', 'job')];
    expect([...latePods([made('job', '10')], pods)]).toEqual(['late']);
  });
});
