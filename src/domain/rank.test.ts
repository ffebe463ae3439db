import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PrewarmTask, PrewarmTaskStatus } from './prewarm-task.ts';
import { rankOf } from './rank.ts';
import { hopeless, START, simulateTask, timeAfter, transient } from './task-progress.simulation.ts';
import { LONG_RETRY_SECONDS } from './task-tries.ts';

const NOW = Date.parse(timeAfter(3600));

function task(priority: number | undefined, status?: PrewarmTaskStatus, made = START): PrewarmTask {
  return {
    metadata: { name: 't', creationTimestamp: made },
    spec: { images: [], ...(priority ? { priority } : {}) },
    ...(status ? { status } : {}),
  };
}

function waiting(priority: number, since: string): PrewarmTask {
  return task(priority, { phase: 'Pending', wantsSince: since });
}

describe('the rank of a task', () => {
  it.each([
    ['the higher priority', waiting(6, timeAfter(59)), waiting(5, START)],
    ['of the same priority the older', waiting(5, START), waiting(5, timeAfter(1))],
    [
      'who waited a minute longer than the step in priority is worth',
      waiting(1, START),
      waiting(10, timeAfter(541)),
    ],
    ['the standard where no priority is set, before a four', task(undefined), task(4)],
    ['who was just made, by when that was', task(5), task(5, undefined, timeAfter(1))],
    [
      'who waits, before one of whom nothing tells since when',
      waiting(5, timeAfter(3599)),
      task(5, { phase: 'Failed' }),
    ],
  ])('puts first %s', (_, first, second) => {
    expect(rankOf(first, NOW)).toBeLessThan(rankOf(second, NOW));
  });

  it('does not change while a task waits, and takes a time to come, by another clock, for now', () => {
    expect(rankOf(waiting(5, START), NOW)).toBe(rankOf(waiting(5, START), NOW + 1e6));
    expect(rankOf(waiting(5, timeAfter(7200)), NOW)).toBe(rankOf(waiting(5, timeAfter(3600)), NOW));
  });

  it('is first by priority, then by age, as long as the ages differ by less than a minute a step', () => {
    const one = fc.record({
      priority: fc.integer({ min: 1, max: 10 }),
      since: fc.integer({ min: 0, max: 3600 }),
    });
    fc.assert(
      fc.property(one, one, (a, b) => {
        const [rankA, rankB] = [a, b].map((each) =>
          rankOf(waiting(each.priority, timeAfter(each.since)), NOW),
        );
        const minutes = (b.since - a.since) / 60 + (a.priority - b.priority);
        expect(Math.sign((rankB ?? 0) - (rankA ?? 0))).toBe(Math.sign(Math.round(minutes * 60)));
      }),
    );
  });
});

describe('since when a task wants', () => {
  it('is when it was made, through all batches of its first round', () => {
    const sim = simulateTask({ images: ['app:1'], nodes: ['n1', 'n2'] });
    sim.pass(7);
    sim.look();
    expect(sim.status().wantsSince).toBe(START);
    sim.cut(1);
    sim.pass(60);
    sim.end('n1');
    sim.look();
    expect(sim.status().wantsSince).toBe(START);
    sim.warmUp();
    expect(sim.status()).not.toHaveProperty('wantsSince');
  });

  it('is when its next try came due, not when it was looked at, and not while it waits for that', () => {
    const sim = simulateTask({ images: ['app:1'], nodes: ['n1'], retry: { delaySeconds: 10 } });
    sim.warmUp(transient('app:1'));
    expect(sim.status()).toMatchObject({ phase: 'Warming', retryAt: timeAfter(10) });
    expect(sim.status()).not.toHaveProperty('wantsSince');
    sim.pass(25);
    sim.look();
    expect(sim.status().wantsSince).toBe(timeAfter(10));
    sim.pass(60);
    sim.look();
    expect(sim.status().wantsSince).toBe(timeAfter(10));
  });

  it.each([
    ['a misspelt image', hopeless('app:1'), 30],
    ['a node that used up its tries', transient('app:1'), LONG_RETRY_SECONDS],
  ])('goes on from try to try of %s, however long it has been cold', (_, failure, seconds) => {
    const sim = simulateTask({ images: ['app:1'], nodes: ['n1'], retry: { limit: 0 } });
    sim.warmUp(failure);
    expect(sim.status()).toMatchObject({ phase: 'Failed', coldSince: START });
    sim.pass(seconds);
    sim.look();
    expect(sim.status()).toMatchObject({ coldSince: START, wantsSince: timeAfter(seconds) });
    sim.warmUp(failure);
    expect(sim.status()).not.toHaveProperty('wantsSince');
  });

  it('is when a node turned cold that nobody had', () => {
    const sim = simulateTask({ images: ['app:1'], nodes: [] });
    sim.look();
    sim.pass(300);
    sim.join('n1');
    sim.look();
    expect(sim.status().wantsSince).toBe(timeAfter(300));
    sim.warmUp();
    sim.pass(300);
    sim.join('n2');
    sim.look();
    expect(sim.status().wantsSince).toBe(timeAfter(600));
  });
});
