import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NodeOutcome } from './batch-outcome.ts';
import type { OpenBatch, PrewarmTask } from './prewarm-task.ts';
import {
  batchSize,
  currentWidth,
  nextWidth,
  type PullWidth,
  widthAfter,
  widthOfNewRound,
} from './pull-width.ts';

type Given = { concurrentPulls?: number; width?: number; generation?: number; observed?: number };

function task({ concurrentPulls, width, generation = 1, observed = 1 }: Given): PrewarmTask {
  return {
    metadata: { generation },
    spec: { images: [], ...(concurrentPulls ? { concurrentPulls } : {}) },
    status: { observedGeneration: observed, ...(width ? { width } : {}) },
  };
}

const warm: NodeOutcome = { state: 'ended', warm: [0], failures: [] };

function failed(reason: string): NodeOutcome {
  const failure = { image: 'app:1', reason, message: '', hopeless: reason === 'not found' };
  return { state: 'ended', warm: [], failures: [failure] };
}

const NOW = Date.parse('2026-01-01T00:00:00Z');

function times<T>(count: number, value: T): T[] {
  return Array<T>(count).fill(value);
}

describe('the width that a task has', () => {
  it.each<{ name: string; given: Given; width: number }>([
    { name: 'is five at first', given: {}, width: 5 },
    { name: 'is what is in the status', given: { width: 20 }, width: 20 },
    { name: 'is at once what its user set', given: { concurrentPulls: 50 }, width: 50 },
    { name: 'is no more than its user set', given: { concurrentPulls: 2 }, width: 2 },
    {
      name: 'is lower than its user set after back-pressure',
      given: { concurrentPulls: 50, width: 12 },
      width: 12,
    },
    { name: 'is never more than a batch may hold', given: { concurrentPulls: 500 }, width: 50 },
    {
      name: 'is at once what its user sets anew',
      given: { concurrentPulls: 40, width: 5, generation: 2 },
      width: 40,
    },
    { name: 'stays when something else was set anew', given: { width: 20, generation: 2 }, width: 20 },
    {
      name: 'is cut to what its user set anew',
      given: { concurrentPulls: 3, width: 50, generation: 2 },
      width: 3,
    },
  ])('$name', ({ given, width }) => {
    expect(currentWidth(task(given)).width).toBe(width);
  });

  it.each<{ name: string; given: Given; before: number; after: number }>([
    { name: 'is remembered', given: {}, before: 40, after: 40 },
    { name: 'is five again where it had sunk below', given: {}, before: 1, after: 5 },
    { name: 'is again what its user set', given: { concurrentPulls: 30 }, before: 7, after: 30 },
    { name: 'stays below five where its user set that', given: { concurrentPulls: 2 }, before: 1, after: 2 },
  ])('$name in a new round', ({ given, before, after }) => {
    expect(widthOfNewRound(task(given), before)).toBe(after);
  });
});

describe('after a batch, the width', () => {
  it.each<{ name: string; given?: Given; width: number; outcomes: NodeOutcome[]; after: number }>([
    { name: 'doubles when all of a full batch are warm', width: 5, outcomes: times(5, warm), after: 10 },
    { name: 'grows by as many as are warm', width: 20, outcomes: times(3, warm), after: 23 },
    { name: 'grows to fifty', width: 40, outcomes: times(40, warm), after: 50 },
    {
      name: 'grows no further than its user set',
      given: { concurrentPulls: 8 },
      width: 6,
      outcomes: times(6, warm),
      after: 8,
    },
    {
      name: 'halves when one node is rate limited',
      width: 40,
      outcomes: [...times(39, warm), failed('rate limited')],
      after: 20,
    },
    {
      name: 'halves when most nodes cannot reach the registry',
      width: 10,
      outcomes: [...times(4, warm), ...times(6, failed('registry unreachable'))],
      after: 5,
    },
    {
      name: 'stays when few nodes cannot reach the registry',
      width: 10,
      outcomes: [...times(9, warm), failed('registry unreachable')],
      after: 10,
    },
    { name: 'halves when all timed out', width: 5, outcomes: times(5, failed('timed out')), after: 2 },
    {
      name: 'halves when a quota lets few pods be made',
      width: 50,
      outcomes: [...times(10, warm), ...times(40, failed('no warmer: exceeded quota'))],
      after: 25,
    },
    { name: 'is never less than one', width: 1, outcomes: [failed('rate limited')], after: 1 },
    {
      name: 'stays when the image does not exist',
      width: 5,
      outcomes: times(5, failed('not found')),
      after: 5,
    },
    {
      name: 'takes a node that went away for neither',
      width: 5,
      outcomes: [...times(4, warm), failed('node gone')],
      after: 9,
    },
    {
      name: 'halves below what its user set',
      given: { concurrentPulls: 50 },
      width: 50,
      outcomes: times(50, failed('registry unreachable')),
      after: 25,
    },
  ])('$name', ({ given = {}, width, outcomes, after }) => {
    expect(nextWidth(task(given), { width }, outcomes, NOW).width).toBe(after);
  });

  it('is always a number of nodes that its user allows, at most twice what it was', () => {
    const outcome = fc.constantFrom<NodeOutcome>(
      warm,
      ...['rate limited', 'timed out', 'not found', 'node gone'].map(failed),
    );
    const set = fc.option(fc.integer({ min: 1, max: 50 }), { nil: 0 });
    fc.assert(
      fc.property(set, fc.array(fc.array(outcome, { maxLength: 50 })), (concurrentPulls, batches) => {
        const given = task({ concurrentPulls });
        let width = currentWidth(given);
        let nowMs = NOW;
        for (const outcomes of batches) {
          const after = nextWidth(given, width, outcomes.slice(0, width.width), nowMs);
          expect(Number.isInteger(after.width)).toBe(true);
          expect(after.width).toBeGreaterThanOrEqual(1);
          expect(after.width).toBeLessThanOrEqual(Math.min(concurrentPulls || 50, width.width * 2));
          if (after.width < width.width) expect(after.reason).toMatch(/^narrowed from /);
          if (after.width > width.width) expect(after.reason).toMatch(/^widened from /);
          nowMs += 5000;
          width = after;
        }
      }),
    );
  });
});

