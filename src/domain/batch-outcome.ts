import type { Event, Job, KubernetesNode, Pod } from './kubernetes.ts';
import { nodeReadiness } from './node-matching.ts';
import type { OpenBatch, TaskImage } from './prewarm-task.ts';
import { classifyPullFailure, type PullFailure } from './pull-failure.ts';

export type ImageFailure = PullFailure & { image: string };

/** What became of one node of a batch. `warm` holds indexes into the task's images. */
export type NodeOutcome = { state: 'running' } | { state: 'ended'; warm: number[]; failures: ImageFailure[] };

export type BatchEvidence = {
  job: Job | undefined;
  /** The batch's pods by completion index. */
  pods: Map<number, Pod>;
  /** The Events of the pods that cannot pull, by pod uid; see `needsEvents`. */
  events: Map<string, Event[]>;
  node(name: string): KubernetesNode | undefined;
  nowMs: number;
  timeoutMs: number;
};

const PULL_PROBLEMS = [
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'ImageInspectError',
];

/** A container status names one image that failed; only the pod's Events name them all, and those that arrived. */
export function needsEvents(pod: Pod): boolean {
  return PULL_PROBLEMS.includes(waiting(pod)?.reason ?? '');
}

/** The outcome of each node of a batch, in the order of completion indexes. */
export function batchOutcomes(batch: OpenBatch, images: TaskImage[], evidence: BatchEvidence): NodeOutcome[] {
  const completed = parseIndexes(evidence.job?.status?.completedIndexes);
  const failed = parseIndexes(evidence.job?.status?.failedIndexes);
  const late = evidence.nowMs - Date.parse(batch.startedAt) > evidence.timeoutMs;
  const everything = batch.images;
  return batch.nodes.map((name, index) => {
    const pod = evidence.pods.get(index);
    if (completed.has(index) || ranToItsEnd(pod)) return { state: 'ended', warm: everything, failures: [] };
    const outcome = pod && podOutcome(pod, batch, images, evidence);
    if (outcome) return outcome;
    const gone = nodeProblem(evidence.node(name));
    if (gone) return failedAlike(batch, images, gone, '');
    if (failed.has(index))
      return failedAlike(batch, images, 'warmer failed', 'its pod is gone and its Job counts it as failed');
    if (late)
      return failedAlike(
        batch,
        images,
        'timed out',
        `not there after ${Math.round(evidence.timeoutMs / 1000)} s`,
      );
    return { state: 'running' };
  });
}

/** A container can start only once every image volume is there. */
function ranToItsEnd(pod: Pod | undefined): boolean {
  const state = pod?.status?.containerStatuses?.[0]?.state;
  return (
    pod?.status?.phase === 'Succeeded' || state?.running !== undefined || state?.terminated?.exitCode === 0
  );
}

const UNPINNED = 'its pod was made while the webhook configuration of IPS was missing';

function podOutcome(
  pod: Pod,
  batch: OpenBatch,
  images: TaskImage[],
  evidence: BatchEvidence,
): NodeOutcome | undefined {
  // No scheduler takes it, so it would wait for ever.
  if (!pod.spec?.nodeName) return failedAlike(batch, images, 'not pinned', UNPINNED);
  if (needsEvents(pod))
    return pullOutcome(pod, batch, images, evidence.events.get(pod.metadata.uid ?? '') ?? []);
  const ended = pod.status?.containerStatuses?.[0]?.state?.terminated;
  if (ended)
    return failedAlike(
      batch,
      images,
      ended.reason ?? 'warmer failed',
      ended.message ?? `exit code ${ended.exitCode}`,
    );
  if (pod.status?.phase !== 'Failed') return undefined;
  return failedAlike(batch, images, pod.status.reason ?? 'warmer failed', pod.status.message ?? '');
}

/** Ended once each image has either arrived or failed: the kubelet tries every image volume before it waits. */
function pullOutcome(pod: Pod, batch: OpenBatch, images: TaskImage[], events: Event[]): NodeOutcome {
  const arrived = new Set<string>();
  const failures = new Map<string, ImageFailure>();
  for (const event of events) {
    const [, image, message] = /image "([^"]+)":? ?(.*)/s.exec(event.message ?? '') ?? [];
    if (!image) continue;
    if (event.reason === 'Pulled') arrived.add(image);
    if (event.reason === 'Failed') failures.set(image, { image, ...classifyPullFailure(message ?? '') });
  }
  const wanted = batch.images.map((index) => ({ index, image: images[index]?.image ?? '' }));
  const warm = wanted.filter(({ image }) => arrived.has(image)).map(({ index }) => index);
  const accounted = wanted.every(({ image }) => arrived.has(image) || failures.has(image));
  const own = wanted.flatMap(({ image }) => (arrived.has(image) ? [] : (failures.get(image) ?? [])));
  if (accounted && own.length > 0) return { state: 'ended', warm, failures: own };
  // All images are there, and what cannot be pulled is the worker image.
  if (accounted) return { state: 'ended', warm, failures: [workerFailure(pod)] };
  return { state: 'running' };
}

function workerFailure(pod: Pod): ImageFailure {
  const failure = classifyPullFailure(waiting(pod)?.message ?? '');
  return { ...failure, hopeless: false, image: pod.spec?.containers?.[0]?.image ?? 'the worker image' };
}

function failedAlike(batch: OpenBatch, images: TaskImage[], reason: string, message: string): NodeOutcome {
  const failures = batch.images.map((index) => ({
    image: images[index]?.image ?? '',
    reason,
    message,
    hopeless: false,
  }));
  return { state: 'ended', warm: [], failures };
}

/** A pod that is pinned to a dead node never ends, whatever its deadline: the node's end is its end. */
function nodeProblem(node: KubernetesNode | undefined): string | undefined {
  if (!node) return 'node gone';
  const problem = nodeReadiness(node);
  return problem === 'node is not ready' ? problem : undefined;
}

function waiting(pod: Pod): { reason?: string; message?: string } | undefined {
  return pod.status?.containerStatuses?.[0]?.state?.waiting;
}

/** The Job status's notation: `0,3-5,7`. */
export function parseIndexes(text: string | undefined): Set<number> {
  const indexes = new Set<number>();
  for (const part of (text ?? '').split(',').filter(Boolean)) {
    const [from = Number.NaN, to = from] = part.split('-').map(Number);
    for (let index = from; index <= to; index += 1) indexes.add(index);
  }
  return indexes;
}
