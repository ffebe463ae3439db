/** The API server's time, as its answers tell it. */
export type ServerClock = {
  now(): Date;
  /** Takes in the `Date` header of an answer to a request that was sent at this time of `performance.now()`. */
  note(header: string | null, sentMs: number): void;
};

/** The header has whole seconds, and an answer is on its way for a while: less than this is no difference. */
const SAME_MS = 5_000;
/** What took longer was held up somewhere, perhaps because this process was stopped: it tells the time of then. */
const PROMPT_MS = 2_000;

/**
 * Replicas read each other's times in what they wrote. One whose clock is ten minutes ahead would have all others wait
 * for ten minutes with a retry; so every replica goes by the one clock that all of them see.
 */
export function createServerClock(
  onDifference: (milliseconds: number) => void,
  local: () => number = Date.now,
  monotonicMs: () => number = () => performance.now(),
): ServerClock {
  let differenceMs = 0;
  return {
    now: () => new Date(local() + differenceMs),
    note(header, sentMs) {
      const serverMs = Date.parse(header ?? '');
      if (Number.isNaN(serverMs) || monotonicMs() - sentMs > PROMPT_MS) return;
      const found = serverMs - local();
      const before = differenceMs;
      differenceMs = Math.abs(found) > SAME_MS ? found : 0;
      if (Math.abs(differenceMs - before) > SAME_MS) onDifference(differenceMs);
    },
  };
}