describe('a width that met back-pressure', () => {
  const SECONDS = 1000;
  const pressed = nextWidth(
    task({}),
    { width: 10 },
    [...times(6, warm), ...times(4, failed('rate limited'))],
    NOW,
  );

  it('is as many as a registry with a limit bore, at most half, and says why', () => {
    expect(pressed).toEqual({
      width: 5,
      reason: 'narrowed from 10 to 5: rate limited on 4 of 10 nodes',
      pressure: { width: 10, reason: 'rate limited', time: '2026-01-01T00:00:00.000Z' },
    });
    const few = [...times(2, warm), ...times(8, failed('rate limited'))];
    expect(nextWidth(task({}), { width: 10 }, few, NOW).width).toBe(2);
    const none = times(10, failed('rate limited'));
    expect(nextWidth(task({}), { width: 10 }, none, NOW).width).toBe(1);
  });

  it('is held for half a minute, grows by one a batch for ten, and then as at first', () => {
    const grow = (from: PullWidth, seconds: number) =>
      nextWidth(task({}), from, times(from.width, warm), NOW + seconds * SECONDS);
    expect(grow(pressed, 29)).toEqual(pressed);
    expect(grow(pressed, 30)).toEqual({
      ...pressed,
      width: 6,
      reason: 'widened from 5 to 6: warmed on 5 of 5 nodes',
    });
    expect(grow({ ...pressed, width: 20 }, 599).width).toBe(21);
    expect(grow({ ...pressed, width: 20 }, 600).width).toBe(40);
  });

  it('of one node, refused again and again, pauses for twice as long each time, at most a minute', () => {
    let width: PullWidth = { width: 1 };
    const pauses = times(8, 0).map(() => {
      width = nextWidth(task({}), width, [failed('rate limited')], NOW);
      return width.pressure?.pauseSeconds;
    });
    expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
  });

  it('is counted once a change, with what it was for', () => {
    const closed = [times(5, warm), times(5, failed('timed out')), times(1, failed('not found'))];
    const { width, changes } = widthAfter(
      task({}),
      closed.map((outcomes) => ({ outcomes })),
      NOW,
    );
    expect(changes).toEqual([
      { direction: 'wider', reason: 'warmed' },
      { direction: 'narrower', reason: 'timed out' },
    ]);
    expect(width).toMatchObject({ width: 5, reason: 'narrowed from 10 to 5: timed out on 5 of 5 nodes' });
    const again = widthAfter(task({ width: 1 }), [{ outcomes: [failed('no warmer: exceeded quota')] }], NOW);
    expect(again.changes).toEqual([{ direction: 'narrower', reason: 'no warmer' }]);
    expect(again.width.reason).toBe('kept at 1: no warmer on 1 of 1 nodes');
  });
});

describe('the size of the next batch', () => {
  const NOW = Date.parse('2026-01-01T00:01:00Z');
  const ago = (...seconds: number[]): OpenBatch[] =>
    seconds.map((each) => ({
      ...{ jobName: 'j', round: 1, batch: 1, attempt: 0, nodes: [], keys: '', images: [] },
      startedAt: new Date(NOW - each * 1000).toISOString(),
    }));

  it.each<{
    name: string;
    width: number;
    cold: number;
    running?: number;
    batches?: OpenBatch[];
    size: number;
  }>([
    { name: 'is the width', width: 50, cold: 300, size: 50 },
    { name: 'is what is left', width: 50, cold: 7, size: 7 },
    { name: 'is nothing where nothing is cold', width: 50, cold: 0, size: 0 },
    { name: 'is nothing while most pull', width: 50, cold: 90, running: 40, batches: ago(60), size: 0 },
    {
      name: 'is nothing while some pull that began just now',
      width: 50,
      cold: 90,
      running: 1,
      batches: ago(9),
      size: 0,
    },
    {
      name: 'is half the width where the others take long',
      width: 50,
      cold: 90,
      running: 25,
      batches: ago(11),
      size: 25,
    },
    {
      name: 'waits for the youngest batch',
      width: 50,
      cold: 90,
      running: 25,
      batches: ago(1800, 2),
      size: 0,
    },
    {
      name: 'is a node that joined, at once, where there is room',
      width: 50,
      cold: 1,
      running: 20,
      batches: ago(1),
      size: 1,
    },
    { name: 'is nothing once the width has sunk below what runs', width: 5, cold: 9, running: 10, size: 0 },
    { name: 'is one at a time', width: 1, cold: 9, size: 1 },
  ])('$name', ({ width, cold, running = 0, batches = [], size }) => {
    expect(batchSize(width, { cold, running, batches, nowMs: NOW })).toBe(size);
  });
});
