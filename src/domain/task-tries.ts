/** Tries of what failed: when the next one comes, what it begins with, and how a round ends. */

import { NODE_GONE } from './batch-outcome.ts';
import { COLLECTED } from './left-alone.ts';
import { nodeKey, unpackNodes } from './node-set.ts';
import {
  DEFAULTS,
  type NodeFailure,
  type PrewarmTask,
  type PrewarmTaskStatus,
  type TaskPhase,
} from './prewarm-task.ts';
import type { ProgressInput, States } from './task-progress.ts';
import type { WarmNodes } from './warm-nodes.ts';

/** After the last try. */
export const LONG_RETRY_SECONDS = 600;
/** Where a tag has to be pushed or a secret mended: whoever does it is at it now, or much later. */
export const MENDING_SECONDS = [30, 60, 120, 300];

/** When there is something to begin, though nothing happens until then. */
export function nextTryMs(
  { retryAt, collected, pauseUntil }: PrewarmTaskStatus,
  nowMs: number,
): number | undefined {
  const times = [retryAt, pauseUntil, ...(collected ?? []).map((record) => record.retryAt)];
  const ahead = times.map((time) => Date.parse(time ?? '')).filter((ms) => ms >= nowMs);
  return ahead.length > 0 ? Math.min(...ahead) : undefined;
}

/** When the time of the next try has come, what failed is cold again. */
export function startRetry(input: ProgressInput): PrewarmTaskStatus {
  const status = structuredClone(input.task.status ?? {});
  if (!status.retryAt || Date.parse(status.retryAt) > input.nowMs) return status;
  delete status.retryAt;
  if (!status.attempt) {
    forgetFailures(input, status);
    return status;
  }
  // A short retry is for what may pass by itself; what is hopeless, and who used up their tries, wait for the long one.
  const hopeless = new Map(status.failedImages?.map((each) => [each.image, each.nodes]));
  const spent = unpackNodes(status.spentNodes);
  const keys = new Map(input.eligible.map((node) => [node.metadata.name, nodeKey(node)]));
  const waits = (failure: NodeFailure) =>
    hopeless.has(failure.image) ||
    spent.has(keys.get(failure.node) ?? '') ||
    (failure.reason === NODE_GONE && !keys.has(failure.node)) ||
    failure.reason === COLLECTED;
  status.failures = status.failures?.filter(waits) ?? [];
  const listed = status.failures.filter((failure) => !hopeless.has(failure.image)).length;
  status.failureCount = [...hopeless.values()].reduce((sum, nodes) => sum + nodes, listed);
  status.failedNodes = status.spentNodes ?? '';
  return status;
}

/** Nothing is running and nothing is left to start: the try is over, and perhaps the round. */
export function endTry(
  input: ProgressInput,
  status: PrewarmTaskStatus,
  states: States,
  warm: WarmNodes,
): void {
  delete status.pauseUntil;
  if (states.failed === 0) {
    forgetFailures(input, status);
    delete status.waits;
    if (states.held.length > 0) {
      status.retryAt = timestamp(Math.min(...states.held.map(({ untilMs }) => untilMs)));
      finish(status, failedPhase(input, warm), input.nowMs);
    } else finish(status, input.eligible.length === 0 ? 'Pending' : 'Warm', input.nowMs);
    return;
  }
  // A node that failed for the first time has its own tries, also while others wait for the long one.
  const waitsLong = status.retryAt !== undefined && !status.attempt;
  // Without an attempt it is the time of nodes that are left alone, and these here are others.
  const isOthers = status.attempt === undefined;
  if (!status.retryAt || isOthers || (waitsLong && states.retryable))
    planRetry(input, status, states.retryable);
  if (status.attempt) return; // still Warming: the next try follows soon
  finish(status, failedPhase(input, warm), input.nowMs);
}

function failedPhase({ task, eligible }: ProgressInput, warm: WarmNodes): TaskPhase {
  const some = eligible.some((node) => task.spec.images.some((_, index) => warm.has(node, index)));
  return some ? 'PartiallyFailed' : 'Failed';
}

const FIELDS_OF_FAILURE = [
  'retryAt',
  'attempt',
  'failedImages',
  'failures',
  'failureCount',
  'failedNodes',
  'spentNodes',
] as const;

/** A node that went is nobody's failure; for a while users are told why it was not warmed. */
const GONE_TOLD_SECONDS = 600;

function forgetFailures(input: ProgressInput, status: PrewarmTaskStatus): void {
  const eligible = new Set(input.eligible.map((node) => node.metadata.name));
  const kept = status.failures?.filter(
    ({ node, reason, time }) =>
      reason === COLLECTED ||
      (reason === NODE_GONE &&
        !eligible.has(node) &&
        input.nowMs < Date.parse(time) + GONE_TOLD_SECONDS * 1000),
  );
  for (const field of FIELDS_OF_FAILURE) delete status[field];
  if (kept?.length) Object.assign(status, { failures: kept, failureCount: kept.length });
}

/** The end of a round is when its work ended, not when a node that waited for its turn went away. */
function finish(status: PrewarmTaskStatus, phase: TaskPhase, nowMs: number): void {
  const worked =
    (status.phase === 'Warming' && (phase === 'Warm' || !hasFailed(status))) || !status.finishedAt;
  if (status.phase !== phase && phase !== 'Pending' && worked) status.finishedAt = timestamp(nowMs);
  status.phase = phase;
}

function planRetry(input: ProgressInput, status: PrewarmTaskStatus, retryable: boolean): void {
  const tried = status.attempt ?? 0;
  const again = retryable && tried < (input.task.spec.retry?.limit ?? DEFAULTS.retryLimit);
  status.attempt = again ? tried + 1 : 0;
  if (!again && status.failedNodes) status.spentNodes = status.failedNodes;
  const seconds = again ? retryDelaySeconds(input.task, status.attempt) : longWaitSeconds(status);
  const fromMs = again ? lastFailureMs(status, input.nowMs) : input.nowMs;
  status.retryAt = timestamp(Math.max(fromMs + seconds * 1000, input.nowMs + PAUSE_MS));
}

/** Between two tries at least. */
const PAUSE_MS = 1000;

/** While others had their turn, those that failed have waited already. */
function lastFailureMs({ failures = [], failureCount = 0 }: PrewarmTaskStatus, nowMs: number): number {
  if (failureCount > failures.length) return nowMs;
  return Math.max(...failures.map(({ time }) => Date.parse(time)));
}

/** Nodes that used up their tries wait in full, whatever else is amiss. */
function longWaitSeconds(status: PrewarmTaskStatus): number {
  if (!status.failedImages?.length) {
    delete status.waits;
    return LONG_RETRY_SECONDS;
  }
  status.waits = (status.waits ?? 0) + 1;
  const seconds = status.spentNodes ? undefined : MENDING_SECONDS[status.waits - 1];
  return seconds ?? LONG_RETRY_SECONDS;
}

export function retryDelaySeconds(task: PrewarmTask, attempt: number): number {
  const base = task.spec.retry?.delaySeconds ?? DEFAULTS.retryDelaySeconds;
  return task.spec.retry?.strategy === 'linear' ? base * attempt : base * 2 ** (attempt - 1);
}

/**
 * It ended once, and was never warm since. Its end stays the first one, however often it is tried again: a task made by
 * hand would else never outlive its TTL.
 */
export function hasFailed({ coldSince, finishedAt }: PrewarmTaskStatus): boolean {
  return coldSince !== undefined && finishedAt !== undefined && coldSince <= finishedAt;
}

export function timestamp(ms: number): string {
  return new Date(ms).toISOString();
}
