import type { NodeOutcome } from './batch-outcome.ts';
import { MAX_BATCH, type OpenBatch, type Pressure, type PrewarmTask } from './prewarm-task.ts';
import { reasonKind } from './pull-failure.ts';

/**
 * The width of a task: how many of its nodes may pull at the same time. It starts small, so that a misspelt image or a
 * weak registry meets five nodes and not fifty, and changes only from batch to batch, as TCP's window does: every node
 * that was warmed adds one, so that a full batch doubles it, and back-pressure narrows it. After that it is held for a
 * while, and then grows by one a batch. Where one node alone is too many for a
 * registry with a limit, there is a pause between batches.
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
export function currentWidth(task: PrewarmTask): PullWidth {
  const { width, widthReason: reason, pressure, observedGeneration } = task.status ?? {};
  const decided = task.spec.concurrentPulls !== undefined && observedGeneration !== task.metadata.generation;
  return width === undefined || decided
    ? { width: start(task) }
    : { width: Math.min(width, cap(task)), reason, pressure };
}

/** A round begins after a rest: what made the last one narrow may have passed. */
export function widthOfNewRound(task: PrewarmTask, width: number): number {
  return Math.max(width, start(task));
}

export type PullWidth = {
  width: number;
  /** Why it is what it is, in words. */
  reason?: string | undefined;
  /** The last back-pressure. */
  pressure?: Pressure | undefined;
};

/** For so long after back-pressure the width is held; and after such a time that is forgotten. */
const HOLD_MS = 30_000;
const FORGET_MS = 600_000;

/** One that is worth a count: what the width did, and why. */
export type WidthChange = { direction: 'wider' | 'narrower'; reason: string };

/** After these batches have ended, one after another. */
export function widthAfter(
  task: PrewarmTask,
  closed: readonly { outcomes: readonly NodeOutcome[] }[],
  nowMs: number,
): { width: PullWidth; changes: WidthChange[] } {
  const changes: WidthChange[] = [];
  let width = currentWidth(task);
  for (const { outcomes } of closed) {
    const next = nextWidth(task, width, outcomes, nowMs);
    if (next.width > width.width) changes.push({ direction: 'wider', reason: 'warmed' });
    else if (next.pressure?.time !== width.pressure?.time)
      changes.push({ direction: 'narrower', reason: next.pressure?.reason ?? '' });
    width = next;
  }
  return { width, changes };
}

/** After a batch has ended. */
export function nextWidth(
  task: PrewarmTask,
  before: PullWidth,
  outcomes: readonly NodeOutcome[],
  nowMs: number,
): PullWidth {
  const ended = outcomes.filter((outcome): outcome is Ended => outcome.state === 'ended');
  const warmed = ended.filter(({ failures }) => failures.length === 0).length;
  const pressed = ended.flatMap(({ failures }) => failures.find((each) => isBackPressure(each.reason)) ?? []);
  const limited = pressed.filter(({ reason }) => reason === RATE_LIMITED).length;
  // One node that cannot reach the registry is a sick node, many are a sick registry. A rate limit is one for all.
  if (limited > 0 || pressed.length > warmed) {
    const half = Math.floor(before.width / 2);
    // Of those that asked a registry with a limit at the same time, it bore so many.
    const width = Math.max(1, limited > 0 ? Math.min(half, warmed) : half);
    const reason = limited > 0 ? RATE_LIMITED : reasonKind(pressed[0]?.reason ?? '');
    const pressure = {
      width: ended.length,
      reason,
      time: new Date(nowMs).toISOString(),
      ...pauseOf(before, limited),
    };
    return { width, pressure, reason: told(before.width, width, reason, [pressed.length, ended.length]) };
  }
  if (before.pressure?.pauseSeconds) return warmed > 0 ? eased(before, before.pressure, nowMs) : before;
  const width = pressed.length > 0 ? before.width : wider(task, before, warmed, nowMs);
  if (width === before.width) return before;
  return { ...before, width, reason: told(before.width, width, 'warmed', [warmed, ended.length]) };
}

const MAX_PAUSE_SECONDS = 60;

/** One, two, four seconds, where there is nothing left to narrow. */
function pauseOf({ width, pressure }: PullWidth, limited: number): { pauseSeconds?: number } {
  if (width > 1 || limited === 0) return {};
  return { pauseSeconds: Math.min(MAX_PAUSE_SECONDS, Math.max(1, 2 * (pressure?.pauseSeconds ?? 0))) };
}

/** What the registry bears with pauses, it may bear with shorter ones after a while. */
function eased(before: PullWidth, { pauseSeconds = 0, ...pressure }: Pressure, nowMs: number): PullWidth {
  if (nowMs - Date.parse(pressure.time) < HOLD_MS) return before;
  const shorter = Math.floor(pauseSeconds / 2);
  return { ...before, pressure: { ...pressure, ...(shorter > 0 ? { pauseSeconds: shorter } : {}) } };
}

function wider(task: PrewarmTask, { width, pressure }: PullWidth, warmed: number, nowMs: number): number {
  const ageMs = pressure ? nowMs - Date.parse(pressure.time) : Number.POSITIVE_INFINITY;
  if (ageMs < HOLD_MS) return width;
  return Math.min(cap(task), width + (ageMs < FORGET_MS ? Math.min(1, warmed) : warmed));
}

function told(from: number, to: number, reason: string, [nodes, all]: [number, number]): string {
  const change =
    to === from ? `kept at ${to}` : `${to > from ? 'widened' : 'narrowed'} from ${from} to ${to}`;
  return `${change}: ${reason} on ${nodes} of ${all} nodes`;
}

/** The reasons are those of pull-failure.ts and batch-outcome.ts. */
const RATE_LIMITED = 'rate limited';
const BACK_PRESSURE = [RATE_LIMITED, 'registry unreachable', 'timed out'];
/** A quota on pods, most of the time: fewer at once may fit. */
const REFUSED = 'no warmer';
const PRESSURES: readonly string[] = [...BACK_PRESSURE, REFUSED];

/** The changes that a metric should have at 0 before the first of them is counted. */
export const USUAL_CHANGES: readonly WidthChange[] = [
  { direction: 'wider', reason: 'warmed' },
  ...PRESSURES.map((reason): WidthChange => ({ direction: 'narrower', reason })),
];

function isBackPressure(reason: string): boolean {
  return PRESSURES.includes(reasonKind(reason));
}

/**
 * Where others of its batch got through, a node that a registry's limit refused was one too many, and has not failed: it
 * is cold still, and part of a narrower batch. This ends: each such batch warmed a node at least.
 */
export function withoutCrowd(outcomes: readonly NodeOutcome[]): readonly NodeOutcome[] {
  if (!outcomes.some((outcome) => outcome.state === 'ended' && outcome.failures.length === 0))
    return outcomes;
  return outcomes.map((outcome) =>
    outcome.state === 'ended'
      ? { ...outcome, failures: outcome.failures.filter(({ reason }) => reason !== RATE_LIMITED) }
      : outcome,
  );
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
