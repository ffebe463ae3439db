import type { ContainerState, Event, Job, KubernetesNode, Pod } from './kubernetes.ts';
import type { OpenBatch, TaskImage } from './prewarm-task.ts';
import { classifyPullFailure, type PullFailure } from './pull-failure.ts';
import { WARM_CONTAINER } from './warmer-job.ts';

export type ImageFailure = PullFailure & { image: string };

/** What became of one node of a batch. `warm` holds indexes into the task's images. */
export type NodeOutcome = { state: 'running' } | { state: 'ended'; warm: number[]; failures: ImageFailure[] };

/** Reasons that are the node's, whatever its images. */
export const NODE_GONE = 'node gone';
export const NODE_NOT_READY = 'node is not ready';

export type BatchEvidence = {
  job: Job | undefined;
  /** The batch's pods by completion index. */
  pods: Map<number, Pod>;
  /** The Events of the pods that cannot pull, by pod uid; see `needsEvents`. */
  events: Map<string, Event[]>;
  /** Why the Job's pods, or the Job itself, could not be made, as far as that was told. */
  refusal?: string | undefined;
  node(name: string): KubernetesNode | undefined;
  /** Since when IPS has been looking without a break; that it saw no pod before proves nothing. */
  lookingSinceMs?: number;
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
  return batch.nodes.map((name, index) => {
    const pod = evidence.pods.get(index);
    if (completed.has(index) || ranToItsEnd(pod)) return { state: 'ended', warm: batch.images, failures: [] };
    const outcome = pod && podOutcome(pod, batch, images, evidence);
    if (outcome) return outcome;
    const problem = problemAround(batch, evidence, { name, pod, failed: failed.has(index) });
    return problem ? failedAlike(batch, images, problem.reason, problem.message) : { state: 'running' };
  });
}

/** Why a node is not worth waiting for, where its pod does not say. */
function problemAround(
  batch: OpenBatch,
  evidence: BatchEvidence,
  { name, pod, failed }: { name: string; pod: Pod | undefined; failed: boolean },
): { reason: string; message: string } | undefined {
  const ageMs = evidence.nowMs - Date.parse(batch.startedAt);
  const gone = nodeProblem(evidence.node(name));
  if (gone) return { reason: gone, message: '' };
  if (failed) return { reason: 'warmer failed', message: 'its pod is gone and its Job counts it as failed' };
  const lookedMs = Math.min(ageMs, evidence.nowMs - (evidence.lookingSinceMs ?? 0));
  if (!pod && lookedMs > (evidence.refusal ? REFUSED_MS : NO_POD_MS))
    return { reason: `no warmer: ${refusalWords(evidence.refusal)}`, message: '' };
  if (ageMs <= evidence.timeoutMs) return undefined;
  return { reason: 'timed out', message: `not there after ${Math.round(evidence.timeoutMs / 1000)} s` };
}

/** `Error creating: pods "…" is forbidden: exceeded quota: …`: which of many pods it was helps nobody. */
function refusalWords(message = NO_POD): string {
  return message.replace(/^.*? is forbidden: /s, '').slice(0, 200);
}

const NO_POD = 'the Job controller made no pod for it';
/** Pods are made within seconds; a refusal may pass, when the webhook was away for a moment. */
const REFUSED_MS = 15_000;
const NO_POD_MS = 90_000;

/** A container can start only once every image volume is there. */
function ranToItsEnd(pod: Pod | undefined): boolean {
  const state = pod && stateOf(pod);
  return (
    pod?.status?.phase === 'Succeeded' || state?.running !== undefined || state?.terminated?.exitCode === 0
  );
}

const START_PROBLEMS = ['CreateContainerError', 'CreateContainerConfigError', 'RunContainerError'];
const UNPINNED = 'its pod was made while the webhook configuration of IPS was missing';

function podOutcome(
  pod: Pod,
  batch: OpenBatch,
  images: TaskImage[],
  evidence: BatchEvidence,
): NodeOutcome | undefined {
  // No scheduler takes it, so it would wait for ever.
  if (!pod.spec?.nodeName) return failedAlike(batch, images, 'not pinned', UNPINNED);
  if (needsEvents(pod)) return pullOutcome(pod, batch, images, evidence);
  const { reason = '', message = '' } = waiting(pod) ?? {};
  if (START_PROBLEMS.includes(reason)) return failedAlike(batch, images, reason, message);
  const ended = stateOf(pod)?.terminated;
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

/**
 * Ended once each image has either arrived or failed: the kubelet tries every image volume before it waits. Undefined
 * while its Events are on their way. Where the kubelet had too many Events to send them all, what is known is enough:
 * what is not known stays cold.
 */
function pullOutcome(
  pod: Pod,
  batch: OpenBatch,
  images: TaskImage[],
  evidence: BatchEvidence,
): NodeOutcome | undefined {
  const { arrived, failures, folded } = readEvents(evidence.events.get(pod.metadata.uid ?? '') ?? []);
  const [, named, text = ''] = IMAGE_IN_MESSAGE.exec(waiting(pod)?.message ?? '') ?? [];
  const overdue = evidence.nowMs - Date.parse(batch.startedAt) > EVENTS_MS;
  if (overdue && named && !failures.has(named))
    failures.set(named, { image: named, ...classifyPullFailure(text) });
  const wanted = batch.images.map((index) => ({ index, image: images[index]?.image ?? '' }));
  const warm = wanted.filter(({ image }) => arrived.has(image)).map(({ index }) => index);
  const own = wanted.flatMap(({ image }) => (arrived.has(image) ? [] : (failures.get(image) ?? [])));
  const accounted = warm.length + own.length === wanted.length;
  const enough = accounted || folded || overdue;
  if (own.length > 0) return enough ? { state: 'ended', warm, failures: own } : undefined;
  // None of them failed: what cannot be pulled is the worker image.
  const worker = accounted || (enough && named && !wanted.some(({ image }) => image === named));
  return worker ? { state: 'ended', warm, failures: [workerFailure(pod)] } : undefined;
}

/** Events of a pod that waits are there within seconds, if at all: the kubelet drops those past 25 for one pod. */
const EVENTS_MS = 60_000;
const IMAGE_IN_MESSAGE = /image (?:tag )?"([^"]+)":? ?(.*)/s;

/** Where there are many of a kind, client-go folds those after the tenth into one that names the last image only. */
const FOLDED = '(combined from similar events)';

function readEvents(events: Event[]): {
  arrived: Set<string>;
  failures: Map<string, ImageFailure>;
  folded: boolean;
} {
  const arrived = new Set<string>();
  const failures = new Map<string, ImageFailure>();
  for (const { reason, message = '' } of events) {
    const [, image, text = ''] = IMAGE_IN_MESSAGE.exec(message) ?? [];
    if (!image) continue;
    if (reason === 'Pulled') arrived.add(image);
    if (reason === 'Failed' || reason === 'InspectFailed')
      failures.set(image, { image, ...classifyPullFailure(text) });
  }
  return { arrived, failures, folded: events.some(({ message }) => message?.startsWith(FOLDED)) };
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
  if (!node) return NODE_GONE;
  const ready = node.status?.conditions?.find((condition) => condition.type === 'Ready');
  return ready && ready.status !== 'True' ? NODE_NOT_READY : undefined;
}

function waiting(pod: Pod): { reason?: string; message?: string } | undefined {
  return stateOf(pod)?.waiting;
}

/** Of our own container: others may have been put beside it. */
function stateOf(pod: Pod): ContainerState | undefined {
  return pod.status?.containerStatuses?.find((status) => status.name === WARM_CONTAINER)?.state;
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
