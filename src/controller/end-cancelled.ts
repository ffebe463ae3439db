import type { PrewarmTask } from '../domain/prewarm-task.ts';
import type { KubeClient } from '../kube/client.ts';
import { ignoreNotFound } from '../kube/errors.ts';
import { RESOURCES } from '../kube/resources.ts';
import type { BatchWatch } from './batch-watch.ts';
import type { PlanFence } from './plan-fence.ts';
import type { Again } from './work-queue.ts';

/** So long it is left to the replica that has the task. */
const HOLDER_MS = 500;

/**
 * Ends the running pulls of a cancelled task that another replica has, and does nothing about: it died or hangs, and its
 * lock lasts for half a minute. The one write without the lock: a Job that two replicas remove is removed once.
 */
export function createEndCancelled(options: {
  client: Pick<KubeClient, 'remove'>;
  jobsOf: BatchWatch['jobsOf'];
  mayRemove: PlanFence['mayRemove'];
}): (task: PrewarmTask | undefined) => Promise<Again> {
  /** Since when each is known to be cancelled; one that is written anew is in somebody's hands. */
  const known = new WeakMap<PrewarmTask, number>();

  return async (task) => {
    if (!task?.spec.cancelled) return undefined;
    const left = options.jobsOf(task).filter(({ metadata }) => !metadata.deletionTimestamp);
    if (left.length === 0) return undefined;
    const sinceMs = known.get(task) ?? performance.now();
    known.set(task, sinceMs);
    const waitMs = sinceMs + HOLDER_MS - performance.now();
    if (waitMs > 0) return { afterMs: waitMs };
    for (const { metadata } of left) {
      const { namespace, name = '', uid } = metadata;
      if (!(await options.mayRemove(task, name))) continue;
      await options.client.remove(RESOURCES.jobs, namespace, name, { uid }).catch(ignoreNotFound);
    }
    return undefined;
  };
}
