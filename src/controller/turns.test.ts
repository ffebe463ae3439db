import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createMemoryLock } from '../coordination/memory.ts';
import { RESOURCES } from '../kube/resources.ts';
import { createTurns, type Turn, type Turns, type Writer } from './turns.ts';

const NAME = 'task:shop/web';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Replicas that share their locks, and what each of them did. */
function replicas(options: { shared?: boolean; busy?: () => boolean; unreadable?: boolean } = {}) {
  const { shared = true, busy = () => false, unreadable = false } = options;
  const owners = new Map<string, object>();
  const done: string[] = [];
  const replica = (who: string): Turns => {
    const write = async (): Promise<never> => {
      done.push(`${who} writes`);
      return {} as never;
    };
    const client: Writer = { create: write, replaceStatus: write, mergePatch: write, remove: write };
    return createTurns({
      ...{ client, shared, isBusy: busy, lock: createMemoryLock(owners) },
      async refresh() {
        if (unreadable) throw new Error('the API server did not answer');
        done.push(`${who} reads anew`);
      },
    });
  };
  return { owners, done, one: replica('one'), other: replica('other') };
}

async function write(turn: Turn): Promise<undefined> {
  await turn.write.mergePatch(RESOURCES.tasks, 'shop', 'web', {});
}

describe('a turn', () => {
  it('that writes nothing takes no lock', async () => {
    const { one, owners, done } = replicas();
    expect(await one.run(NAME, async () => ({ afterMs: 7 }))).toEqual({ afterMs: 7 });
    expect([owners.size, done]).toEqual([0, []]);
  });

  it('begins anew from what is read then, once it has the lock, and reads no more while it keeps that', async () => {
    const { one, done } = replicas();
    let begun = 0;
    const work = async (turn: Turn) => {
      begun += 1;
      await write(turn);
      return write(turn);
    };
    await one.run(NAME, work);
    expect([begun, done]).toEqual([2, ['one reads anew', 'one writes', 'one writes']]);
    await one.run(NAME, write);
    expect(done.slice(3)).toEqual(['one writes']);
  });

  it('of the only replica needs no reading', async () => {
    const { one, done } = replicas({ shared: false });
    await one.run(NAME, write);
    expect(done).toEqual(['one writes']);
  });

  it('of another replica does nothing, not even think, until it is worth asking again', async () => {
    const { one, other, done } = replicas();
    await one.run(NAME, write);
    let thought = 0;
    const work = async (turn: Turn) => {
      thought += 1;
      return write(turn);
    };
    const again = await other.run(NAME, work);
    expect(thought).toBe(1);
    expect(await other.run(NAME, work)).toEqual(again);
    expect(thought).toBe(1);
    vi.advanceTimersByTime(again?.afterMs ?? 0);
    const later = await other.run(NAME, work);
    expect(thought).toBe(2);
    expect(later?.afterMs).toBeGreaterThan(0);
    expect(done).toEqual(['one reads anew', 'one writes']);
  });

  it('asks ever more seldom, but never more seldom than every 15 s', async () => {
    const { one, other } = replicas({ busy: () => true });
    await one.run(NAME, write);
    const waits: number[] = [];
    for (let times = 0; times < 12; times += 1) {
      const afterMs = (await other.run(NAME, write))?.afterMs ?? 0;
      waits.push(afterMs);
      await vi.advanceTimersByTimeAsync(afterMs);
    }
    expect(waits[0]).toBeLessThan(500);
    expect(Math.min(...waits.slice(8))).toBeGreaterThan(4_000);
    expect(Math.max(...waits)).toBeLessThanOrEqual(15_000);
  });

  it('that was refused may be taken at once, when it is known that this may have changed', async () => {
    const { one, other, owners, done } = replicas();
    await one.run(NAME, write);
    await other.run(NAME, write);
    owners.clear();
    expect([one.askAnew(), other.askAnew()]).toEqual([[], [NAME]]);
    await other.run(NAME, write);
    expect(done.at(-1)).toBe('other writes');
    expect(other.askAnew()).toEqual([]);
  });

  it('whose lock is lost in the middle writes no more', async () => {
    const { one, other, owners, done } = replicas();
    const again = await one.run(NAME, async (turn) => {
      await write(turn);
      owners.clear(); // it expired
      await other.run(NAME, write);
      return write(turn);
    });
    expect(again?.afterMs).toBeGreaterThan(0);
    expect(done).toEqual(['one reads anew', 'one writes', 'other reads anew', 'other writes']);
    expect(one.owns(NAME)).toBe(false);
  });

  const job = { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'web' } };
  it.each<[string, (turn: Turn) => Promise<unknown>]>([
    ['makes nothing', ({ write }) => write.create(RESOURCES.jobs, 'shop', job)],
    ['writes no status', ({ write }) => write.replaceStatus(RESOURCES.tasks, job)],
    ['patches nothing', ({ write }) => write.mergePatch(RESOURCES.tasks, 'shop', 'web', {})],
    ['removes nothing', ({ write }) => write.remove(RESOURCES.jobs, 'shop', 'web')],
  ])('without the lock %s', async (_, ask) => {
    const { one, other, done } = replicas();
    await one.run(NAME, write);
    done.length = 0;
    const again = await other.run(NAME, async (turn) => void (await ask(turn)));
    expect(again?.afterMs).toBeGreaterThan(0);
    expect(done).toEqual([]);
  });

  it('is alone with its name, and others go on beside it', async () => {
    const { one, done } = replicas({ shared: false });
    let go = () => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    const first = one.run(NAME, async (turn) => {
      await gate;
      done.push('first');
      return write(turn);
    });
    const second = one.run(NAME, async () => void done.push('second'));
    await one.run('task:shop/other', async () => void done.push('beside'));
    go();
    await Promise.all([first, second]);
    expect(done).toEqual(['beside', 'first', 'one writes', 'second']);
  });

  it('that fails is told, and does not hold up the next', async () => {
    const { one } = replicas();
    await expect(one.run(NAME, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await one.run(NAME, async () => undefined)).toBeUndefined();
  });
});

describe('a lock', () => {
  it('stays a little after its last use, and then goes', async () => {
    const { one, other, owners } = replicas();
    await one.run(NAME, write);
    await vi.advanceTimersByTimeAsync(4_000);
    await one.run(NAME, async () => undefined);
    await vi.advanceTimersByTimeAsync(4_000);
    expect(owners.size).toBe(1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(owners.size).toBe(0);
    await other.run(NAME, write);
    expect(other.owns(NAME)).toBe(true);
  });

  it('stays while something goes on that nothing is written for', async () => {
    let isBusy = true;
    const { one, owners } = replicas({ busy: () => isBusy });
    await one.run(NAME, write);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(owners.size).toBe(1);
    isBusy = false;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(owners.size).toBe(0);
  });

  it('is not kept by one that could not read what the last holder wrote', async () => {
    const { one, owners, done } = replicas({ unreadable: true });
    await expect(one.run(NAME, write)).rejects.toThrow('did not answer');
    expect([owners.size, done]).toEqual([0, []]);
  });

  it('goes at once when nothing is left to do, and when the replica ends', async () => {
    const { one, owners } = replicas();
    await one.run(NAME, async (turn) => {
      await write(turn);
      turn.finish();
      return undefined;
    });
    expect(owners.size).toBe(0);
    await one.run(NAME, write);
    expect(owners.size).toBe(1);
    await one.stop();
    expect(owners.size).toBe(0);
  });
});
