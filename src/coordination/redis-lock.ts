import { setTimeout as sleep } from 'node:timers/promises';
import Redlock from 'redlock';
import type { Lock } from './ports.ts';
import type { RedisConnection } from './redis-connection.ts';

export const LOCK_MS = 30_000;
/** Of its time: for clocks that run differently, and for a write that is on its way. */
const MARGIN = 0.1;
/** Those that ask all servers at the same moment may each get some and none enough. */
const TIES = { most: 6, waitMs: 60 };

export type RedisLock = Lock & {
  /** Keeps what is held. Called by itself, and when servers come back. */
  renew(): Promise<void>;
  /** Whether too few servers answer: then everybody is let through. */
  isAway(): boolean;
  /** Gives everything back. */
  close(): Promise<void>;
};

/** `lock`: what the servers know of it, if anything. `free`: let through because they were away. */
type Held = { lock: Redlock.Lock | undefined; free: boolean; untilMs: number };

/**
 * On one server, or on most of three or five that know nothing of each other. What a replica holds ends by its own
 * monotonic clock, which goes on while the process is stopped, earlier than on the servers.
 */
export function createRedisLock(
  connections: RedisConnection[],
  { prefix, ttlMs = LOCK_MS }: { prefix: string; ttlMs?: number },
): RedisLock {
  const quorum = Math.floor(connections.length / 2) + 1;
  // Its own retries cannot tell a tie from a lock that another has.
  const redlock = new Redlock(connections, { retryCount: 0 });
  const held = new Map<string, Held>();
  const turns = new Map<string, Promise<unknown>>();

  const isAway = () => connections.filter((each) => each.problem() === undefined).length < quorum;
  const until = (sentMs: number) => sentMs + ttlMs * (1 - MARGIN);
  const holds = (name: string) => performance.now() < (held.get(name)?.untilMs ?? Number.NEGATIVE_INFINITY);

  /** One call at a time for each name. */
  function inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    const turn = (turns.get(name) ?? Promise.resolve()).then(work, work);
    turns.set(name, turn);
    const done = () => void (turns.get(name) === turn && turns.delete(name));
    turn.then(done, done);
    return turn;
  }

  async function forget(name: string): Promise<void> {
    const lock = held.get(name)?.lock;
    held.delete(name);
    await lock?.unlock().catch(() => {});
  }

  async function isTaken(key: string): Promise<boolean> {
    const owners = await Promise.all(connections.map((each) => each.get(key).catch(() => null)));
    const votes = (owner: unknown) => owners.filter((each) => each === owner).length;
    return owners.some((owner) => owner !== null && votes(owner) >= quorum);
  }

  async function take(name: string): Promise<boolean> {
    const key = `${prefix}:lock:{${name}}`;
    for (let tries = 1; ; tries += 1) {
      const sentMs = performance.now();
      const lock = await redlock.lock(key, ttlMs).catch(() => undefined);
      if (lock || isAway()) {
        held.set(name, { lock, free: !lock, untilMs: until(sentMs) });
        if (holds(name)) return true;
        // Stopped on the way for longer than it lasts.
        await forget(name);
        return false;
      }
      if (tries === TIES.most || (await isTaken(key))) return false;
      await sleep(Math.random() * TIES.waitMs * tries);
    }
  }

  async function keep(name: string): Promise<void> {
    const now = held.get(name);
    if (!now) return;
    // Never brought back to life: another had it since, perhaps.
    if (!holds(name)) return forget(name);
    if (now.free || !now.lock) {
      await now.lock?.unlock().catch(() => {});
      if (!(await take(name))) held.delete(name);
      return;
    }
    const sentMs = performance.now();
    const extended = await now.lock.extend(ttlMs).catch(() => undefined);
    if (extended) now.untilMs = until(sentMs);
    else if (isAway()) held.set(name, { ...now, free: true, untilMs: until(sentMs) });
    else await forget(name);
  }

  async function renew(): Promise<void> {
    await Promise.all([...held.keys()].map((name) => inTurn(name, () => keep(name))));
  }

  const renewing = setInterval(() => void renew(), ttlMs / 3);
  renewing.unref();

  return {
    isAway,
    holds,
    renew,
    acquire: (name) =>
      inTurn(name, async () => {
        if (holds(name)) return true;
        await forget(name);
        return take(name);
      }),
    release: (name) => inTurn(name, () => forget(name)),
    async close() {
      clearInterval(renewing);
      await Promise.all([...held.keys()].map((name) => inTurn(name, () => forget(name))));
    },
  };
}
