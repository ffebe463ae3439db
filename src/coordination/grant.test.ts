import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Ask, emptyState, giveBack, grant, type Limits } from './grant.ts';
import { createMemoryLock, createMemorySemaphore } from './memory.ts';

const LIMITS: Limits = { size: 10, groupLimit: Number.POSITIVE_INFINITY, staleMs: 120_000, forgetMs: 60_000 };

function semaphore(limits: Partial<Limits> = {}) {
  const state = emptyState();
  let nowMs = 0;
  return {
    state,
    pass(ms: number) {
      nowMs += ms;
    },
    leave: (holder: string) => giveBack(state, holder),
    ask: (holder: string, ask: Partial<Ask>) =>
      grant(
        state,
        holder,
        { held: 0, wanted: 0, rank: 0, group: 'g', elsewhere: new Map(), ...ask },
        { ...LIMITS, ...limits },
        nowMs,
      ),
  };
}

describe('a claim', () => {
  it('is given as far as there is some', () => {
    const { ask } = semaphore();
    expect(ask('a', { wanted: 6 })).toBe(6);
    expect(ask('b', { wanted: 6 })).toBe(4);
    expect(ask('c', { wanted: 1 })).toBe(0);
  });

  it('is counted by what its holder says, so that one too many mends itself', () => {
    const { ask } = semaphore();
    expect(ask('a', { wanted: 6 })).toBe(6);
    expect(ask('a', { wanted: 6 })).toBe(6);
    expect(ask('a', { held: 2 })).toBe(0);
    expect(ask('b', { wanted: 9 })).toBe(8);
  });

  it('is given nothing while more run than there may be', () => {
    const { ask } = semaphore();
    ask('a', { held: 12 });
    expect(ask('b', { wanted: 1 })).toBe(0);
    expect(ask('a', { held: 12, wanted: 1 })).toBe(0);
  });

  it('is not given what the cluster shows to be in use, also where nothing is recorded', () => {
    const { ask } = semaphore();
    expect(ask('a', { wanted: 2, elsewhere: new Map([['x', 8]]) })).toBe(2);
    // Of each holder the larger of the two counts, not both: what is seen of it is, mostly, what is recorded.
    expect(ask('b', { wanted: 9, elsewhere: new Map([['a', 3]]) })).toBe(7);
  });

  it('is not given what one has just taken, because another, of whom nothing is recorded any more, is seen', () => {
    const { ask, leave } = semaphore();
    expect(ask('a', { wanted: 6 })).toBe(6);
    // The replica that had it has lost it, and the next has not asked yet.
    leave('a');
    expect(ask('b', { wanted: 4, elsewhere: new Map([['a', 6]]) })).toBe(4);
    expect(ask('c', { wanted: 4, elsewhere: new Map([['a', 6]]) })).toBe(0);
  });

  it('leaves to those of lower rank that wait what they asked for', () => {
    const { ask, leave } = semaphore();
    ask('a', { wanted: 10 });
    expect(ask('late', { wanted: 4, rank: 2 })).toBe(0);
    expect(ask('early', { wanted: 8, rank: 1 })).toBe(0);
    leave('a');
    expect(ask('late', { wanted: 4, rank: 2 })).toBe(2);
    expect(ask('early', { wanted: 8, rank: 1 })).toBe(8);
  });

  it('of a rank that two have goes by name', () => {
    const { ask, leave } = semaphore({ size: 1 });
    ask('first', { wanted: 1 });
    for (const holder of ['b', 'a']) expect(ask(holder, { wanted: 1, rank: 7 })).toBe(0);
    leave('first');
    expect(ask('b', { wanted: 1, rank: 7 })).toBe(0);
    expect(ask('a', { wanted: 1, rank: 7 })).toBe(1);
  });

  it('waits for the rest when it got a part', () => {
    const { ask, leave } = semaphore();
    ask('a', { wanted: 7 });
    expect(ask('b', { wanted: 5, rank: 1 })).toBe(3);
    leave('a');
    expect(ask('c', { wanted: 10, rank: 2 })).toBe(5);
  });

  it('that asks no longer is not waited for', () => {
    const { ask, leave, pass } = semaphore();
    ask('a', { wanted: 10 });
    ask('best', { wanted: 10, rank: 1 });
    leave('a');
    pass(59_999);
    expect(ask('second', { wanted: 10, rank: 2 })).toBe(0);
    pass(1);
    expect(ask('second', { wanted: 10, rank: 2 })).toBe(10);
  });

  it('that wants nothing any more is not waited for', () => {
    const { ask, leave } = semaphore();
    ask('a', { wanted: 10 });
    ask('best', { wanted: 10, rank: 1 });
    leave('a');
    ask('best', { wanted: 0, rank: 1 });
    expect(ask('second', { wanted: 10, rank: 2 })).toBe(10);
  });

  it('comes back when its holder is silent for long, but for what still runs', () => {
    const { ask, pass } = semaphore();
    ask('a', { wanted: 10 });
    pass(119_999);
    expect(ask('b', { wanted: 10 })).toBe(0);
    pass(1);
    expect(ask('b', { wanted: 10, elsewhere: new Map([['a', 7]]) })).toBe(3);
  });

  it('is not given one by one while many are wanted, but a last one that is wanted is', () => {
    const { ask } = semaphore({ size: 50 });
    ask('a', { held: 46 });
    expect(ask('b', { wanted: 20 })).toBe(0);
    expect(ask('b', { wanted: 3 })).toBe(3);
  });

  it('keeps to the limit of its group, which keeps nothing free for what it cannot have', () => {
    const { ask } = semaphore({ size: 3, groupLimit: 2 });
    expect(ask('g1', { wanted: 1 })).toBe(1);
    expect(ask('g2', { wanted: 1 })).toBe(1);
    expect(ask('g3', { wanted: 1, rank: 1 })).toBe(0);
    expect(ask('other', { wanted: 1, rank: 2, group: 'h' })).toBe(1);
  });

  it('never makes more than the size, and in the end everybody has what there is', () => {
    const holder = fc.constantFrom('a', 'b', 'c', 'd');
    const step = fc.record({
      ...{ holder, ended: fc.nat(12), wanted: fc.nat(12), rank: fc.nat(3), group: fc.constantFrom('g', 'h') },
      ...{ leaves: fc.boolean(), seen: fc.subarray(['a', 'b', 'c', 'd']) },
    });
    const limits = fc.record({
      size: fc.integer({ min: 1, max: 12 }),
      groupLimit: fc.constantFrom(1, 3, Number.POSITIVE_INFINITY),
    });
    fc.assert(
      fc.property(limits, fc.array(step), (given, steps) => {
        const { ask, leave } = semaphore(given);
        const running = new Map<string, number>();
        const sum = () => [...running.values()].reduce((a, b) => a + b, 0);
        for (const { holder, ended, wanted, rank, group, leaves, seen } of steps) {
          if (leaves) {
            leave(holder);
            running.delete(holder);
            continue;
          }
          const held = Math.max(0, (running.get(holder) ?? 0) - ended);
          // Some of them do not show yet.
          const elsewhere = new Map(
            [...running].filter(([other]) => other !== holder && seen.includes(other)),
          );
          const granted = ask(holder, { held, wanted, rank, group, elsewhere });
          expect(granted).toBeGreaterThanOrEqual(0);
          expect(granted).toBeLessThanOrEqual(wanted);
          running.set(holder, held + granted);
          expect(sum()).toBeLessThanOrEqual(given.size);
        }
        for (const each of running.keys()) leave(each);
        // Nothing is lost: who comes when all have gone gets all.
        expect(ask('last', { wanted: 99 })).toBe(Math.min(given.size, given.groupLimit));
      }),
      { numRuns: 500 },
    );
  });
});

describe('in memory', () => {
  it('a lock is for one of those that share it, until it is released', async () => {
    const owners = new Map();
    const [a, b] = [createMemoryLock(owners), createMemoryLock(owners)];
    expect(await a.acquire('x')).toBe(true);
    expect(await a.acquire('x')).toBe(true);
    expect([await b.acquire('x'), b.holds('x'), a.holds('x')]).toEqual([false, false, true]);
    await b.release('x');
    expect(a.holds('x')).toBe(true);
    await a.release('x');
    expect([await b.acquire('x'), a.holds('x')]).toEqual([true, false]);
  });

  it('what is held stays held, however long nobody asks', async () => {
    let nowMs = 0;
    const { claim, release } = createMemorySemaphore({ size: 2 }, () => nowMs);
    const ask = { held: 0, wanted: 2, rank: 0, group: '', elsewhere: new Map() };
    expect(await claim('a', ask)).toBe(2);
    nowMs = 1e9;
    expect(await claim('b', ask)).toBe(0);
    await release('a');
    expect(await claim('b', ask)).toBe(2);
  });
});
