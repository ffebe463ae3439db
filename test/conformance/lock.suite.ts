import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, type TestContext, test } from 'vitest';
import { waitFor } from '../cluster/run.ts';
import { type Contender, type ContenderProcess, type LockFixture, TTL_MS } from './fixtures.ts';

let names = 0;

/** What every adapter of the lock has to do. */
export function lockSuite(title: string, fixture: LockFixture): void {
  describe.concurrent(title, () => {
    async function several<T extends { close(): Promise<void> }>(
      { onTestFinished, task }: TestContext,
      count: number,
      start: (test: string) => Promise<T>,
    ): Promise<T[]> {
      const all = await Promise.all(Array.from({ length: count }, () => start(task.id)));
      onTestFinished(async () => void (await Promise.all(all.map((each) => each.close()))));
      return all;
    }

    const contenders = (context: TestContext, count: number) => several(context, count, fixture.contender);

    function unique(): string {
      names += 1;
      return `task:shop/${names}`;
    }

    /** Which one of them gets it, sooner or later; it is an error if two do. */
    async function winner(all: Contender[], name: string): Promise<Contender> {
      return waitFor('one to get the lock', async () => {
        const got = await Promise.all(all.map(({ lock }) => lock.acquire(name)));
        const having = all.filter((_, index) => got[index]);
        expect(having.length).toBeLessThanOrEqual(1);
        return having[0];
      });
    }

    test('one of several that ask at once has it, until it gives it back', async (context) => {
      const all = await contenders(context, 4);
      const name = unique();
      const first = await winner(all, name);
      expect(await first.lock.acquire(name)).toBe(true);
      expect(all.filter(({ lock }) => lock.holds(name))).toEqual([first]);
      for (const each of all) if (each !== first) await each.lock.release(name);
      expect(first.lock.holds(name)).toBe(true);

      await first.close();
      expect(first.lock.holds(name)).toBe(false);
      const next = await winner(
        all.filter((each) => each !== first),
        name,
      );
      expect(next.lock.holds(name)).toBe(true);
    });

    test('what was not taken is not held, nor what was given back', async (context) => {
      const all = await contenders(context, 1);
      const name = unique();
      const { lock } = await winner(all, name);
      expect(lock.holds(unique())).toBe(false);
      await lock.release(name);
      await lock.release(name);
      expect(lock.holds(name)).toBe(false);
      expect(await lock.acquire(name)).toBe(true);
    });

    test('it is kept for longer than it lasts without renewal', async (context) => {
      const all = await contenders(context, 2);
      const name = unique();
      const first = await winner(all, name);
      const endMs = performance.now() + 1.7 * TTL_MS;
      while (performance.now() < endMs) {
        expect(first.lock.holds(name)).toBe(true);
        for (const each of all) if (each !== first) expect(await each.lock.acquire(name)).toBe(false);
        await sleep(100);
      }
    });

    const { process: start } = fixture;
    if (!start) return;
    const processes = (context: TestContext, count: number) => several(context, count, start);

    async function winnerOf(all: ContenderProcess[], name: string): Promise<ContenderProcess> {
      return waitFor('one process to get the lock', async () => {
        const got = await Promise.all(all.map((each) => each.ask('acquire', name)));
        expect(got.filter(Boolean).length).toBeLessThanOrEqual(1);
        return all[got.indexOf(true)];
      });
    }

    test('of several processes no two do the same work at the same time', async (context) => {
      const folder = await mkdtemp(join(tmpdir(), 'ips-lock-'));
      try {
        const all = await processes(context, 3);
        const name = unique();
        await winnerOf(all, name).then((first) => first.ask('release', name));
        const file = join(folder, 'held');
        const times = await Promise.all(all.map((each) => each.ask('work', name, file)));
        expect(times.map(Number).reduce((a, b) => a + b)).toBeGreaterThan(0);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });

    test('it comes free when its holder is killed, but not before its time', async (context) => {
      const all = await processes(context, 2);
      const name = unique();
      const first = await winnerOf(all, name);
      const [other] = all.filter((each) => each !== first);
      first.kill('SIGKILL');
      expect(await other?.ask('acquire', name)).toBe(false);
      await waitFor('the other to get it', () => other?.ask('acquire', name) as Promise<boolean>);
    });

    test('a holder that was stopped for longer does not believe that it has it', async (context) => {
      const all = await processes(context, 2);
      const name = unique();
      const first = await winnerOf(all, name);
      const [other] = all.filter((each) => each !== first);
      first.kill('SIGSTOP');
      await waitFor('the other to get it', () => other?.ask('acquire', name) as Promise<boolean>);
      first.kill('SIGCONT');
      expect(await first.ask('holds', name)).toBe(false);
      expect(await first.ask('acquire', name)).toBe(false);
      expect(await other?.ask('holds', name)).toBe(true);
    });
  });
}
