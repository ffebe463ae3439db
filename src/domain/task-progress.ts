import type { NodeOutcome } from './batch-outcome.ts';
import { type CollectedNodes, collectedNodes } from './collected.ts';
import { atOnce, forEachInParts, type InParts } from './in-parts.ts';
import type { KubernetesNode } from './kubernetes.ts';
import { type Held, noteGone, tellCollected } from './left-alone.ts';
import { keyAt, listKeys, nodeKey, packNodes, unpackNodes } from './node-set.ts';
import type { PullStrategy } from './node-strategy.ts';
import {
  type FailedImage,
  MAX_FAILURES,
  type OpenBatch,
  type PrewarmTask,
  type PrewarmTaskStatus,
} from './prewarm-task.ts';
import {
  batchSize,
  type PullWidth,
  type WidthChange,
  widthAfter,
  widthOfNewRound,
  withoutCrowd,
} from './pull-width.ts';
import { wantsSince } from './rank.ts';
import { progressMessage } from './status-text.ts';
import { endTry, hasFailed, startRetry, timestamp } from './task-tries.ts';
import { type WarmNodes, warmNodes } from './warm-nodes.ts';

/** What is known of one node and one image, from the node's status. */
export type PresenceOf = (node: KubernetesNode, image: string) => 'present' | 'absent' | 'unknown';

export type ProgressInput = {
  task: PrewarmTask;
  /** Nodes that match, are ready and can pull; already limited to `maxNodes`. */
  eligible: KubernetesNode[];
  /** The keys of all nodes there are; what was warmed on others is forgotten. */
  known?: ReadonlySet<string>;
  /** Why no node is eligible, where none is. */
  nothingEligible: string | undefined;
  /** Nodes that are not well now, with the reason. */
  leftOut?: ReadonlyMap<string, string>;
  presence: PresenceOf;
  /** Whether a node listed an image before, and no more. */
  lost?: (node: KubernetesNode, image: string) => boolean;
  /** How long a node is left alone whose image was removed a second time; see collected.ts. */
  collectedUnitMs?: number;
  /** For each open batch, by Job name, what became of its nodes. */
  outcomes: Map<string, NodeOutcome[]>;
  nowMs: number;
};

export type Progress = {
  status: PrewarmTaskStatus;
  /** Nodes to warm next: not warm, not being warmed, not failed in this try. */
  cold: KubernetesNode[];
  /** Batches that ended: no longer in the status, their Jobs can go. */
  closed: { batch: OpenBatch; outcomes: NodeOutcome[] }[];
  /** Running warmers over all open batches: the pull tokens that the task needs. */
  running: number;
  /** Images, by index, that no node can pull for now. */
  left: Set<number>;
  leftOut: ReadonlyMap<string, string>;
  /** How many nodes were found to have lost an image now, and are left alone for a while. */
  backedOff: number;
  /** How many nodes may pull at the same time, see pull-width.ts. */
  width: number;
  widthChanges: WidthChange[];
  /** The next batch may have this many nodes; see `probeLimit`. */
  atMost: number;
};

/** Where a task stands, from everything that can be seen. Pure: the same input gives the same answer. */
export function taskProgress(input: ProgressInput): Progress {
  return atOnce(taskProgressInParts(input));
}

