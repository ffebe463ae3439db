import { describe, expect, it } from 'vitest';
import type { PrewarmTask } from '../domain/prewarm-task.ts';
import { rankOf } from '../domain/rank.ts';
import { createMemorySemaphore } from './memory.ts';

const STEP_SECONDS = 5;

/** Tasks that ask for a place every few seconds, each of which warms for so long once it has one. */
function playTurns({ places, groupLimit }: { places: number; groupLimit: number }) {
  type Play = { task: PrewarmTask; seconds: number; left: number; began?: number; ended?: number };
  let nowMs = Date.parse('2026-01-01T00:00:00Z');
  const semaphore = createMemorySemaphore({ size: places, groupLimit }, () => nowMs);
  const plays = new Map<string, Play>();
  let second = 0;
  return {
    second: () => second,
    add(name: string, seconds: number, priority: number, namespace = name): Play {
      const wantsSince = new Date(nowMs).toISOString();
      const task: PrewarmTask = {
        metadata: { name, namespace },
        spec: { images: [], priority },
        status: { phase: 'Pending', wantsSince },
      };
      const play: Play = { task, seconds, left: 0 };
      plays.set(name, play);
      return play;
    },
    /** In the worst order: those that came last ask first. */
    async pass(): Promise<void> {
      for (const [name, play] of [...plays].toReversed()) {
        const group = play.task.metadata.namespace ?? '';
        const ask = { rank: rankOf(play.task, nowMs), group, elsewhere: new Map() };
        if (play.began !== undefined && play.left <= 0) {
          await semaphore.release(name);
          play.ended = second;
          plays.delete(name);
        } else if (play.began !== undefined) {
          play.left -= STEP_SECONDS;
          await semaphore.claim(name, { ...ask, held: 1, wanted: 0 });
        } else if ((await semaphore.claim(name, { ...ask, held: 0, wanted: 1 })) === 1) {
          play.began = second;
          play.left = play.seconds;
        }
      }
      const warming = [...plays.values()].filter(({ began }) => began !== undefined);
      expect(warming.length).toBeLessThanOrEqual(places);
      second += STEP_SECONDS;
      nowMs += STEP_SECONDS * 1000;
    },
  };
}

describe('turns by rank', () => {
  it('a task of priority 1 ends under a steady stream of tens that take every place', async () => {
    const turns = playTurns({ places: 3, groupLimit: Number.POSITIVE_INFINITY });
    for (let index = 0; index < 3; index += 1) turns.add(`ten-${index}`, 20, 10);
    const low = turns.add('low', 20, 1);
    while (low.ended === undefined && turns.second() < 3600) {
      // As many as there are places, in less time than they take: the queue grows for ever.
      if (turns.second() % 20 === 0)
        for (const each of ['a', 'b', 'c']) turns.add(`ten-${turns.second()}-${each}`, 20, 10);
      await turns.pass();
    }
    // Its nine steps are worth nine minutes; whoever came in these goes first, and they take longer than that.
    expect(low.began).toBeGreaterThan(9 * 60);
    expect(low.began).toBeLessThan(2 * 9 * 60);
    expect(low.ended).toBeDefined();
  });

  it('first the higher priority, then the older', async () => {
    const turns = playTurns({ places: 1, groupLimit: 1 });
    turns.add('running', 5, 1);
    await turns.pass();
    const names = [
      ['five-old', 5],
      ['nine', 9],
      ['five-new', 5],
    ] as const;
    const plays = [];
    for (const [name, priority] of names) {
      plays.push(turns.add(name, 5, priority));
      await turns.pass();
    }
    for (let index = 0; index < 60; index += 1) await turns.pass();
    const byBegin = plays.toSorted((a, b) => (a.began ?? 0) - (b.began ?? 0));
    expect(byBegin.map(({ task }) => task.metadata.name)).toEqual(['nine', 'five-old', 'five-new']);
  });

  it('a namespace has no more than its share, whatever its priority, and others do not wait for it', async () => {
    const turns = playTurns({ places: 3, groupLimit: 2 });
    for (let index = 0; index < 9; index += 1) turns.add(`greedy-${index}`, 30, 10, 'greedy');
    const other = turns.add('other', 5, 1, 'other');
    for (let index = 0; index < 5; index += 1) await turns.pass();
    expect(other.began).toBeDefined();
  });
});
