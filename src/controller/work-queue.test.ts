import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { type Again, createWorkQueue } from './work-queue.ts';

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** A queue whose reconciles end when the test says so. */
function heldQueue(concurrency: number) {
  const started: string[] = [];
  const errors: unknown[] = [];
  const open = new Map<string, { end: (again?: Again) => void; fail: (error: Error) => void }>();
  const queue = createWorkQueue({
    concurrency,
    onError: (key, error) => errors.push(`${key}: ${error}`),
    reconcile(key) {
      expect(open.has(key), `${key} is reconciled twice at once`).toBe(false);
      started.push(key);
      return new Promise((resolve, reject) => {
        open.set(key, {
          end(again) {
            open.delete(key);
            resolve(again);
          },
          fail(error) {
            open.delete(key);
            reject(error);
          },
        });
      });
    },
  });
  return {
    queue,
    started,
    errors,
    end: (key: string, again?: Again) => open.get(key)?.end(again),
    fail: (key: string) => open.get(key)?.fail(new Error('no')),
    /** Everything that is due until then. */
    pass: (ms: number) => vi.advanceTimersByTimeAsync(ms),
  };
}

describe('the work queue', () => {
  it('reconciles each key once that was asked for many times', async () => {
    const { queue, started, pass } = heldQueue(4);
    for (const key of ['a', 'b', 'a', 'a']) queue.add(key);
    await pass(1);
    expect(started).toEqual(['a', 'b']);
    expect(queue.size()).toBe(2);
  });

  it('reconciles a key once more that was asked for while it was under way, and never twice at once', async () => {
    const { queue, started, end, pass } = heldQueue(4);
    queue.add('a');
    await pass(1);
    for (const _ of [1, 2, 3]) queue.add('a');
    await pass(60_000);
    expect(started).toEqual(['a']);
    expect(queue.size()).toBe(2);
    end('a');
    await pass(1);
    expect(started).toEqual(['a', 'a']);
    end('a');
    await pass(60_000);
    expect(started).toEqual(['a', 'a']);
    expect(queue.size()).toBe(0);
  });

  it('does no more at once than it may, and the rest in order', async () => {
    const { queue, started, end, pass } = heldQueue(2);
    for (const key of ['a', 'b', 'c', 'd']) queue.add(key);
    await pass(1);
    expect(started).toEqual(['a', 'b']);
    end('b');
    await pass(1);
    expect(started).toEqual(['a', 'b', 'c']);
    end('a');
    end('c');
    await pass(1);
    expect(started).toEqual(['a', 'b', 'c', 'd']);
  });

  it('does not hold up other keys for one that is under way and asked for again', async () => {
    const { queue, started, pass } = heldQueue(2);
    queue.add('a');
    await pass(1);
    queue.add('a');
    queue.add('b');
    await pass(1);
    expect(started).toEqual(['a', 'b']);
  });

  it('comes back when the reconcile asked for it, and not before', async () => {
    const { queue, started, end, pass } = heldQueue(1);
    queue.add('a');
    await pass(1);
    end('a', { afterMs: 1000 });
    await pass(999);
    expect(started).toEqual(['a']);
    await pass(2);
    expect(started).toEqual(['a', 'a']);
  });

  it('comes back soon, but not in the same breath, when the reconcile asks for no delay', async () => {
    const { queue, started, end, pass } = heldQueue(1);
    queue.add('a');
    await pass(1);
    end('a', { afterMs: 0 });
    await pass(2);
    expect(started).toEqual(['a', 'a']);
  });

  it.each<{ what: string; delays: number[]; dueMs: number }>([
    { what: 'the sooner of two times', delays: [5000, 1000], dueMs: 1000 },
    { what: 'the sooner of two times, whichever came first', delays: [1000, 5000], dueMs: 1000 },
  ])('keeps $what', async ({ delays, dueMs }) => {
    const { queue, started, end, pass } = heldQueue(1);
    for (const delay of delays) queue.add('a', delay);
    await pass(dueMs - 1);
    expect(started).toEqual([]);
    await pass(2);
    expect(started).toEqual(['a']);
    end('a');
    await pass(60_000);
    expect(started).toEqual(['a']);
  });

  it('comes back at its time, whatever happens until then', async () => {
    const { queue, started, end, pass } = heldQueue(1);
    queue.add('a', 1000);
    queue.add('a');
    await pass(1);
    end('a');
    await pass(1001);
    expect(started).toEqual(['a', 'a']);
  });
});

