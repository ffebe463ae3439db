import type { ContainerStatus } from './kubernetes.ts';
import { classifyPullFailure, type PullFailure } from './pull-failure.ts';

/** What a warmer's container statuses say; others may have put containers of their own beside ours. */

export type ImageFailure = PullFailure & { image: string };

/** Why a node is not worth waiting for. */
export type Problem = { reason: string; message: string };

const PULL_PROBLEMS = [
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'ImageInspectError',
];

export function ourContainer(
  statuses: ContainerStatus[] | undefined,
  name: string,
): ContainerStatus | undefined {
  return statuses?.find((status) => status.name === name);
}

/** Whether the container waits for an image that does not come. */
export function cannotPull(status: ContainerStatus | undefined): boolean {
  return PULL_PROBLEMS.includes(status?.state?.waiting?.reason ?? '');
}

const CREATE_PROBLEMS = ['CreateContainerError', 'CreateContainerConfigError'];

/** Why the container cannot be made, though its image is there as far as the kubelet knows. */
export function createProblem(status: ContainerStatus | undefined): Problem | undefined {
  const { reason = '', message = '' } = status?.state?.waiting ?? {};
  return CREATE_PROBLEMS.includes(reason) ? { reason, message } : undefined;
}

const BACK_OFF = /^Back-off pulling image "[^"]*": /;

export function pullFailure(status: ContainerStatus | undefined): PullFailure {
  return classifyPullFailure((status?.state?.waiting?.message ?? '').replace(BACK_OFF, ''));
}

/** It is the operator's to mend, and may be at any time. */
export function workerFailure(status: ContainerStatus | undefined): ImageFailure {
  return { ...pullFailure(status), hopeless: false, image: status?.image ?? 'the worker image' };
}
