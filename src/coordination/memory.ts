import { emptyState, FORGET_MS, giveBack, grant, type Limits } from './grant.ts';
import type { Lock, PullTokens, Semaphore, TaskClaims } from './ports.ts';

/** For one replica. Contenders are those that share `owners`. */
export function createMemoryLock(owners: Map<string, object> = new Map()): Lock {
  const self = {};
  const holds = (name: string) => owners.get(name) === self;
  return {
    async acquire(name) {
      if (!owners.has(name)) owners.set(name, self);
      return holds(name);
    },
    holds,
    async release(name) {
      if (holds(name)) owners.delete(name);
    },
  };
}

/** For one replica. What it holds is as old as the process, so that it never gets stale unless it is told when. */
export function createMemorySemaphore(
  limits: Pick<Limits, 'size'> & Partial<Limits>,
  nowMs: () => number = () => performance.now(),
): Semaphore {
  const state = emptyState();
  const all: Limits = {
    ...{ groupLimit: Number.POSITIVE_INFINITY, staleMs: Number.POSITIVE_INFINITY, forgetMs: FORGET_MS },
    ...limits,
  };
  return {
    claim: async (holder, ask) => grant(state, holder, ask, all, nowMs()),
    release: async (holder) => giveBack(state, holder),
  };
}

/** For one replica. `onFree` gets the tasks that asked in vain, best first, whenever there is room again. */
export function createMemoryClaims(limit: number, onFree: (tasks: string[]) => void): TaskClaims {
  const active = new Set<string>();
  const waiting = new Map<string, { priority: number; sinceMs: number }>();

  function ranked(): string[] {
    const better = (
      [, a]: [string, { priority: number; sinceMs: number }],
      [, b]: [string, { priority: number; sinceMs: number }],
    ) => b.priority - a.priority || a.sinceMs - b.sinceMs;
    return [...waiting].sort(better).map(([task]) => task);
  }

  /** Whose turn it is. */
  function next(): string[] {
    return ranked().slice(0, limit - active.size);
  }

  return {
    async claim(task, rank) {
      if (active.has(task)) return true;
      waiting.set(task, rank);
      if (!next().includes(task)) {
        // Room that is kept for others is theirs to be told of.
        if (next().length > 0) onFree(next());
        return false;
      }
      waiting.delete(task);
      active.add(task);
      return true;
    },
    async release(task) {
      const was = active.delete(task) || waiting.has(task);
      waiting.delete(task);
      if (was && next().length > 0) onFree(ranked());
    },
  };
}

/** No batch of one node for every token that comes back: a claim waits until this part of all tokens is free. */
const LEAST_PART = 0.1;

/** For one replica: a count. `onFree` gets the holders that were given less than they wanted, once there is more. */
export function createMemoryTokens(total: number, onFree: (holders: string[]) => void): PullTokens {
  const held = new Map<string, number>();
  const short = new Set<string>();

  function set(holder: string, count: number): void {
    const before = held.get(holder) ?? 0;
    if (count > 0) held.set(holder, count);
    else held.delete(holder);
    if (count >= before || short.size === 0) return;
    const waiting = [...short];
    short.clear();
    onFree(waiting);
  }

  return {
    async claim(holder, running, wanted) {
      set(holder, running);
      const used = [...held.values()].reduce((sum, count) => sum + count, 0);
      const free = Math.max(0, total - used);
      const granted = free < Math.min(wanted, total * LEAST_PART) ? 0 : Math.min(wanted, free);
      if (granted < wanted) short.add(holder);
      if (granted > 0) set(holder, running + granted);
      return granted;
    },
    async release(holder) {
      short.delete(holder);
      set(holder, 0);
    },
  };
}