describe('a key that fails', () => {
  it('is tried again after twice as long each time, at most a minute, and tells each error', async () => {
    const { queue, started, errors, fail, pass } = heldQueue(1);
    queue.add('a');
    await pass(1);
    for (const delay of [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]) {
      const before = started.length;
      fail('a');
      await pass(delay - 1);
      expect(started, `too soon, where ${delay} ms were due`).toHaveLength(before);
      await pass(2);
      expect(started, `not after ${delay} ms`).toHaveLength(before + 1);
    }
    expect(errors).toHaveLength(12);
    expect(errors[0]).toBe('a: Error: no');
  });

  it.each([
    { random: 0, delay: 50 },
    { random: 0.999, delay: 149 },
  ])(
    'is not tried again together with others: by chance $random after $delay ms',
    async ({ random, delay }) => {
      vi.mocked(Math.random).mockReturnValue(random);
      const { queue, started, fail, pass } = heldQueue(1);
      queue.add('a');
      await pass(1);
      fail('a');
      await pass(delay - 1);
      expect(started).toHaveLength(1);
      await pass(3);
      expect(started).toHaveLength(2);
    },
  );

  it('begins with short delays again once it succeeded', async () => {
    const { queue, started, end, fail, pass } = heldQueue(1);
    queue.add('a');
    await pass(1);
    fail('a');
    await pass(101);
    fail('a');
    await pass(201);
    end('a');
    queue.add('a');
    await pass(1);
    expect(started).toHaveLength(4);
    fail('a');
    await pass(101);
    expect(started).toHaveLength(5);
  });

  it('does not hold up the others', async () => {
    const { queue, started, end, fail, pass } = heldQueue(1);
    queue.add('a');
    queue.add('b');
    await pass(1);
    fail('a');
    await pass(1);
    expect(started).toEqual(['a', 'b']);
    end('b');
    await pass(101);
    expect(started).toEqual(['a', 'b', 'a']);
  });

  it('fails alike where the reconcile throws at once', async () => {
    const errors: string[] = [];
    let calls = 0;
    const queue = createWorkQueue({
      concurrency: 1,
      onError: (key) => errors.push(key),
      reconcile() {
        calls += 1;
        throw new Error('at once');
      },
    });
    queue.add('a');
    await vi.advanceTimersByTimeAsync(102);
    expect({ calls, errors }).toEqual({ calls: 2, errors: ['a', 'a'] });
    await queue.stop();
  });
});

describe('pause and stop', () => {
  it('a paused queue takes keys in, and works on them when it is resumed', async () => {
    const { queue, started, pass } = heldQueue(2);
    queue.pause();
    queue.add('a');
    queue.add('b', 100);
    await pass(1000);
    expect(started).toEqual([]);
    expect(queue.size()).toBe(2);
    queue.resume();
    await pass(1);
    expect(started).toEqual(['a', 'b']);
  });

  it('a stopped queue waits for what is under way, and does nothing of the rest', async () => {
    const { queue, started, end, pass } = heldQueue(1);
    queue.add('a');
    queue.add('b');
    queue.add('c', 100);
    await pass(1);
    let stopped = false;
    const stopping = queue.stop().then(() => {
      stopped = true;
    });
    queue.add('d');
    await pass(1000);
    expect(stopped).toBe(false);
    end('a', { afterMs: 1 });
    await stopping;
    await pass(60_000);
    expect(started).toEqual(['a']);
    expect(queue.size()).toBe(0);
  });

  it('a stopped queue does not try again what fails at the end', async () => {
    const { queue, started, errors, fail, pass } = heldQueue(1);
    queue.add('a');
    await pass(1);
    const stopping = queue.stop();
    fail('a');
    await stopping;
    await pass(120_000);
    expect(started).toEqual(['a']);
    expect(errors).toHaveLength(1);
  });

  it('an idle queue stops at once', async () => {
    const { queue } = heldQueue(1);
    onTestFinished(() => queue.stop());
    await expect(queue.stop()).resolves.toBeUndefined();
  });
});
