import type { Job, Pod } from './kubernetes.ts';
import { WARM_CONTAINER } from './warmer-job.ts';

/** A warmer prints its version and ends; one that is still at it after this long will not. */
const RUN_MS = 10_000;

/**
 * Whether all of a Job's warmers did their work, and the Job controller is about to say so. Until then it is left
 * alone: a pod that loses its Job before the controller has let go of it (its finalizer) takes three more writes to go.
 */
export function isAboutToComplete(job: Job, pods: readonly Pod[], nowMs: number): boolean {
  const { spec, status } = job;
  if (status?.conditions?.some(({ type, status: is }) => is === 'True' && ENDED.includes(type))) return false;
  return pods.length === spec?.completions && pods.every((pod) => isEnding(pod, nowMs));
}

const ENDED = ['Complete', 'Failed'];

function isEnding({ status }: Pod, nowMs: number): boolean {
  if (status?.phase === 'Succeeded') return true;
  const container = status?.containerStatuses?.find(({ name }) => name === WARM_CONTAINER);
  if (container?.state?.terminated) return container.state.terminated.exitCode === 0;
  return nowMs - Date.parse(container?.state?.running?.startedAt ?? '') < RUN_MS;
}
