import type { PrewarmTask, PrewarmTaskStatus } from '../domain/prewarm-task.ts';
import type { KubeClient } from '../kube/client.ts';
import { ignoreNotFound } from '../kube/errors.ts';
import { type Informer, keyOf } from '../kube/informer.ts';
import { RESOURCES } from '../kube/resources.ts';

/**
 * Before a Job is made or removed: whether its batch stands in the task. What we hold in memory may be old, when this
 * process was stopped for a while, or another replica has gone on: a Job made from an old plan would do work that is
 * done or given to another, and one removed for it would end running pulls.
 */
export type PlanFence = {
  /** Our own write of `task`'s new status went through; it was sent at this time of `performance.now()`. */
  wrote(task: PrewarmTask, status: PrewarmTaskStatus, sentMs: number): void;
  /**
   * Who planned the batch: we, a moment ago, which holds once, for the first try to make its Job, or else somebody, by
   * what the API server says now. Undefined where it is not planned.
   */
  plannedBy(task: PrewarmTask, jobName: string): Promise<'us' | 'somebody' | undefined>;
  /** Whether the batch is not planned (any more), by what the API server says now. */
  mayRemove(task: PrewarmTask, jobName: string): Promise<boolean>;
  forget(key: string): void;
};

/** What was sent longer ago than this may have been overtaken. A monotonic clock goes on while a process is stopped. */
const FRESH_MS = 5_000;

export function createPlanFence(options: {
  client: Pick<KubeClient, 'get'>;
  tasks: Informer<PrewarmTask>;
}): PlanFence {
  const written = new Map<string, { names: Set<string>; sentMs: number }>();
  const isFresh = (sentMs: number) => performance.now() - sentMs < FRESH_MS;

  async function plannedNow(task: PrewarmTask): Promise<Set<string>> {
    const sentMs = performance.now();
    const { namespace, name = '', uid } = task.metadata;
    const live = await options.client
      .get<PrewarmTask>(RESOURCES.tasks, namespace, name)
      .catch(ignoreNotFound);
    if (live) options.tasks.put(live);
    if (!isFresh(sentMs)) throw new Error(`task ${keyOf(task)} took too long to read; trying again`);
    const stands = live?.metadata.uid === uid && !live?.spec.cancelled && !live?.metadata.deletionTimestamp;
    return new Set(stands ? live?.status?.batches?.map((batch) => batch.jobName) : []);
  }

  return {
    wrote(task, status, sentMs) {
      const before = new Set(task.status?.batches?.map((batch) => batch.jobName));
      const names = status.batches?.map((batch) => batch.jobName).filter((name) => !before.has(name));
      written.set(keyOf(task), { names: new Set(names), sentMs });
    },
    async plannedBy(task, jobName) {
      const own = written.get(keyOf(task));
      if (own?.names.delete(jobName) && isFresh(own.sentMs)) return 'us';
      return (await plannedNow(task)).has(jobName) ? 'somebody' : undefined;
    },
    async mayRemove(task, jobName) {
      return !(await plannedNow(task)).has(jobName);
    },
    forget: (key) => void written.delete(key),
  };
}
