import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createMemoryClaims, createMemoryTokens } from './memory.ts';

function claims(limit: number) {
  const asked: string[][] = [];
  const { claim, release } = createMemoryClaims(limit, (tasks) => asked.push(tasks));
  return {
    asked,
    release,
    claim: (task: string, priority = 5, sinceMs = 0) => claim(task, { priority, sinceMs }),
  };
}

describe('claims in memory', () => {
  it('are given up to the limit, and kept by whoever has one', async () => {
    const { claim } = claims(2);
    expect(await claim('a')).toBe(true);
    expect(await claim('b')).toBe(true);
    expect(await claim('c', 10)).toBe(false);
    expect(await claim('a', 1)).toBe(true);
  });

  it('that came free are offered to those that wait, highest priority first, then the oldest', async () => {
    const { claim, release, asked } = claims(1);
    await claim('a');
    await claim('young', 5, 200);
    await claim('old', 5, 100);
    await claim('urgent', 9, 300);
    expect(asked).toEqual([]);
    await release('a');
    expect(asked).toEqual([['urgent', 'old', 'young']]);
  });

  it('go to the best that waits, whoever asks first', async () => {
    const { claim, release } = claims(1);
    await claim('a');
    await claim('late', 5, 200);
    await claim('early', 5, 100);
    await release('a');
    expect(await claim('late', 5, 200)).toBe(false);
    expect(await claim('new', 4, 0)).toBe(false);
    expect(await claim('early', 5, 100)).toBe(true);
  });

  it('are given to as many of the best as there is room for', async () => {
    const { claim, release } = claims(2);
    for (const task of ['a', 'b']) await claim(task);
    for (const [task, priority] of [
      ['c', 1],
      ['d', 2],
      ['e', 3],
    ] as const)
      await claim(task, priority);
    await release('a');
    await release('b');
    expect(await claim('c', 1)).toBe(false);
    expect(await claim('d', 2)).toBe(true);
    expect(await claim('e', 3)).toBe(true);
  });

  it('go by the latest rank of who waits', async () => {
    const { claim, release } = claims(1);
    await claim('a');
    await claim('b', 1);
    await claim('c', 5);
    await claim('b', 9);
    await release('a');
    expect(await claim('c', 5)).toBe(false);
    expect(await claim('b', 9)).toBe(true);
  });

  it('are not offered when nobody waits, or nothing came free', async () => {
    const { claim, release, asked } = claims(1);
    await claim('a');
    await release('unknown');
    await release('a');
    await release('a');
    expect(asked).toEqual([]);
    await claim('b');
    await claim('c');
    await release('unknown');
    expect(asked).toEqual([]);
  });

  it('are offered again when the one that they were kept for no longer wants them', async () => {
    const { claim, release, asked } = claims(1);
    await claim('a');
    await claim('best', 9);
    await claim('second', 1);
    await release('a');
    // `second` asks first and is refused for the sake of `best`, which finds that it has nothing left to do.
    expect(await claim('second', 1)).toBe(false);
    asked.length = 0;
    await release('best');
    expect(asked).toEqual([['second']]);
    expect(await claim('second', 1)).toBe(true);
  });

  it('are offered to the better one when the one that asks is refused for its sake', async () => {
    const { claim, release, asked } = claims(1);
    await claim('a');
    await claim('other', 3);
    await claim('demoted', 9);
    await release('a');
    expect(await claim('other', 3)).toBe(false);
    asked.length = 0;
    expect(await claim('demoted', 1)).toBe(false);
    expect(asked).toEqual([['other']]);
  });

  it('are never more than the limit, and never idle while somebody waits who asks again when told to', async () => {
    const task = fc.constantFrom('a', 'b', 'c', 'd');
    const step = fc.oneof(
      fc.record({ do: fc.constantFrom('want' as const, 'leave' as const), task, priority: fc.nat(3) }),
      fc.constant({ do: 'turn' as const }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(step, { size: '+1' }),
        async (limit, steps) => {
          const play = players(limit);
          for (const each of steps) {
            if (each.do === 'turn') await play.turn();
            else await play[each.do](each.task, each.priority);
            expect(play.active.size).toBeLessThanOrEqual(limit);
          }
          while (await play.turn());
          expect(play.active.size).toBe(Math.min(limit, play.wanting.size));
        },
      ),
      { numRuns: 1000 },
    );
  });
});

