import { packNodes, unpackNodes } from './node-set.ts';
import type { CollectedRecord } from './prewarm-task.ts';

/**
 * Nodes whose kubelet removed what a task had brought (image garbage collection: the disk is full of what is used
 * more). Warming such a node at once, each time, would be a tug of war: one removes, one pulls, for ever. The first time
 * it is warmed again at once, then after `unitMs`, twice that, and so on.
 */
export type CollectedNodes = {
  /** Whether the image was collected on the node before, and so has been there. */
  knows(key: string, image: number): boolean;
  /** An image that was on the node is gone. True when the node is one time further for it, and waits. */
  gone(key: string, image: number): boolean;
  /** What was collected is there again, as far as the node is known here. */
  back(key: string, isThere: (image: number) => boolean): void;
  /** Until when the node is left alone. */
  heldUntil(key: string): number | undefined;
  /** What to keep in the task's status: of these nodes, where they are given. */
  records(known?: ReadonlySet<string>): CollectedRecord[];
};

/** Where nothing else is configured. */
export const COLLECTED_UNIT_MS = 600_000;
/** 0, 1, 2, 4, 8, 16 and then always 24 times the unit: four hours. */
const MOST_UNITS = 24;
/** A node that kept its images for twice that has won. */
const FORGET_UNITS = 2 * MOST_UNITS;
/** Nodes that wait alike share a record, so times are rounded up: by a tenth of a wait, and by an hour to forget. */
const WAIT_STEPS = 10;
const FORGET_STEP_UNITS = 6;
/** Together at most 30 kB. Where there are more, the cluster is too small for its images, and says so often enough. */
const MAX_RECORDS = 100;
const MAX_NODES = 3_000;

type Entry = { images: Set<number>; times: number; untilMs: number; isBack: boolean };

export function collectedNodes(
  records: readonly CollectedRecord[],
  nowMs: number,
  unitMs: number = COLLECTED_UNIT_MS,
): CollectedNodes {
  const entries = new Map<string, Entry>();
  for (const { images, times, retryAt, forgetAt, nodes } of records) {
    const untilMs = Date.parse(retryAt ?? forgetAt ?? '');
    const isBack = retryAt === undefined;
    if (isBack && !(untilMs > nowMs)) continue;
    for (const key of unpackNodes(nodes))
      entries.set(key, { images: new Set(images), times, untilMs, isBack });
  }
  return {
    knows: (key, image) => entries.get(key)?.images.has(image) ?? false,
    gone(key, image) {
      const entry = entries.get(key);
      if (entry && !entry.isBack) {
        entry.images.add(image);
        return false;
      }
      const times = (entry?.times ?? 0) + 1;
      const delayMs = delayUnits(times) * unitMs;
      const untilMs = roundUp(nowMs + delayMs, delayMs / WAIT_STEPS);
      entries.set(key, { images: new Set([image]), times, untilMs, isBack: false });
      return delayMs > 0;
    },
    back(key, isThere) {
      const entry = entries.get(key);
      if (!entry || entry.isBack || ![...entry.images].every(isThere)) return;
      entry.isBack = true;
      entry.untilMs = roundUp(nowMs + FORGET_UNITS * unitMs, FORGET_STEP_UNITS * unitMs);
    },
    heldUntil(key) {
      const entry = entries.get(key);
      return entry && !entry.isBack && entry.untilMs > nowMs ? entry.untilMs : undefined;
    },
    records: (known) => pack([...entries].filter(([key]) => !known || known.has(key))),
  };
}

function delayUnits(times: number): number {
  return times === 1 ? 0 : Math.min(2 ** (times - 2), MOST_UNITS);
}

function roundUp(ms: number, stepMs: number): number {
  return stepMs > 0 ? Math.ceil(ms / stepMs) * stepMs : ms;
}

/** Where not all can be kept, those that were collected most often are. */
function pack(entries: [string, Entry][]): CollectedRecord[] {
  const groups = new Map<string, { entry: Entry; nodes: string[] }>();
  const kept = entries.sort(([, a], [, b]) => b.times - a.times).slice(0, MAX_NODES);
  for (const [key, entry] of kept) {
    const alike = [[...entry.images].sort((a, b) => a - b), entry.times, entry.isBack, entry.untilMs].join();
    const group = groups.get(alike) ?? { entry, nodes: [] };
    group.nodes.push(key);
    groups.set(alike, group);
  }
  return [...groups.values()]
    .slice(0, MAX_RECORDS)
    .map(({ entry: { images, times, isBack, untilMs }, nodes }) => ({
      ...{ images: [...images].sort((a, b) => a - b), times },
      ...(isBack ? { forgetAt: timestamp(untilMs) } : { retryAt: timestamp(untilMs) }),
      nodes: packNodes(nodes),
    }));
}

function timestamp(ms: number): string {
  return new Date(ms).toISOString();
}
