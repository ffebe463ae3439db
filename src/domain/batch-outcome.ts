import {
  cannotPull,
  createProblem,
  type ImageFailure,
  ourContainer,
  type Problem,
  workerFailure,
} from './container-status.ts';
import type { ContainerStatus, Event, Job, KubernetesNode, Pod } from './kubernetes.ts';
import { readContainers } from './noop-outcome.ts';
import type { OpenBatch, TaskImage } from './prewarm-task.ts';
import { classifyPullFailure, NO_VARIANT, rejectionReason } from './pull-failure.ts';
import { WARM_CONTAINER } from './warmer-job.ts';

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

/** A status names one image volume that failed; only the pod's Events name them all, and those that arrived. */
export function needsEvents(pod: Pod): boolean {
  return cannotPull(warmContainer(pod));
}

/** The outcome of each node of a batch, in the order of completion indexes. */
export function batchOutcomes(batch: OpenBatch, images: TaskImage[], evidence: BatchEvidence): NodeOutcome[] {
  const completed = parseIndexes(evidence.job?.status?.completedIndexes);
  const failed = parseIndexes(evidence.job?.status?.failedIndexes);
  return batch.nodes.map((name, index) =>
    nameVariant(
      outcomeOf({ name, index }, batch, images, evidence, { completed, failed }),
      evidence.node(name),
    ),
  );
}

function outcomeOf(
  { name, index }: { name: string; index: number },
  batch: OpenBatch,
  images: TaskImage[],
  evidence: BatchEvidence,
  { completed, failed }: { completed: Set<number>; failed: Set<number> },
): NodeOutcome {
  const pod = evidence.pods.get(index);
  if (completed.has(index) || ranToItsEnd(pod)) return { state: 'ended', warm: batch.images, failures: [] };
  const around = () => problemAround(batch, evidence, { name, pod, failed: failed.has(index) });
  if (batch.strategy === 'injected-noop') return containersOutcome(pod, batch, images, around);
  const outcome = pod && podOutcome(pod, batch, images, evidence);
  if (outcome) return outcome;
  const problem = around();
  return problem ? failedAlike(batch.images, images, problem) : { state: 'running' };
}

/** `no variant for arm64`: containerd does not say for which it looked. */
function nameVariant(outcome: NodeOutcome, node: KubernetesNode | undefined): NodeOutcome {
  const architecture = node?.status?.nodeInfo?.architecture;
  if (outcome.state !== 'ended' || !architecture) return outcome;
  const failures = outcome.failures.map((failure) =>
    failure.reason.startsWith(NO_VARIANT) ? { ...failure, reason: `${NO_VARIANT}${architecture}` } : failure,
  );
  return { ...outcome, failures };
}

/** Ended once each image has either arrived or failed: each has a container of its own, which tells of it alone. */
function containersOutcome(
  pod: Pod | undefined,
  batch: OpenBatch,
  images: TaskImage[],
  around: () => Problem | undefined,
): NodeOutcome {
  const read = pod && readContainers(pod, batch, images);
  const { warm = [], failures = [], pending = batch.images } = read ?? {};
  if (pending.length === 0) return { state: 'ended', warm, failures };
  const problem = read?.problem ?? (pod && podProblem(pod)) ?? around();
  return problem ? failedAlike(pending, images, problem, { warm, failures }) : { state: 'running' };
}

/** Why a node is not worth waiting for, where its pod does not say. */
function problemAround(
  batch: OpenBatch,
  evidence: BatchEvidence,
  { name, pod, failed }: { name: string; pod: Pod | undefined; failed: boolean },
): Problem | undefined {
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
export function ranToItsEnd(pod: Pod | undefined): boolean {
  const state = pod && warmContainer(pod)?.state;
  return (
    pod?.status?.phase === 'Succeeded' || state?.running !== undefined || state?.terminated?.exitCode === 0
  );
}

function podOutcome(
  pod: Pod,
  batch: OpenBatch,
  images: TaskImage[],
  evidence: BatchEvidence,
): NodeOutcome | undefined {
  if (pod.spec?.nodeName && needsEvents(pod)) return pullOutcome(pod, batch, images, evidence);
  const problem = containerProblem(warmContainer(pod)) ?? podProblem(pod);
  return problem && failedAlike(batch.images, images, problem);
}

/** Why the only container ends, or never starts, though every image volume is there. */
function containerProblem(status: ContainerStatus | undefined): Problem | undefined {
  const { waiting, terminated } = status?.state ?? {};
  if (terminated) {
    const { reason = 'warmer failed', message = `exit code ${terminated.exitCode}` } = terminated;
    return { reason, message };
  }
  if (waiting?.reason !== 'RunContainerError') return createProblem(status);
  return { reason: waiting.reason, message: waiting.message ?? '' };
}

const UNPINNED = 'its pod was made while the webhook configuration of IPS was missing';

/** What is wrong with a pod, whatever its containers tell. */
function podProblem(pod: Pod): Problem | undefined {
  // No scheduler takes it, so it would wait for ever.
  if (!pod.spec?.nodeName) return { reason: 'not pinned', message: UNPINNED };
  if (pod.status?.phase !== 'Failed') return undefined;
  const { reason = 'warmer failed', message = '' } = pod.status;
  return { reason: rejectionReason(reason, message), message };
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
  const [, named, text = ''] = IMAGE_IN_MESSAGE.exec(warmContainer(pod)?.state?.waiting?.message ?? '') ?? [];
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
  return worker ? { state: 'ended', warm, failures: [workerFailure(warmContainer(pod))] } : undefined;
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

/** @param indexes into the task's images: those that fail; `known` is what became of the others */
function failedAlike(
  indexes: number[],
  images: TaskImage[],
  problem: Problem,
  known: { warm: number[]; failures: ImageFailure[] } = { warm: [], failures: [] },
): NodeOutcome {
  const failures = indexes.map((index) => ({
    image: images[index]?.image ?? '',
    ...problem,
    hopeless: false,
  }));
  return { state: 'ended', warm: known.warm, failures: [...known.failures, ...failures] };
}

/** A pod that is pinned to a dead node never ends, whatever its deadline: the node's end is its end. */
function nodeProblem(node: KubernetesNode | undefined): string | undefined {
  if (!node) return NODE_GONE;
  const ready = node.status?.conditions?.find((condition) => condition.type === 'Ready');
  return ready && ready.status !== 'True' ? NODE_NOT_READY : undefined;
}

function warmContainer(pod: Pod): ContainerStatus | undefined {
  return ourContainer(pod.status?.containerStatuses, WARM_CONTAINER);
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
