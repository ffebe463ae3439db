import {
  cannotPull,
  createProblem,
  type ImageFailure,
  ourContainer,
  type Problem,
  pullFailure,
  workerFailure,
} from './container-status.ts';
import type { ContainerStatus, Pod } from './kubernetes.ts';
import type { OpenBatch, TaskImage } from './prewarm-task.ts';
import { imageName, NOOP_CONTAINER } from './warmer-job.ts';

/** What the containers of an injected no-op's warmer tell: each of its own image alone, the init container of all. */
export type ContainerEvidence = {
  /** Indexes into the task's images. */
  warm: number[];
  failures: ImageFailure[];
  /** Images of which nothing is known yet. */
  pending: number[];
  /** Why nothing more will be known of those. */
  problem: Problem | undefined;
};

export function readContainers(pod: Pod, batch: OpenBatch, images: TaskImage[]): ContainerEvidence {
  const evidence: ContainerEvidence = { warm: [], failures: [], pending: [], problem: undefined };
  for (const [position, index] of batch.images.entries()) {
    const status = ourContainer(pod.status?.containerStatuses, imageName(position));
    const failure = status && imageFailure(status);
    if (status && isThere(status)) evidence.warm.push(index);
    else if (failure) evidence.failures.push({ image: images[index]?.image ?? '', ...failure });
    else evidence.pending.push(index);
  }
  const noop = ourContainer(pod.status?.initContainerStatuses, NOOP_CONTAINER);
  // Without the no-op no other container is begun.
  if (noop && cannotPull(noop)) return { ...evidence, failures: [workerFailure(noop)], pending: [] };
  return { ...evidence, problem: noop && (createProblem(noop) ?? copyProblem(noop)) };
}

function copyProblem({ state }: ContainerStatus): Problem | undefined {
  const { exitCode = 0, message = `exit code ${exitCode}` } = state?.terminated ?? {};
  return exitCode === 0 ? undefined : { reason: 'no-op not copied', message: message.trim() };
}

/**
 * The kubelet makes a container once its image is there, from that image; whether our no-op could be started in it then
 * (`RunContainerError`, `StartError`) says nothing about the image.
 */
function isThere({ state }: ContainerStatus): boolean {
  if (state?.running || state?.waiting?.reason === 'RunContainerError') return true;
  // Told of containers, too, that were never made.
  return state?.terminated !== undefined && state.terminated.reason !== 'ContainerStatusUnknown';
}

function imageFailure(status: ContainerStatus): Omit<ImageFailure, 'image'> | undefined {
  if (cannotPull(status)) return pullFailure(status);
  const problem = createProblem(status);
  return problem && { ...problem, hopeless: false };
}
