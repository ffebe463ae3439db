import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createMemorySemaphore } from '../coordination/memory.ts';
import type { Job, Pod } from '../domain/kubernetes.ts';
import type { PrewarmTask } from '../domain/prewarm-task.ts';
import { keyOf } from '../kube/informer.ts';
import { createTaskShares } from './task-shares.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Replicas that see the same tasks and Jobs; `asked` are the tasks that were asked to try again. */
function cluster({ slots = 2, tokens = 10, recorded = true } = {}) {
  const tasks = new Map<string, PrewarmTask>();
  const jobs = new Map<string, Job>();
  const pods: Pod[] = [];
  const semaphores = () => ({
    slots: createMemorySemaphore({ size: slots }),
    tokens: createMemorySemaphore({ size: tokens }),
  });
  const common = semaphores();
  return {
    jobs,
    pods,
    /** Changes the nodes of a task's one open batch, none for no batch, as the watch tells it. */
    set(name: string, nodes: number, namespace = 'shop'): PrewarmTask {
      const batch = { jobName: `${name}-job`, nodes: Array.from({ length: nodes }, (_, n) => `node-${n}`) };
      const task = {
        metadata: { name, namespace },
        spec: { images: [] },
        status: nodes > 0 ? { batches: [batch] } : {},
      } as unknown as PrewarmTask;
      tasks.set(keyOf(task), task);
      return task;
    },
    replica() {
      const asked: string[] = [];
      const shares = createTaskShares({
        // Each with its own: as when Redis is away, and the cluster is all that they have in common.
        ...(recorded ? common : semaphores()),
        tasks: { values: () => [...tasks.values()] },
        jobs: { get: (key) => jobs.get(key) },
        pods: { values: () => pods },
        askAtOnce: 2,
        ask: (key) => asked.push(key),
      });
      return { ...shares, asked };
    },
  };
}

const asking = (wanted: number, rank = 0) => ({ open: false, running: 0, wanted, rank });

