import type { ContainerState, Job, Pod } from './kubernetes.ts';
import { isWarmerContainer } from './warmer-job.ts';

/** A warmer ends as soon as it runs; one that is still at it after this long will not. */
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

/** Whether the Job controller may yet start pods for it. */
export function mayStartPods({ status }: Job): boolean {
  const over = [...ENDED, 'SuccessCriteriaMet', 'FailureTarget'];
  return !status?.conditions?.some(({ type, status: is }) => is === 'True' && over.includes(type));
}

function isEnding({ status }: Pod, nowMs: number): boolean {
  if (status?.phase === 'Succeeded') return true;
  const own = status?.containerStatuses?.filter(({ name }) => isWarmerContainer(name)) ?? [];
  return own.length > 0 && own.every(({ state }) => hasRun(state, nowMs));
}

function hasRun(state: ContainerState | undefined, nowMs: number): boolean {
  if (state?.terminated) return state.terminated.exitCode === 0;
  return nowMs - Date.parse(state?.running?.startedAt ?? '') < RUN_MS;
}
