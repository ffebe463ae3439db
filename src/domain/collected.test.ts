import { describe, expect, it } from 'vitest';
import { collectedNodes } from './collected.ts';
import type { CollectedRecord } from './prewarm-task.ts';
import { START, timeAfter } from './task-progress.simulation.ts';

const NOW = Date.parse(START);
const MINUTE = 60_000;
const NODE = 'aaaaaa';

/** Removed and brought back, again and again, each time as soon as the node may be warmed: the waits in minutes. */
function waits(times: number): number[] {
  let [records, nowMs]: [CollectedRecord[], number] = [[], NOW];
  return Array.from({ length: times }, () => {
    const nodes = collectedNodes(records, nowMs);
    nodes.gone(NODE, 0);
    const until = nodes.heldUntil(NODE) ?? nowMs;
    const wait = (until - nowMs) / MINUTE;
    nowMs = until;
    const later = collectedNodes(nodes.records(), nowMs);
    later.back(NODE, () => true);
    records = later.records();
    return wait;
  });
}

describe('a node whose images are collected', () => {
  it('is left alone not at all, for 10 minutes, for 20, and so on, up to four hours', () => {
    const wanted = [0, 10, 20, 40, 80, 160, 240, 240, 240];
    for (const [index, wait] of waits(9).entries()) {
      expect(wait).toBeGreaterThanOrEqual(wanted[index] ?? 0);
      expect(wait).toBeLessThanOrEqual(1.1 * (wanted[index] ?? 0));
    }
  });

  it('counts once for all images that go together, and not again until they are back', () => {
    const nodes = collectedNodes([], NOW);
    expect(nodes.gone(NODE, 1)).toBe(false);
    expect(nodes.gone(NODE, 0)).toBe(false);
    expect(nodes.gone(NODE, 1)).toBe(false);
    nodes.back(NODE, (image) => image === 0);
    expect(nodes.records()).toEqual([{ images: [0, 1], times: 1, retryAt: START, nodes: NODE }]);
    nodes.back(NODE, () => true);
    expect(nodes.gone(NODE, 1)).toBe(true);
    expect(nodes.records()).toEqual([{ images: [1], times: 2, retryAt: timeAfter(600), nodes: NODE }]);
  });

  it('is forgotten once it has kept them for eight hours, to the hour', () => {
    const nodes = collectedNodes([], NOW + MINUTE);
    nodes.gone(NODE, 0);
    nodes.back(NODE, () => true);
    const [record] = nodes.records();
    expect(record).toEqual({ images: [0], times: 1, forgetAt: timeAfter(9 * 3600), nodes: NODE });
    const at = (ms: number) => collectedNodes(record ? [record] : [], ms);
    expect(at(NOW + 9 * 60 * MINUTE - 1).knows(NODE, 0)).toBe(true);
    expect(at(NOW + 9 * 60 * MINUTE).knows(NODE, 0)).toBe(false);
    expect(at(NOW).knows(NODE, 1)).toBe(false);
    expect(at(NOW).heldUntil(NODE)).toBeUndefined();
  });

  it('is forgotten with the node: one made anew under its name has another key', () => {
    const nodes = collectedNodes([], NOW);
    nodes.gone(NODE, 0);
    nodes.gone('bbbbbb', 0);
    expect(nodes.records(new Set(['bbbbbb', 'cccccc']))).toMatchObject([{ nodes: 'bbbbbb' }]);
  });

  it('waits by the unit that is configured', () => {
    const nodes = collectedNodes(
      [{ images: [0], times: 2, forgetAt: timeAfter(60), nodes: NODE }],
      NOW,
      1000,
    );
    expect(nodes.gone(NODE, 0)).toBe(true);
    expect(nodes.heldUntil(NODE)).toBe(NOW + 2000);
  });
});

describe('what is kept of collected images', () => {
  it('is as small for 5,000 nodes whose images go at any time as for a few', () => {
    const keys = Array.from({ length: 5000 }, (_, index) => String(index).padStart(6, '0'));
    let records: CollectedRecord[] = [];
    for (let minute = 0; minute < 500; minute += 1) {
      const nodes = collectedNodes(records, NOW + minute * MINUTE);
      for (const key of keys.filter((_, index) => (index * 7 + minute) % 50 === 0)) {
        if (nodes.heldUntil(key) !== undefined) continue;
        nodes.back(key, () => true);
        nodes.gone(key, 0);
      }
      records = nodes.records();
      expect(JSON.stringify(records).length).toBeLessThan(32_000);
    }
    expect(records.map(({ nodes }) => nodes).join('').length).toBe(3000 * 6);
    expect(Math.min(...records.map(({ times }) => times))).toBeGreaterThan(1);
  });
});