describe('places and tokens', () => {
  it('are given until there are no more, and who waits is asked when something ends', async () => {
    const { set, replica } = cluster();
    const { claim, release, isWaiting, asked } = replica();
    const [a, b, c] = [set('a', 0), set('b', 0), set('c', 0)];
    expect(await claim(a, asking(4))).toBe(4);
    expect(await claim(b, asking(4))).toBe(4);
    expect(await claim(c, asking(2))).toBe(0);
    expect([isWaiting('shop/b'), isWaiting('shop/c')]).toEqual([false, true]);
    await vi.runAllTimersAsync();
    expect(asked).toEqual([]);
    await release('shop/a');
    await vi.runAllTimersAsync();
    expect(asked).toEqual(['shop/c']);
    expect(await claim(c, asking(2))).toBe(2);
    expect(isWaiting('shop/c')).toBe(false);
  });

  it('are not held by one that wants nothing and has nothing open', async () => {
    const { set, replica } = cluster({ slots: 1 });
    const { claim } = replica();
    const [a, b] = [set('a', 0), set('b', 0)];
    expect(await claim(a, asking(4))).toBe(4);
    expect(await claim(b, asking(4))).toBe(0);
    expect(await claim(a, asking(0))).toBe(0);
    expect(await claim(b, asking(4))).toBe(4);
  });

  it('stay with a task between two of its batches', async () => {
    const { set, replica } = cluster({ slots: 1 });
    const { claim } = replica();
    const [a, b] = [set('a', 0), set('b', 0)];
    await claim(a, asking(4, 5));
    expect(await claim(b, asking(4, 1))).toBe(0);
    expect(await claim(a, asking(4, 5))).toBe(4);
  });

  it.each([true, false])(
    'are counted by what the cluster shows of other replicas (recorded: %s)',
    async (recorded) => {
      const { set, jobs, replica } = cluster({ recorded });
      const [one, other] = [replica(), replica()];
      const [a, b] = [set('a', 0), set('b', 0)];
      expect(await one.claim(a, asking(8))).toBe(8);
      set('a', 8);
      expect(await other.claim(b, asking(8))).toBe(2);
      // Five of them have ended by what the Job says, and by what their replica says.
      const metadata = { name: 'a-job', namespace: 'shop', labels: { 'ips/task': 'a' } };
      const spec = { completions: 8 };
      const before: Job = { metadata, spec };
      const after: Job = { metadata, spec, status: { succeeded: 4, failed: 1 } };
      jobs.set('shop/a-job', after);
      await one.claim(a, { open: true, running: 3, wanted: 0, rank: 0 });
      other.jobChanged(before, after);
      await vi.runAllTimersAsync();
      expect(other.asked).toEqual(['shop/b']);
      expect(await other.claim(b, { open: true, running: 2, wanted: 6, rank: 0 })).toBe(5);
    },
  );

  it('are free as soon as warmers of other replicas have their images, before their Job says so', async () => {
    const { set, jobs, pods, replica } = cluster({ recorded: false });
    const { claim, podChanged, asked } = replica();
    set('a', 8);
    jobs.set('shop/a-job', { metadata: { name: 'a-job', namespace: 'shop' }, spec: { completions: 8 } });
    const b = set('b', 0);
    expect(await claim(b, asking(8))).toBe(2);
    const labels = { 'ips/task': 'a', 'batch.kubernetes.io/job-name': 'a-job' };
    const pod = (phase: string): Pod => ({ metadata: { namespace: 'shop', labels }, status: { phase } });
    pods.push(pod('Succeeded'), pod('Succeeded'), pod('Pending'));
    podChanged(pod('Pending'), pods[0]);
    await vi.runAllTimersAsync();
    expect(asked).toEqual(['shop/b']);
    expect(await claim(b, { open: true, running: 2, wanted: 6, rank: 0 })).toBe(2);
  });

  it('of a task itself are not taken for those of others, and its replica knows best what it has', async () => {
    const { set, replica } = cluster({ slots: 2 });
    const { claim } = replica();
    expect(await claim(set('a', 4), { open: true, running: 4, wanted: 6, rank: 0 })).toBe(6);
    expect(await claim(set('a', 10), { open: true, running: 3, wanted: 0, rank: 0 })).toBe(0);
    expect(await claim(set('b', 0), asking(7))).toBe(7);
  });

  it('of a replica that died are still in use while its warmers run', async () => {
    const { set, replica } = cluster({ recorded: false, slots: 1 });
    const { claim } = replica();
    set('a', 8);
    expect(await claim(set('b', 0), asking(4))).toBe(0);
    set('a', 0);
    expect(await claim(set('b', 0), asking(4))).toBe(4);
  });

  it('that come free are offered to the best few of each namespace, wherever they come from', async () => {
    const { set, replica } = cluster({ slots: 1 });
    const { claim, taskChanged, asked } = replica();
    const first = set('first', 8);
    for (const [name, rank] of [
      ['c', 3],
      ['a', 1],
      ['b', 2],
    ] as const)
      await claim(set(name, 0), asking(1, rank));
    await claim(set('d', 0, 'bank'), asking(1, 9));
    taskChanged(first, set('first', 8));
    await vi.runAllTimersAsync();
    expect(asked).toEqual([]);
    taskChanged(first, set('first', 0));
    await vi.runAllTimersAsync();
    expect(asked).toEqual(['shop/a', 'shop/b', 'bank/d']);
  });

  it('of a task that another replica took are no longer told by this one', async () => {
    const { set, replica } = cluster({ slots: 1 });
    const [one, other] = [replica(), replica()];
    const a = set('a', 0);
    await one.claim(a, asking(4));
    await one.release('shop/a');
    await other.claim(a, asking(4));
    await one.release('shop/a');
    expect(await one.claim(set('b', 0), asking(4))).toBe(0);
  });

  it('of a task that another replica took, and found done, are free', async () => {
    const { set, replica } = cluster({ slots: 1 });
    const [one, other] = [replica(), replica()];
    const a = set('a', 0);
    await one.claim(a, asking(4));
    await one.release('shop/a');
    expect(await other.claim(a, asking(0))).toBe(0);
    expect(await other.claim(set('b', 0), asking(4))).toBe(4);
  });
});
