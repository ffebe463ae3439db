import type { NodeOutcome } from './batch-outcome.ts';
import { MAX_BATCH, type OpenBatch, type PrewarmTask } from './prewarm-task.ts';

/**
 * The width of a task: how many of its nodes may pull at the same time. It starts small, so that a misspelt image or a
 * weak registry meets five nodes and not fifty, and changes only from batch to batch, as TCP's window does: every node
 * that was warmed adds one, so that a full batch doubles it, and back-pressure halves it.
 */
export const START_WIDTH = 5;

type Ended = Extract<NodeOutcome, { state: 'ended' }>;

function cap({ spec }: PrewarmTask): number {
  return Math.min(spec.concurrentPulls ?? MAX_BATCH, MAX_BATCH);
}

/** Where a round starts that knows nothing of the ones before. Who sets `concurrentPulls` has decided: no ramp. */
function start(task: PrewarmTask): number {
  return Math.min(task.spec.concurrentPulls ?? START_WIDTH, MAX_BATCH);
}

/** What the registry bore in the last round, it bears in this one; a changed spec may set another width. */
export function currentWidth(task: PrewarmTask): number {
  const { width, observedGeneration } = task.status ?? {};
  const decided = task.spec.concurrentPulls !== undefined && observedGeneration !== task.metadata.generation;
  return width === undefined || decided ? start(task) : Math.min(width, cap(task));
}

/** A round begins after a rest: what made the last one narrow may have passed. */
export function widthOfNewRound(task: PrewarmTask, width: number): number {
  return Math.max(width, start(task));
}

/** After a batch has ended. */
export function nextWidth(task: PrewarmTask, width: number, outcomes: readonly NodeOutcome[]): number {
  const ended = outcomes.filter((outcome): outcome is Ended => outcome.state === 'ended');
  const reasons = ended.map(({ failures }) => failures.map(({ reason }) => reason));
  const warmed = reasons.filter((each) => each.length === 0).length;
  const pressed = reasons.filter((each) => each.some(isBackPressure)).length;
  // One node that cannot reach the registry is a sick node, many are a sick registry. A rate limit is one for all.
  if (pressed > warmed || reasons.flat().includes(RATE_LIMITED)) return Math.max(1, Math.floor(width / 2));
  return pressed > 0 ? width : Math.min(cap(task), width + warmed);
}

/** The reasons are those of pull-failure.ts and batch-outcome.ts. */
const RATE_LIMITED = 'rate limited';
const BACK_PRESSURE = [RATE_LIMITED, 'registry unreachable', 'timed out'];
/** A quota on pods, most of the time: fewer at once may fit. */
const REFUSED = 'no warmer: ';

function isBackPressure(reason: string): boolean {
  return BACK_PRESSURE.includes(reason) || reason.startsWith(REFUSED);
}

/** How long a full batch of nodes that pull at once keeps the Job controller busy, with its 20 requests a second. */
const PATIENCE_MS = 10_000;

/**
 * How many nodes the next batch takes; 0: not yet. Each Job costs some thirty requests beside those of its pods, so a
 * batch is as large as the width. Where pulls take longer than that saves, half of it is enough: a slow node must not
 * hold up the others.
 */
export function batchSize(
  width: number,
  state: { cold: number; running: number; batches: readonly OpenBatch[]; nowMs: number },
): number {
  const size = Math.min(width - state.running, state.cold);
  const youngestMs = Math.max(...state.batches.map((batch) => Date.parse(batch.startedAt)));
  const share = state.nowMs - youngestMs > PATIENCE_MS ? 2 : 1;
  return size >= Math.min(state.cold, Math.ceil(width / share)) ? Math.max(0, size) : 0;
}