export function* taskProgressInParts(input: ProgressInput): InParts<Progress> {
  const status = startRetry(input);
  const warm = warmNodes(input.task.spec, status.warmed ?? [], input.presence);
  const closed = closeBatches(input, status, warm);
  const { width, changes: widthChanges } = widthAfter(input.task, closed, input.nowMs);
  recordWidth(status, width, closed.length > 0, input.nowMs);
  const left = indexesOf(input.task, status);
  const collected = collectedNodes(status.collected ?? [], input.nowMs, input.collectedUnitMs);
  yield;
  const states = yield* nodeStates(input, status, { warm, collected }, left);
  yield;
  tellCollected(input, status, states.held);

  const busy = states.cold.length > 0 || (status.batches ?? []).length > 0;
  status.nodes = {
    eligible: input.eligible.length,
    warm: states.warm,
    warming: states.running,
    failed: states.failed + states.held.length,
  };
  status.progress = `${states.warm}/${input.eligible.length}`;
  const wants = wantsSince(input.task, busy, input.nowMs);
  if (wants) status.wantsSince = wants;
  else delete status.wantsSince;
  if (!busy) endTry(input, status, states, warm);
  else if (status.phase !== 'Warming') status.phase = 'Pending';
  if (status.phase === 'Warm' || input.eligible.length === 0) delete status.coldSince;
  else status.coldSince ??= timestamp(input.nowMs);
  status.warmed = warm.records(input.known);
  status.collected = collected.records(input.known);
  status.observedGeneration = input.task.metadata.generation ?? 0;
  const { leftOut = new Map() } = input;
  status.message = progressMessage(status, input.nothingEligible, leftOut);
  // A new round is about to open, should a batch be cut.
  const next = status.phase === 'Warming' ? width.width : widthOfNewRound(input.task, width.width);
  return {
    ...{ status: withoutEmpty(status), cold: states.cold, closed, running: states.running },
    ...{ backedOff: states.backedOff, left, leftOut, width: next, widthChanges },
    atMost: probeLimit(status, input.nowMs),
  };
}

function recordWidth(
  status: PrewarmTaskStatus,
  { width, reason, pressure }: PullWidth,
  ended: boolean,
  nowMs: number,
): void {
  if (status.width === undefined && !ended) return;
  Object.assign(status, { width, widthReason: reason, pressure });
  if (ended && pressure?.pauseSeconds) status.pauseUntil = timestamp(nowMs + pressure.pauseSeconds * 1000);
}

/** A registry says within seconds that it has no such image; after this the node is slow, or has much to pull. */
const PROBE_MS = 60_000;

/** One node asks whether it was mended; the others follow when it has its answer. */
function probeLimit(status: PrewarmTaskStatus, nowMs: number): number {
  if (!status.waits || status.failedImages?.length) return Number.POSITIVE_INFINITY;
  if (status.phase !== 'Warming') return 1;
  const [probe] = status.batch === 1 ? (status.batches ?? []) : [];
  return probe && nowMs - Date.parse(probe.startedAt) < PROBE_MS ? 0 : Number.POSITIVE_INFINITY;
}

/** How many nodes the next batch takes, as far as the task alone decides; 0: none now. */
export function wantedNodes({ cold, running, width, atMost, status }: Progress, nowMs: number): number {
  if (Date.parse(status.pauseUntil ?? '') > nowMs) return 0;
  const batches = status.batches ?? [];
  return Math.min(batchSize(width, { cold: cold.length, running, batches, nowMs }), atMost);
}

/**
 * Adds a batch for the first `count` cold nodes of one strategy to the status; every image that one of them misses, for
 * all of them. Nodes of another strategy are left to the next batch.
 */
export function planBatch(
  task: PrewarmTask,
  progress: Progress,
  options: {
    count: number;
    strategyOf: (node: KubernetesNode) => PullStrategy;
    presence: PresenceOf;
    nowMs: number;
    nameOf: (round: number, batch: number, attempt: number) => string;
  },
): OpenBatch {
  const { status, left, cold } = progress;
  openRound(status, options.nowMs);
  const strategy = cold[0] ? options.strategyOf(cold[0]) : 'image-volume';
  const nodes = cold.filter((node) => options.strategyOf(node) === strategy).slice(0, options.count);
  const warm = warmNodes(task.spec, status.warmed ?? [], options.presence);
  const images = task.spec.images.flatMap((_, index) =>
    left.has(index) || nodes.every((n) => warm.has(n, index)) ? [] : index,
  );
  const [round, number, attempt] = [status.round ?? 1, (status.batch ?? 0) + 1, status.attempt ?? 0];
  const batch: OpenBatch = {
    jobName: options.nameOf(round, number, attempt),
    ...{ round, batch: number, attempt, strategy, images },
    nodes: nodes.map((node) => node.metadata.name ?? ''),
    keys: listKeys(nodes),
    startedAt: timestamp(options.nowMs),
  };
  status.batch = number;
  delete status.pauseUntil;
  // Only a round that begins is wider than what the last batch left.
  if (status.width !== undefined && status.width !== progress.width)
    status.widthReason = `a new round begins with ${progress.width}`;
  status.width = progress.width;
  status.batches = [...(status.batches ?? []), batch];
  if (status.nodes) status.nodes.warming += nodes.length;
  const message = progressMessage(status, undefined, progress.leftOut);
  if (message) status.message = message;
  else delete status.message;
  return batch;
}

