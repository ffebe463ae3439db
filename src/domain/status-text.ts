import { OUTPUT } from './annotations.ts';
import { NODE_GONE, NODE_NOT_READY } from './batch-outcome.ts';
import { COLLECTED } from './left-alone.ts';
import { groupByReason } from './left-out.ts';
import type { PrewarmTaskStatus } from './prewarm-task.ts';

/**
 * It stands in the task once, and in its owners' annotations twice, of which the API server takes 256 kB. Reasons quote
 * what a node has to have, and that may be of any length in a custom resource.
 */
const MAX_MESSAGE = 8192;

/** `127.0.0.1:5000/app:1: not found on 2 nodes; …`, or what is waited for; empty when all is well. */
export function progressMessage(
  status: PrewarmTaskStatus,
  nothingEligible: string | undefined,
  leftOut: ReadonlyMap<string, string> = new Map(),
): string {
  const message = wholeMessage(status, nothingEligible, leftOut);
  // Half a character would come back as another, and be written again and again.
  return message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE)}…`.toWellFormed() : message;
}

function wholeMessage(
  status: PrewarmTaskStatus,
  nothingEligible: string | undefined,
  leftOut: ReadonlyMap<string, string>,
): string {
  if (nothingEligible) return nothingEligible;
  if (status.phase === 'Pending') return 'waiting for its turn';
  const nodes = new Map<string, Set<string>>();
  const out = new Map<string, string>();
  for (const { node, image, reason } of status.failures ?? []) {
    // Of a node, not of an image; one that is there but not ready is left out.
    if (reason === NODE_GONE) out.set(node, reason);
    if (reason === NODE_GONE || reason === NODE_NOT_READY) continue;
    const key = `${image}: ${reason}`;
    nodes.set(key, (nodes.get(key) ?? new Set()).add(node));
  }
  const cut = (status.failureCount ?? 0) > (status.failures?.length ?? 0);
  const hopeless = new Set(status.failedImages?.map(({ image, reason }) => `${image}: ${reason}`));
  const untried = (names: Set<string>) => !cut && names.size < (status.nodes?.failed ?? 0);
  const lines = [...nodes].map(([key, names]) => {
    const rest = hopeless.has(key) && untried(names) ? ', not tried on the others' : untilWhen(key, status);
    return `${key} on ${where(names, cut)}${rest}`;
  });
  const shown = lines.slice(0, 5);
  const rest = lines.length - shown.length;
  for (const [node, reason] of leftOut) out.set(node, reason);
  const notWarmed = out.size > 0 ? [`not warmed: ${byReason(out)}`] : [];
  return [...shown, ...(rest > 0 ? [`and ${rest} more`] : []), ...notWarmed].join('; ');
}

function untilWhen(key: string, { retryAt }: PrewarmTaskStatus): string {
  if (!key.endsWith(`: ${COLLECTED}`)) return '';
  return `, the disk is too small${retryAt ? `; next try at ${retryAt}` : ''}`;
}

/** `node-c (node is not ready), 3 nodes (node is cordoned)`, the most frequent reasons. */
function byReason(out: ReadonlyMap<string, string>): string {
  const groups = groupByReason(out);
  const parts = groups.slice(0, 5).map(({ reason, nodes }) => `${where(new Set(nodes), false)} (${reason})`);
  const rest = groups.slice(5).reduce((sum, { nodes }) => sum + nodes.length, 0);
  return [...parts, ...(rest > 0 ? [`and ${rest} more`] : [])].join(', ');
}

function where(names: Set<string>, cut: boolean): string {
  if (cut) return `${names.size} or more nodes`;
  return names.size === 1 ? [...names].join() : `${names.size} nodes`;
}

/** The annotation `ips/status`. */
export function statusText(status: PrewarmTaskStatus): string {
  const { phase = 'Pending', nodes, message } = status;
  const progress = `${nodes?.warm ?? 0}/${nodes?.eligible ?? 0} nodes`;
  switch (phase) {
    case 'Warm':
    case 'Warming':
    case 'Cancelled':
      return `${phase} ${progress}`;
    case 'Pending':
      return message ? `Pending: ${message}` : 'Pending';
    default:
      return `${phase} ${progress}: ${message ?? 'see the task'}`;
  }
}

export type StatusEvent = { type: 'Normal' | 'Warning'; reason: string; message: string };

/** The Event that a change from what a workload's annotations say is worth; none when only numbers changed. */
export function statusEvent(
  before: Record<string, string> | undefined,
  status: PrewarmTaskStatus,
  images: number,
): StatusEvent | undefined {
  const after = statusText(status);
  const kind = (text: string | undefined) => /^[A-Za-z]*/.exec(text ?? '')?.[0];
  if (kind(before?.[OUTPUT.status]) === kind(after)) return firstFailure(before?.[OUTPUT.message], status);
  const what = `${images} ${images === 1 ? 'image' : 'images'}`;
  const { eligible = 0, warm = 0 } = status.nodes ?? {};
  switch (status.phase) {
    case 'Warming':
      return {
        type: 'Normal',
        reason: 'Prewarming',
        message: `Bringing ${what} to ${eligible - warm} of ${eligible} nodes`,
      };
    case 'Warm':
      return {
        type: 'Normal',
        reason: 'Prewarmed',
        message: `${what} on ${warm} of ${eligible} nodes${duration(status)}${but(status)}`,
      };
    case 'PartiallyFailed':
    case 'Failed':
      return { type: 'Warning', reason: 'PrewarmFailed', message: after };
    case 'Cancelled':
      return { type: 'Normal', reason: 'PrewarmCancelled', message: after };
    default:
      return { type: eligible > 0 ? 'Normal' : 'Warning', reason: 'PrewarmPending', message: after };
  }
}

function but(status: PrewarmTaskStatus): string {
  return status.message ? `; ${status.message}` : '';
}

/** The tries that follow may take minutes: why the first was in vain is told at once. */
function firstFailure(before: string | undefined, status: PrewarmTaskStatus): StatusEvent | undefined {
  if (status.phase !== 'Warming' || !status.failures?.length || before) return undefined;
  return { type: 'Warning', reason: 'PrewarmRetrying', message: `${statusText(status)}: ${status.message}` };
}

function duration(status: PrewarmTaskStatus): string {
  const ms = Date.parse(status.finishedAt ?? '') - Date.parse(status.startedAt ?? '');
  return ms >= 0 ? `, after ${(ms / 1000).toFixed(1)} s` : '';
}