/** Tasks that ask once when they want a claim, and again only when they are told to, the one told last first. */
function players(limit: number) {
  const { claim, release, asked } = claims(limit);
  const wanting = new Map<string, number>();
  const active = new Set<string>();
  const told: string[] = [];

  async function ask(task: string): Promise<void> {
    const priority = wanting.get(task);
    if (priority !== undefined && (await claim(task, priority))) active.add(task);
    told.push(...asked.splice(0).flat());
  }

  return {
    wanting,
    active,
    want(task: string, priority: number) {
      wanting.set(task, priority);
      return ask(task);
    },
    async leave(task: string) {
      wanting.delete(task);
      active.delete(task);
      await release(task);
      told.push(...asked.splice(0).flat());
    },
    /** The next that was told asks; false when nobody is left. */
    async turn(): Promise<boolean> {
      const next = told.pop();
      if (next !== undefined) await ask(next);
      return next !== undefined;
    },
  };
}

function tokens(total: number) {
  const asked: string[][] = [];
  return { asked, ...createMemoryTokens(total, (holders) => asked.push(holders)) };
}

describe('pull tokens in memory', () => {
  it('are given as far as there are some', async () => {
    const { claim } = tokens(50);
    expect(await claim('a', 0, 30)).toBe(30);
    expect(await claim('b', 0, 30)).toBe(20);
    expect(await claim('c', 0, 1)).toBe(0);
  });

  it('are not given one by one while many are wanted, but a last one that is wanted is', async () => {
    const { claim } = tokens(50);
    await claim('a', 0, 50);
    expect(await claim('a', 46, 0)).toBe(0);
    expect(await claim('b', 0, 20)).toBe(0);
    expect(await claim('c', 0, 3)).toBe(3);
    expect(await claim('a', 40, 0)).toBe(0);
    expect(await claim('b', 0, 20)).toBe(7);
  });

  it('are counted by what their holder says is running, so that a call too many mends itself', async () => {
    const { claim } = tokens(10);
    expect(await claim('a', 0, 6)).toBe(6);
    expect(await claim('a', 0, 6)).toBe(6);
    expect(await claim('a', 6, 6)).toBe(4);
    expect(await claim('b', 0, 3)).toBe(0);
    expect(await claim('a', 2, 0)).toBe(0);
    expect(await claim('b', 0, 9)).toBe(8);
  });

  it('are given to nobody while more are running than there may be, as after a restart with less', async () => {
    const { claim } = tokens(10);
    expect(await claim('a', 12, 1)).toBe(0);
    expect(await claim('b', 0, 1)).toBe(0);
    expect(await claim('a', 9, 5)).toBe(1);
  });

  it('that came back are offered to those that got less than they wanted, once', async () => {
    const { claim, release, asked } = tokens(10);
    await claim('a', 0, 10);
    await claim('b', 0, 5);
    await claim('c', 0, 5);
    expect(asked).toEqual([]);
    await claim('a', 7, 0);
    expect(asked).toEqual([['b', 'c']]);
    await claim('b', 0, 5);
    await release('a');
    expect(asked).toEqual([['b', 'c'], ['b']]);
    await release('b');
    expect(asked).toHaveLength(2);
  });

  it('are not offered while none came back', async () => {
    const { claim, asked } = tokens(10);
    await claim('a', 0, 8);
    await claim('b', 0, 5);
    await claim('a', 8, 0);
    await claim('a', 8, 4);
    expect(asked).toEqual([]);
  });

  it('are not offered to one that has gone', async () => {
    const { claim, release, asked } = tokens(5);
    await claim('a', 0, 5);
    await claim('b', 0, 5);
    await release('b');
    await release('a');
    expect(asked).toEqual([]);
  });

  it('that are released are there again, also twice', async () => {
    const { claim, release } = tokens(5);
    await claim('a', 0, 5);
    await release('a');
    await release('a');
    expect(await claim('b', 0, 9)).toBe(5);
  });

  it('are never more than the total, whoever claims and ends what', async () => {
    const holder = fc.constantFrom('a', 'b', 'c');
    const step = fc.oneof(
      fc.record({ do: fc.constant('claim' as const), holder, ended: fc.nat(20), wanted: fc.nat(20) }),
      fc.record({ do: fc.constant('release' as const), holder }),
    );
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 20 }), fc.array(step), async (total, steps) => {
        const { claim, release } = tokens(total);
        const running = new Map<string, number>();
        const sum = () => [...running.values()].reduce((a, b) => a + b, 0);
        for (const each of steps) {
          if (each.do === 'release') {
            await release(each.holder);
            running.delete(each.holder);
            continue;
          }
          const still = Math.max(0, (running.get(each.holder) ?? 0) - each.ended);
          running.set(each.holder, still);
          const free = total - sum();
          const granted = await claim(each.holder, still, each.wanted);
          const enough = free >= Math.min(each.wanted, total / 10);
          expect(granted).toBe(enough ? Math.min(each.wanted, free) : 0);
          running.set(each.holder, still + granted);
          expect(sum()).toBeLessThanOrEqual(total);
        }
      }),
    );
  });
});
