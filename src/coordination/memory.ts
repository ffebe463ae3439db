import { emptyState, FORGET_MS, giveBack, grant, type Limits } from './grant.ts';
import type { Lock, Semaphore } from './ports.ts';

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
