import type { ObjectMeta } from './kubernetes.ts';
import { DEFAULTS, type PrewarmTask, type PrewarmTaskStatus, type TaskPhase } from './prewarm-task.ts';
import { reasonKind } from './pull-failure.ts';
import { planOf, type Workload, wantsPrewarm } from './workload.ts';

type WorkloadName = { namespace: string; kind: string; name: string };

/** How all workloads stand, in numbers; by name only those that are not well, and only so many of them. */
export type Fleet = {
  phases: Record<TaskPhase, number>;
  cold: (WorkloadName & { sinceMs: number; warmRatio: number })[];
  failures: (WorkloadName & { image: string; reason: string; nodes: number })[];
  /** By when each task that has something to do should have moved. */
  deadlines: { namespace: string; task: string; atMs: number }[];
};

/** Series of each kind: what is cut off is the least urgent, and who has this many alerts needs no more of them. */
export const MAX_NAMED = 200;
const MAX_FAILURES_EACH = 3;
/** A task without an open batch waits for its turn, or for tokens: that may well take as long as others' batches do. */
const TURN_SECONDS = 1800;

export function fleetOf(workloads: Workload[], tasks: PrewarmTask[]): Fleet {
  const byOwner = new Map(
    tasks.flatMap((task) => (task.metadata.ownerReferences ?? []).map((owner) => [owner.uid, task] as const)),
  );
  const phases = { Pending: 0, Warming: 0, Warm: 0, PartiallyFailed: 0, Failed: 0, Cancelled: 0 };
  const cold: Fleet['cold'] = [];
  const failures: Fleet['failures'] = [];
  for (const workload of workloads.filter(wantsPrewarm)) {
    const task = byOwner.get(workload.metadata.uid ?? '');
    const phase = task?.status?.phase ?? 'Pending';
    phases[phase] += 1;
    if (phase === 'Warm' || phase === 'Cancelled') continue;
    const { namespace = '', name = '' } = workload.metadata;
    const named = { namespace, kind: workload.kind, name };
    const sinceMs = Date.parse(coldSince(workload, task) ?? '');
    if (sinceMs) cold.push({ ...named, sinceMs, warmRatio: warmRatio(task?.status) });
    for (const failure of failuresOf(task?.status)) failures.push({ ...named, ...failure });
  }
  const deadlines = tasks.flatMap((task) => {
    const atMs = deadlineMs(task);
    return atMs ? { namespace: task.metadata.namespace ?? '', task: task.metadata.name ?? '', atMs } : [];
  });
  return {
    phases,
    cold: cold.sort((a, b) => a.sinceMs - b.sinceMs).slice(0, MAX_NAMED),
    failures: failures.sort((a, b) => b.nodes - a.nodes).slice(0, MAX_NAMED),
    deadlines: deadlines.sort((a, b) => a.atMs - b.atMs).slice(0, MAX_NAMED),
  };
}

/** A workload that still has no task has waited since it was made, unless there is nothing to warm. */
function coldSince(workload: Workload, task: PrewarmTask | undefined): string | undefined {
  if (task) return task.status?.phase ? task.status.coldSince : task.metadata.creationTimestamp;
  return planOf(workload).images.length > 0 ? workload.metadata.creationTimestamp : undefined;
}

function warmRatio(status: PrewarmTaskStatus | undefined): number {
  const { warm = 0, eligible = 0 } = status?.nodes ?? {};
  return eligible > 0 ? warm / eligible : 0;
}

function failuresOf(
  status: PrewarmTaskStatus | undefined,
): { image: string; reason: string; nodes: number }[] {
  const found = new Map<string, { image: string; reason: string; nodes: Set<string> }>();
  for (const { image, reason, node } of status?.failures ?? []) {
    const key = `${image} ${reasonKind(reason)}`;
    const failure = found.get(key) ?? { image, reason: reasonKind(reason), nodes: new Set() };
    found.set(key, failure);
    failure.nodes.add(node);
  }
  return [...found.values()]
    .map((failure) => ({ ...failure, nodes: failure.nodes.size }))
    .sort((a, b) => b.nodes - a.nodes)
    .slice(0, MAX_FAILURES_EACH);
}

/** Undefined where nothing is to be done: warm, cancelled, or without a node. */
export function deadlineMs(task: PrewarmTask): number | undefined {
  const { metadata, spec, status = {} } = task;
  if (spec.cancelled || metadata.deletionTimestamp) return undefined;
  if (status.phase && (status.phase === 'Warm' || !status.nodes?.eligible)) return undefined;
  const timeoutSeconds = spec.timeoutSeconds ?? DEFAULTS.timeoutSeconds;
  const open = (status.batches ?? []).map((batch) => Date.parse(batch.startedAt));
  if (open.length > 0) return Math.min(...open) + timeoutSeconds * 1000;
  return lastMove(metadata, status) + Math.max(timeoutSeconds, TURN_SECONDS) * 1000;
}

function lastMove(metadata: ObjectMeta, status: PrewarmTaskStatus): number {
  const { coldSince, retryAt, lastWarmedAt, startedAt, finishedAt } = status;
  const moves = [metadata.creationTimestamp, coldSince, retryAt, lastWarmedAt, startedAt, finishedAt];
  return Math.max(...moves.map((time) => Date.parse(time ?? '') || 0));
}