/** Of a task that does nothing more: it waits for nothing, and wants nothing. */
export function cancelledStatus(status: PrewarmTaskStatus = {}, nowMs: number): PrewarmTaskStatus {
  const { batches: _, retryAt: __, coldSince: ___, wantsSince: ____, pauseUntil: _____, ...rest } = status;
  return { ...rest, phase: 'Cancelled', finishedAt: timestamp(nowMs) };
}

function closeBatches(input: ProgressInput, status: PrewarmTaskStatus, warm: WarmNodes): Progress['closed'] {
  const ended = (batch: OpenBatch): boolean => {
    const outcomes = input.outcomes.get(batch.jobName) ?? [];
    return outcomes.length === batch.nodes.length && outcomes.every((outcome) => outcome.state === 'ended');
  };
  const open = status.batches ?? [];
  const closed = open
    .filter(ended)
    .map((batch) => ({ batch, outcomes: input.outcomes.get(batch.jobName) ?? [] }));
  status.batches = open.filter((batch) => !ended(batch));
  if (closed.length === 0) return closed;
  const eligible = new Set(input.eligible.map(nodeKey));
  const failed = unpackNodes(status.failedNodes);
  for (const { batch, outcomes } of closed) {
    for (const [index, outcome] of withoutCrowd(outcomes).entries()) {
      if (outcome.state !== 'ended') continue;
      const name = batch.nodes[index] ?? '';
      noteFailures(status, name, outcome.failures, input.nowMs);
      noteOutcome({ input, status, warm, eligible, failed }, keyAt(batch.keys, index), outcome);
    }
  }
  status.failedNodes = packNodes(failed);
  return closed;
}

type Ended = Extract<NodeOutcome, { state: 'ended' }>;
type Account = {
  input: ProgressInput;
  status: PrewarmTaskStatus;
  warm: WarmNodes;
  eligible: ReadonlySet<string>;
  failed: Set<string>;
};

/** By the node's key: one made anew under its name is another. What arrived on one that is cordoned now is there still. */
function noteOutcome({ input, status, warm, eligible, failed }: Account, key: string, outcome: Ended): void {
  if (eligible.has(key) && outcome.failures.some((failure) => !failure.hopeless)) failed.add(key);
  if (outcome.warm.length === 0 || !(eligible.has(key) || input.known?.has(key))) return;
  warm.add(key, outcome.warm, timestamp(input.nowMs));
  status.lastWarmedAt = timestamp(input.nowMs);
}

function noteFailures(
  status: PrewarmTaskStatus,
  node: string,
  failures: Ended['failures'],
  nowMs: number,
): void {
  for (const { image, reason, message, hopeless } of failures) {
    status.failureCount = (status.failureCount ?? 0) + 1;
    status.failures ??= [];
    if (status.failures.length < MAX_FAILURES)
      status.failures.push({ node, image, reason, message, time: timestamp(nowMs) });
    if (hopeless) noteFailedImage(status, { image, reason, message, nodes: 1 });
  }
}

function noteFailedImage(status: PrewarmTaskStatus, failed: FailedImage): void {
  status.failedImages ??= [];
  const known = status.failedImages.find((each) => each.image === failed.image);
  if (known) known.nodes += 1;
  else status.failedImages.push(failed);
}

export type States = {
  warm: number;
  running: number;
  failed: number;
  cold: KubernetesNode[];
  /** Left alone for a while, because what was brought to them was removed. */
  held: Held[];
  backedOff: number;
  retryable: boolean;
};

