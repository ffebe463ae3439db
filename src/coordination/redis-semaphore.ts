import { setTimeout as sleep } from 'node:timers/promises';
import { FORGET_MS, LEAST_PART, type Limits, STALE_MS } from './grant.ts';
import { createMemorySemaphore } from './memory.ts';
import type { Semaphore } from './ports.ts';
import { PATIENCE_MS, type RedisConnection } from './redis-connection.ts';
import { CLAIM, GIVE_BACK, HEARTBEAT, type Script } from './scripts.ts';

export const HEARTBEAT_MS = 30_000;
const AGAIN_MS = 100;

export type RedisSemaphoreOptions = {
  name: string;
  prefix: string;
  /** This replica, without spaces. */
  owner: string;
  limits: Pick<Limits, 'size'> & Partial<Limits>;
  heartbeatMs?: number;
  patienceMs?: number;
};

/** On one server, by its time. While that is away, what the cluster shows and this replica gave out is what counts. */
export function createRedisSemaphore(
  connection: RedisConnection,
  options: RedisSemaphoreOptions,
): Semaphore & { close(): Promise<void> } {
  const { owner, prefix, name, patienceMs = PATIENCE_MS } = options;
  const limits = { staleMs: STALE_MS, forgetMs: FORGET_MS, ...options.limits };
  const { size, staleMs, forgetMs, groupLimit = size } = limits;
  // The braces keep the keys together in a Redis cluster.
  const keys = ['flight', 'held', 'queue', 'asked', 'wants'].map((part) => `${prefix}:{${name}}:${part}`);
  const local = createMemorySemaphore(limits);
  const mine = new Set<string>();
  const waiting = new Set<string>();
  const run = (script: Script, ...args: (string | number)[]) => connection.run(script, keys, args);

  /** Each replica for itself would give out too much: one that hesitates, or is dialled anew, is waited for. */
  async function patiently(script: Script, ...args: (string | number)[]): Promise<number | undefined> {
    const untilMs = performance.now() + patienceMs;
    for (;;) {
      const answer = await run(script, ...args).catch(() => undefined);
      if (answer !== undefined) return Number(answer);
      if (performance.now() > untilMs || connection.awayMs() > patienceMs) return undefined;
      await sleep(AGAIN_MS);
    }
  }

  async function beat(): Promise<void> {
    if (mine.size === 0) return;
    const gone = await run(HEARTBEAT, owner, 2 * Math.max(staleMs, forgetMs), ...mine).catch(() => []);
    for (const holder of gone as string[]) mine.delete(holder);
  }

  const beating = setInterval(() => void beat(), options.heartbeatMs ?? HEARTBEAT_MS);
  beating.unref();

  function keep(holder: string, count: number, more: number): void {
    if (count > 0) mine.add(holder);
    else mine.delete(holder);
    if (more > 0) waiting.add(holder);
    else waiting.delete(holder);
  }

  async function giveBack(holder: string): Promise<void> {
    keep(holder, 0, 0);
    await run(GIVE_BACK, holder, owner).catch(() => {});
  }

  return {
    async claim(holder, ask) {
      const { held, wanted, rank, group, elsewhere } = ask;
      const granted = await patiently(
        CLAIM,
        ...[holder, held, wanted, rank, group],
        ...[size, groupLimit, staleMs, forgetMs, LEAST_PART, owner],
        ...[...elsewhere].flat(),
      );
      if (granted === undefined) {
        keep(holder, held, wanted);
        return local.claim(holder, ask);
      }
      keep(holder, held + granted, wanted - granted);
      // So that it is known here, should the server go.
      await local.claim(holder, { ...ask, held: held + granted, wanted: 0 });
      return granted;
    },
    async release(holder) {
      await local.release(holder);
      await giveBack(holder);
    },
    async close() {
      clearInterval(beating);
      await Promise.all([...new Set([...mine, ...waiting])].map(giveBack));
    },
  };
}
