/**
 * How much of a semaphore a claim is given: pure, so that it can be compared with claim.lua, which does the same in
 * Redis. What changes here changes there.
 */

export type Ask = {
  /** How much it has now. */
  held: number;
  /** How much more it wants. */
  wanted: number;
  /** Who waits with a lower one goes first. */
  rank: number;
  /** A semaphore may have a limit for each. */
  group: string;
  /** What each other holder has, as the cluster shows it. */
  elsewhere: ReadonlyMap<string, number>;
};

export type Limits = {
  size: number;
  /** For all holders of one group together; Infinity for none. */
  groupLimit: number;
  /** After this time without a word, what a holder had is free. */
  staleMs: number;
  /** After this time without asking again, a place in the queue is lost. */
  forgetMs: number;
};

type Share = { count: number; group: string; atMs: number };
export type GrantState = {
  inFlight: Map<string, Share>;
  /** `count`: how much more it wants. */
  queue: Map<string, Share & { rank: number }>;
};

export const STALE_MS = 120_000;
export const FORGET_MS = 60_000;
/** No batch of one node for each token that comes back: a claim waits until this part of all is free. */
export const LEAST_PART = 0.1;

export function emptyState(): GrantState {
  return { inFlight: new Map(), queue: new Map() };
}

/** Records what `holder` has, and gives how many more it may take: from 0 to `wanted`. */
export function grant(state: GrantState, holder: string, ask: Ask, limits: Limits, nowMs: number): number {
  forgetOld(state, limits, nowMs);
  const { held, wanted, rank, group } = ask;
  const mine = { group, atMs: nowMs };
  keep(state.inFlight, holder, { ...mine, count: held });
  state.queue.delete(holder);
  if (wanted <= 0) return 0;
  const { free, inGroup } = roomFor(state, holder, ask, limits);
  const enough = free >= Math.min(wanted, limits.size * LEAST_PART);
  const granted = enough ? Math.max(0, Math.min(wanted, free, inGroup)) : 0;
  keep(state.inFlight, holder, { ...mine, count: held + granted });
  keep(state.queue, holder, { ...mine, count: wanted - granted, rank });
  return granted;
}

export function giveBack(state: GrantState, holder: string): void {
  state.inFlight.delete(holder);
  state.queue.delete(holder);
}

function keep<T extends Share>(map: Map<string, T>, holder: string, share: T): void {
  if (share.count > 0) map.set(holder, share);
  else map.delete(holder);
}

function forgetOld(state: GrantState, limits: Limits, nowMs: number): void {
  for (const [holder, { atMs }] of state.inFlight)
    if (atMs <= nowMs - limits.staleMs) state.inFlight.delete(holder);
  for (const [holder, { atMs }] of state.queue)
    if (atMs <= nowMs - limits.forgetMs) state.queue.delete(holder);
}

/** What is left when all that wait before `holder` have what they asked for. */
function roomFor(state: GrantState, holder: string, ask: Ask, limits: Limits) {
  const groups = new Map<string, number>();
  const take = (group: string, count: number) => void groups.set(group, (groups.get(group) ?? 0) + count);
  const inGroup = (group: string) => limits.groupLimit - (groups.get(group) ?? 0);
  const inUse = new Map(ask.elsewhere);
  for (const [other, { count, group }] of state.inFlight) {
    inUse.set(other, Math.max(count, inUse.get(other) ?? 0));
    take(group, count);
  }
  inUse.set(holder, ask.held);
  // What was reclaimed, or lost with Redis, and still runs is not given out; what another has just taken does not show yet.
  let free = limits.size - [...inUse.values()].reduce((sum, count) => sum + count, 0);
  for (const waiting of before(state, holder, ask.rank)) {
    const part = Math.min(waiting.count, free, inGroup(waiting.group));
    if (part <= 0) continue;
    free -= part;
    take(waiting.group, part);
  }
  return { free, inGroup: inGroup(ask.group) };
}

function before(state: GrantState, holder: string, rank: number): Share[] {
  return [...state.queue]
    .filter(([other, waiting]) => waiting.rank < rank || (waiting.rank === rank && other < holder))
    .sort(([a, one], [b, other]) => one.rank - other.rank || (a < b ? -1 : 1))
    .map(([, waiting]) => waiting);
}