function* nodeStates(
  input: ProgressInput,
  status: PrewarmTaskStatus,
  { warm, collected }: { warm: WarmNodes; collected: CollectedNodes },
  left: Set<number>,
): InParts<States> {
  const seats = seatsOf(input, status);
  const failed = unpackNodes(status.failedNodes);
  const spent = unpackNodes(status.spentNodes);
  const running = [...seats.values()].filter((seat) => !seat.ended).length;
  const states: States = { warm: 0, running, failed: 0, cold: [], held: [], backedOff: 0, retryable: false };
  yield* forEachInParts(input.eligible, (node) => {
    const seat = seats.get(node.metadata.name ?? '');
    if (seat && !seat.ended) return;
    const key = nodeKey(node);
    const arrived = seat?.key === key ? seat.ended?.warm : undefined;
    const isThere = (index: number) => warm.has(node, index) || (arrived?.includes(index) ?? false);
    const { missing, wanted } = missingOf(input.task, isThere, left);
    collected.back(key, isThere);
    if (missing > 0 && !seat) states.backedOff += noteGone(input, { warm, collected }, node, isThere);
    const untilMs = collected.heldUntil(key);
    if (untilMs !== undefined && missing > 0) {
      const indexes = input.task.spec.images.flatMap((_, index) => (isThere(index) ? [] : index));
      states.held.push({ name: node.metadata.name ?? '', missing: indexes, untilMs });
      return;
    }
    count(states, {
      node,
      missing,
      wanted,
      open: seat !== undefined,
      failed: failed.has(key),
      spent: spent.has(key),
    });
  });
  return states;
}

type Node = {
  node: KubernetesNode;
  missing: number;
  wanted: number;
  open: boolean;
  failed: boolean;
  spent: boolean;
};

function count(states: States, { node, missing, wanted, open, failed, spent }: Node): void {
  if (missing === 0) states.warm += 1;
  else if (wanted > 0 && !failed && !open) states.cold.push(node);
  else states.failed += 1;
  if (wanted > 0 && failed && !spent) states.retryable = true;
}

/** Counted, not listed: nodes come by the thousand. */
function missingOf(
  { spec: { images } }: PrewarmTask,
  isThere: (index: number) => boolean | undefined,
  left: ReadonlySet<number>,
): { missing: number; wanted: number } {
  let [missing, wanted] = [0, 0];
  for (let index = 0; index < images.length; index += 1) {
    if (isThere(index)) continue;
    missing += 1;
    if (!left.has(index)) wanted += 1;
  }
  return { missing, wanted };
}

/** A node's place in an open batch. `ended` is what became of it; without it, its warmer is running. */
type Seat = { key: string; ended: Ended | undefined };

function seatsOf(input: ProgressInput, status: PrewarmTaskStatus): Map<string, Seat> {
  const seats = new Map<string, Seat>();
  for (const batch of status.batches ?? []) {
    const outcomes = input.outcomes.get(batch.jobName) ?? [];
    for (const [index, name] of batch.nodes.entries()) {
      const outcome = outcomes[index];
      seats.set(name, {
        key: keyAt(batch.keys, index),
        ended: outcome?.state === 'ended' ? outcome : undefined,
      });
    }
  }
  return seats;
}

function openRound(status: PrewarmTaskStatus, nowMs: number): void {
  if (status.phase === 'Warming') return;
  status.phase = 'Warming';
  status.round = (status.round ?? 0) + 1;
  status.batch = 0;
  status.startedAt = timestamp(nowMs);
  if (!hasFailed(status)) delete status.finishedAt;
}

function indexesOf(task: PrewarmTask, status: PrewarmTaskStatus): Set<number> {
  const failed = new Set((status.failedImages ?? []).map((each) => each.image));
  return new Set(task.spec.images.flatMap((each, index) => (failed.has(each.image) ? index : [])));
}

function withoutEmpty(status: PrewarmTaskStatus): PrewarmTaskStatus {
  const entries = Object.entries(status).filter(([, value]) => {
    if (Array.isArray(value)) return value.length > 0;
    return value !== undefined && value !== '';
  });
  return Object.fromEntries(entries) as PrewarmTaskStatus;
}
