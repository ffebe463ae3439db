import { setTimeout as sleep } from 'node:timers/promises';
import Redlock from 'redlock';
import type { Lock } from './ports.ts';
import { type Callback, PATIENCE_MS, type RedisConnection } from './redis-connection.ts';

export const LOCK_MS = 30_000;
/** Of its time: for clocks that run differently, and for a write that is on its way. */
const MARGIN = 0.1;
/** Those that ask all servers at the same moment may each get some and none enough. */
const TIES = { most: 6, waitMs: 60 };

export type RedisLock = Lock & {
  /** Keeps what is held. Called by itself, and when servers come back. */
  renew(): Promise<void>;
  /** Whether too few servers answer, for a while by now: then everybody is let through. */
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
  const redlock = new Redlock(connections.map(remembering), { retryCount: 0 });
  const held = new Map<string, Held>();
  /** By its value: what a server may keep for us without our having heard so, as nobody else could have it then. */
  const unheard = new Map<string, { key: string; untilMs: number }>();
  const turns = new Map<string, Promise<unknown>>();

  const isAway = () => connections.filter((each) => each.awayMs() < PATIENCE_MS).length < quorum;
  const until = (sentMs: number) => sentMs + ttlMs * (1 - MARGIN);
  const keyOf = (name: string) => `${prefix}:lock:{${name}}`;
  const holds = (key: string) => performance.now() < (held.get(key)?.untilMs ?? Number.NEGATIVE_INFINITY);

  /** A call that got no answer may be carried out all the same, and later than what was sent after it. */
  function remembering(connection: RedisConnection) {
    function noting(args: (string | number)[], answered: Callback): Callback {
      const sent = connection.problem() === undefined;
      // After the number of keys; before it, `eval` has the script.
      const [key, value] = args.slice(args.indexOf(1) + 1).map(String);
      return (error, answer) => {
        if (error && sent && key && value) unheard.set(value, { key, untilMs: performance.now() + ttlMs });
        answered(error, answer);
      };
    }
    return {
      evalsha: (sha: string, args: (string | number)[], answered: Callback) =>
        connection.evalsha(sha, args, noting(args, answered)),
      eval: (args: (string | number)[], answered: Callback) => connection.eval(args, noting(args, answered)),
    };
  }

  /** One call at a time for each key. */
  function inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const turn = (turns.get(key) ?? Promise.resolve()).then(work, work);
    turns.set(key, turn);
    const done = () => void (turns.get(key) === turn && turns.delete(key));
    turn.then(done, done);
    return turn;
  }

  async function forget(key: string): Promise<void> {
    const lock = held.get(key)?.lock;
    held.delete(key);
    await lock?.unlock().catch(() => {});
  }

  async function giveBackUnheard(): Promise<void> {
    const all = [...unheard];
    unheard.clear();
    await Promise.all(
      all.map(([value, { key, untilMs }]) =>
        inTurn(key, async () => {
          if (performance.now() > untilMs || held.get(key)?.lock?.value === value) return;
          await new Redlock.Lock(redlock, key, value, 0, 0).unlock().catch(() => {});
        }),
      ),
    );
  }

  async function isTaken(key: string): Promise<boolean> {
    const owners = await Promise.all(connections.map((each) => each.get(key).catch(() => null)));
    const votes = (owner: unknown) => owners.filter((each) => each === owner).length;
    return owners.some((owner) => owner !== null && votes(owner) >= quorum);
  }

  async function take(key: string): Promise<boolean> {
    for (let tries = 1; ; tries += 1) {
      const sentMs = performance.now();
      const lock = await redlock.lock(key, ttlMs).catch(() => undefined);
      if (lock || isAway()) {
        held.set(key, { lock, free: !lock, untilMs: until(sentMs) });
        if (holds(key)) return true;
        // Stopped on the way for longer than it lasts.
        await forget(key);
        return false;
      }
      if (tries === TIES.most || (await isTaken(key))) return false;
      await sleep(Math.random() * TIES.waitMs * tries);
    }
  }

  async function keep(key: string): Promise<void> {
    const now = held.get(key);
    if (!now) return;
    // Never brought back to life: another had it since, perhaps.
    if (!holds(key)) return forget(key);
    if (now.free || !now.lock) {
      await now.lock?.unlock().catch(() => {});
      if (!(await take(key))) held.delete(key);
      return;
    }
    const sentMs = performance.now();
    const extended = await now.lock.extend(ttlMs).catch(() => undefined);
    if (extended) now.untilMs = until(sentMs);
    else if (isAway()) held.set(key, { ...now, free: true, untilMs: until(sentMs) });
    else await forget(key);
  }

  async function renew(): Promise<void> {
    await giveBackUnheard();
    await Promise.all([...held.keys()].map((key) => inTurn(key, () => keep(key))));
  }

  const renewing = setInterval(() => void renew(), ttlMs / 3);
  renewing.unref();

  return {
    isAway,
    holds: (name) => holds(keyOf(name)),
    renew,
    acquire: (name) =>
      inTurn(keyOf(name), async () => {
        if (holds(keyOf(name))) return true;
        await forget(keyOf(name));
        return take(keyOf(name));
      }),
    release: (name) => inTurn(keyOf(name), () => forget(keyOf(name))),
    async close() {
      clearInterval(renewing);
      await giveBackUnheard();
      await Promise.all([...held.keys()].map((key) => inTurn(key, () => forget(key))));
    },
  };
}
