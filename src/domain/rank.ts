import { DEFAULTS, type PrewarmTask } from './prewarm-task.ts';

/** By so much each step of priority puts a task ahead: whoever waits rises by one a minute, and so nobody starves. */
const STEP_MS = 60_000;

/**
 * A task's place among those that want to be warmed, or want pull tokens; the lower goes first. It does not change
 * while the task waits. Ask with the status that `taskProgress` has just given: the stored one may be from before it
 * began to want.
 */
export function rankOf({ metadata, spec, status }: PrewarmTask, nowMs: number): number {
  // Where nothing tells: at the end, or what is always looked at in that state would be first for ever.
  const since = Date.parse(status?.wantsSince ?? (status?.phase ? '' : (metadata.creationTimestamp ?? '')));
  return notAfter(nowMs, since) - (spec.priority ?? DEFAULTS.priority) * STEP_MS;
}

/**
 * Since when a task has had work to do without a break: when it was made, when its next try came due, or when a node
 * turned cold. Undefined where it has none. A task that cannot be warmed is cold for ever, but wants only at its tries.
 */
export function wantsSince(
  { metadata, status }: PrewarmTask,
  busy: boolean,
  nowMs: number,
): string | undefined {
  if (!busy) return undefined;
  if (status?.wantsSince) return status.wantsSince;
  const retryMs = Date.parse(status?.retryAt ?? '');
  const began = status?.phase ? retryMs : Date.parse(metadata.creationTimestamp ?? '');
  return new Date(notAfter(nowMs, began)).toISOString();
}

/** What a clock ahead of ours has written must not put a task behind everybody. */
function notAfter(nowMs: number, ms: number): number {
  return Number.isNaN(ms) ? nowMs : Math.min(ms, nowMs);
}
